"""A page and a browser for the tests, and what they do with them.

Wanted: Chromium with its driver (Debian: apt-get install chromium chromium-driver) and selenium.
With DIFFAGIQA_NEED_BROWSER=1 a machine without them fails instead of skipping. With
DIFFAGIQA_SCREENSHOTS=docs/images, the images of docs/how-to/app.md and report.md are written there,
with the embedded model in place of the small one of random weights.

PYTEST_DONT_REWRITE: test files import it before pytest knows it as their plugin.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files as files_of
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.app.examples import write_examples

pytest.importorskip("gradio")
pytest.importorskip("selenium", reason="selenium is not installed")

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
NEEDED = os.environ.get("DIFFAGIQA_NEED_BROWSER") == "1"
ABSENT = not (BROWSER and DRIVER)
NEEDS_BROWSER = [
    pytest.mark.skipif(ABSENT and not NEEDED, reason="no Chromium with its driver is installed")
]
WAIT = 180  # seconds, for a loaded machine
SCREENSHOTS = os.environ.get("DIFFAGIQA_SCREENSHOTS")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Clean, damaged, wrong prompt, and one that is no image."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "bad.png").write_text("no image")
    return [*(e.path for e in write_examples(folder)), str(folder / "bad.png")]


@pytest.fixture(scope="session")
def address(small_scorer: Scorer) -> Iterator[str]:
    from diffagiqa.app.page import launch

    scorer = Scorer.from_pretrained() if SCREENSHOTS else small_scorer
    page, found = launch(scorer, port=free_port())
    yield found
    page.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--window-size=1280,1100",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


def until(browser: Any, condition: Callable[[Any], Any]) -> Any:
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, WAIT, ignored_exceptions=[WebDriverException])
    return wait.until(condition)


def find(browser: Any, css: str) -> Any:
    return until(browser, lambda b: b.find_element("css selector", css))


def texts(browser: Any, css: str) -> str:
    return " ".join(e.text for e in browser.find_elements("css selector", css)).strip()


def open_page(browser: Any, address: str, theme: str = "light") -> None:
    browser.get(f"{address}?__theme={theme}")
    find(browser, "#score")


def tab(browser: Any, name: str) -> None:
    until(browser, lambda b: next(
        e for e in b.find_elements("css selector", "button[role=tab]") if e.text == name
    )).click()  # fmt: skip


def drop(browser: Any, css: str, *paths: str) -> None:
    find(browser, f"{css} input[type=file]").send_keys("\n".join(paths))


def clear(browser: Any, css: str) -> None:
    """Take the dropped file away."""
    find(browser, f"{css} button[aria-label=Clear]").click()
    find(browser, f"{css} input[type=file]")


def explain(browser: Any, tick: bool = True) -> None:
    """Score with the box of explanations ticked, and wait for all of them."""
    if tick:
        find(browser, "input[type=checkbox]").click()
    find(browser, "#score").click()
    until(
        browser,
        lambda b: (
            "without it, alignment" in texts(b, "#words")
            and b.find_element("css selector", "#seen img")
        ),
    )


def keep(browser: Any, name: str) -> None:
    if SCREENSHOTS:
        file = Path(SCREENSHOTS) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        browser.execute_script("scrollTo(0, 0)")
        shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        coarse = shot.point(
            lambda value: value & 0xFC | value >> 6
        )  # six bits: two thirds of the bytes
        coarse.save(file, optimize=True)


def requested(browser: Any) -> set[str]:
    """Hosts that the page has asked, of web and socket addresses."""
    import json
    from urllib.parse import urlsplit

    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        url = message["params"].get("request", {}).get("url") or message["params"].get("url", "")
        sent = message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        if sent and urlsplit(url).scheme in ("http", "https", "ws", "wss"):
            found.add(urlsplit(url).hostname)
    return found


def violations(browser: Any) -> list[str]:
    """What axe-core finds wrong, such as names, contrast (4.5 to 1) and structure: rule and element.

    Left out are two rules that Gradio's own gallery (an image's text is its caption) and list of files
    (an input within a button) break.
    """
    axe = files_of("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    browser.execute_script(axe)
    return browser.execute_async_script(  # type: ignore[no-any-return]
        "const off = {enabled: false}, done = arguments[0];"
        "const rules = {'image-redundant-alt': off, 'nested-interactive': off};"
        "axe.run({rules}).then(found => done(found.violations.flatMap(rule => rule.nodes.map("
        "node => rule.id + ': ' + node.html.slice(0, 200)))), fault => done([String(fault)]));"
    )


def free_port() -> int:
    """One that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def phone(browser: Any) -> Iterator[None]:
    """390 x 844 pixels of a phone."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
