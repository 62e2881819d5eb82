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
    violations,
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


CUT = """
const seen = [...document.querySelectorAll('.wide,.framed')].filter(e => e.offsetParent);
const covered = e => { const label = e.querySelector('[data-testid=block-label]');
    return [...e.querySelectorAll('img')].some(i =>
        i.getBoundingClientRect().top < label.getBoundingClientRect().bottom - 1); };
return seen.filter(e => e.matches('.wide') ? e.scrollWidth > e.clientWidth : covered(e))
    .map(e => e.outerHTML.slice(0, 160));
"""


def test_accessible_and_nothing_cut(browser: Any, address: str, files: list[str]) -> None:
    """By axe-core's rules; the table of words is seen whole, and no label lies on an image."""
    for where in results(browser, address, files):
        assert violations(browser) == [], where
        assert browser.execute_script(CUT) == [], where


def test_dark_theme_on_a_phone(browser: Any, address: str, files: list[str]) -> None:
    """By axe-core's rules, too, and no sideways scrolling at 390 pixels."""
    with phone(browser):
        for where in results(browser, address, files, "dark"):
            assert violations(browser) == [], where
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
