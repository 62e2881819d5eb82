"""The page as it looks in a real browser, empty and with results: contrast, width, names, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import (
    NEEDS_BROWSER,
    drop,
    explain,
    find,
    open_page,
    phone,
    requested,
    tab,
    texts,
    until,
)  # fmt: skip

pytest_plugins = ["browsing"]
pytestmark = [*NEEDS_BROWSER, pytest.mark.slow]


def results(browser: Any, address: str, files: list[str], theme: str = "light") -> Iterator[str]:
    """The empty page, then each tab once its results are there; the name of what is shown."""
    open_page(browser, address, theme)
    yield "empty"
    drop(browser, "#image", files[1])
    until(browser, lambda b: find(b, "#prompt textarea").get_attribute("value"))
    explain(browser)
    yield "one image"
    tab(browser, "Many")
    drop(browser, "#many", *files)
    until(browser, lambda b: "bad" in texts(b, "#many"))
    find(browser, "#score-all").click()
    until(browser, lambda b: "bad.png" in texts(b, "#table"))
    yield "many"


NAMELESS = """
const seen = e => e.offsetParent !== null;
const named = e => e.ariaLabel || e.alt || e.getAttribute('aria-labelledby') || e.title ||
    (e.labels && e.labels.length && [...e.labels].some(l => l.innerText.trim())) ||
    e.innerText.trim() || [...e.querySelectorAll('img')].some(i => i.alt);
return [...document.querySelectorAll('input:not([type=hidden]),textarea,select,button,img')]
    .filter(seen).filter(e => !named(e)).map(e => e.outerHTML.slice(0, 160));
"""
LOW_CONTRAST = """
const rgb = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
const ground = e => { for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > .5) return c; } return [255, 255, 255]; };
return [...document.querySelectorAll('button,label,span,p,h1,td,th,a,b,li')]
    .filter(e => e.offsetParent && e.childElementCount === 0 && e.innerText.trim())
    .map(e => { const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
        return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.innerText]; })
    .filter(([ratio]) => ratio < 4.5);
"""
CUT = """
const seen = [...document.querySelectorAll('.wide,.framed')].filter(e => e.offsetParent);
const covered = e => { const label = e.querySelector('[data-testid=block-label]');
    return [...e.querySelectorAll('img')].some(i =>
        i.getBoundingClientRect().top < label.getBoundingClientRect().bottom - 1); };
return seen.filter(e => e.matches('.wide') ? e.scrollWidth > e.clientWidth : covered(e))
    .map(e => e.outerHTML.slice(0, 160));
"""


def test_names_contrast_and_nothing_cut(browser: Any, address: str, files: list[str]) -> None:
    """Fields, buttons and images have names for a screen reader; text is 4.5 to 1 against its ground or
    more (WCAG 2.2, 1.4.3); the table of words is seen whole, and no label lies on an image."""
    for where in results(browser, address, files):
        for check in (NAMELESS, LOW_CONTRAST, CUT):
            assert browser.execute_script(check) == [], where


def test_dark_theme_on_a_phone(browser: Any, address: str, files: list[str]) -> None:
    """Contrast, and no sideways scrolling at 390 pixels."""
    with phone(browser):
        for where in results(browser, address, files, "dark"):
            assert browser.execute_script(LOW_CONTRAST) == [], where
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 390, where


def test_limits_are_said(browser: Any, address: str) -> None:
    open_page(browser, address)
    said = until(browser, lambda b: texts(b, "body"))
    assert "up to 50 MB and an image 50 million pixels" in said


def test_nothing_else_is_asked(browser: Any, address: str) -> None:
    """Runs last: all addresses since the browser started."""
    open_page(browser, address)
    assert requested(browser) <= {"127.0.0.1", "localhost"}
