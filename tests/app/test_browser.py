"""The page and the report in a real browser; skipped where there is none.

Wanted: Chromium with its driver (Debian: apt-get install chromium chromium-driver) and selenium.
With DIFFAGIQA_NEED_BROWSER=1 a machine without them fails instead of skipping. With
DIFFAGIQA_SCREENSHOTS=docs/images, the pictures of docs/how-to/app.md and report.md are written there,
with the embedded model in place of the small one of random weights.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from diffagiqa import Scorer
from diffagiqa.app.examples import write_examples
from diffagiqa.app.models import Models

pytest.importorskip("gradio")
pytest.importorskip("selenium", reason="selenium is not installed")

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
NEEDED = os.environ.get("DIFFAGIQA_NEED_BROWSER") == "1"
ABSENT = not (BROWSER and DRIVER)
pytestmark = [
    pytest.mark.skipif(ABSENT and not NEEDED, reason="no Chromium with its driver is installed"),
    pytest.mark.slow,
]
WAIT = 180  # seconds, for a loaded machine
SCREENSHOTS = os.environ.get("DIFFAGIQA_SCREENSHOTS")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Clean, damaged, wrong prompt, and one that is no picture."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "bad.png").write_text("no picture")
    return [*(e.path for e in write_examples(folder, 256)), str(folder / "bad.png")]


@pytest.fixture(scope="module")
def address(small_scorer: Scorer) -> Iterator[str]:
    from diffagiqa.app.page import launch

    models = Models(["first", "second"], lambda _: small_scorer)
    if SCREENSHOTS:
        models = Models()
    page, found = launch(models, port=17861, block=False)
    yield found
    page.close()


@pytest.fixture(scope="module")
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


def find_all(browser: Any, css: str) -> list[Any]:
    return until(browser, lambda b: b.find_elements("css selector", css))  # type: ignore[no-any-return]


def texts(browser: Any, css: str) -> str:
    return " ".join(e.text for e in browser.find_elements("css selector", css))


def open_page(browser: Any, address: str) -> None:
    browser.get(address)
    find(browser, "#score")


def tab(browser: Any, name: str) -> None:
    until(browser, lambda b: next(
        e for e in b.find_elements("css selector", "button[role=tab]") if e.text == name
    )).click()  # fmt: skip


def drop(browser: Any, css: str, *paths: str) -> None:
    find(browser, f"{css} input[type=file]").send_keys("\n".join(paths))


def keep(browser: Any, name: str) -> None:
    if SCREENSHOTS:
        file = Path(SCREENSHOTS) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(file))


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


def test_score_and_explain(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    drop(browser, "#picture", files[1])
    prompt = find(browser, "#prompt textarea")
    until(browser, lambda _: prompt.get_attribute("value"))
    assert "Prompt found in the file" in until(browser, lambda b: texts(b, "#note"))
    find(browser, "#score").click()
    until(
        browser,
        lambda b: "perception" in texts(b, "#scores") and "alignment" in texts(b, "#scores"),
    )
    find(browser, "input[type=checkbox]").click()
    find(browser, "#score").click()
    until(browser, lambda b: texts(b, "#sentence"))
    until(browser, lambda b: "alignment lost" in texts(b, "#words").lower())
    keep(browser, "app/explain.png")


def test_bad_file_is_said_in_words(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    drop(browser, "#picture", files[3])
    said = until(browser, lambda b: texts(b, "[role=alert]"))
    assert "bad.png" not in said or "picture" in said
    assert "Traceback" not in browser.page_source


def test_no_picture_is_said_in_words(browser: Any, address: str) -> None:
    open_page(browser, address)
    find(browser, "#score").click()
    assert "no picture yet" in until(browser, lambda b: texts(b, "[role=alert]"))


def test_batch_with_download(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    tab(browser, "Many")
    drop(browser, "#many", *files)
    until(browser, lambda b: "bad" in texts(b, "#many"))
    find(browser, "#score-all").click()
    until(browser, lambda b: "bad.png" in texts(b, "#table"))
    link = until(browser, lambda b: b.find_element("css selector", "#csv a").get_attribute("href"))
    assert link.endswith("scores.csv")
    keep(browser, "app/batch.png")


def test_side_by_side(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    tab(browser, "Side by side")
    inputs = find_all(browser, "[role=tabpanel] input[type=file]")[1:3]
    inputs[0].send_keys(files[0])
    inputs[1].send_keys(files[1])
    button = next(e for e in browser.find_elements("css selector", "button") if e.text == "Compare")
    until(browser, lambda b: texts(b, "[role=tabpanel]").count(".png") >= 2)
    button.click()
    until(browser, lambda b: "perception" in texts(b, "#verdict"))
    keep(browser, "app/side-by-side.png")


def test_examples_work_offline(browser: Any, address: str) -> None:
    open_page(browser, address)
    row = until(browser, lambda b: next(
        e for e in b.find_elements("css selector", "button, tr, .gallery-item")
        if e.text.strip() == "clean, wrong prompt"
    ))  # fmt: skip
    row.click()
    prompt = find(browser, "#prompt textarea")
    until(browser, lambda _: prompt.get_attribute("value"))


def test_keyboard_alone_scores(browser: Any, address: str, files: list[str]) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, address)
    drop(browser, "#picture", files[0])
    prompt = find(browser, "#prompt textarea")
    until(browser, lambda _: prompt.get_attribute("value"))
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.get_attribute("id") == "score":
            break
    assert browser.switch_to.active_element.get_attribute("id") == "score"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda b: "perception" in texts(b, "#scores"))


def test_every_field_has_a_name(browser: Any, address: str) -> None:
    open_page(browser, address)
    nameless = browser.execute_script("""
        const seen = e => e.offsetParent !== null;
        const named = e => e.ariaLabel || e.getAttribute('aria-labelledby') || e.title ||
            (e.labels && e.labels.length && [...e.labels].some(l => l.innerText.trim())) ||
            e.innerText.trim();
        return [...document.querySelectorAll('input:not([type=hidden]),textarea,select,button')]
            .filter(seen).filter(e => !named(e)).map(e => e.outerHTML.slice(0, 160));
    """)
    assert nameless == []


def test_contrast(browser: Any, address: str) -> None:
    """WCAG 2.2, 1.4.3: text against the ground it stands on, 4.5 to 1 or more."""
    open_page(browser, address)
    low = browser.execute_script("""
        const rgb = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
        const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
            .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b; };
        const ground = e => { for (; e; e = e.parentElement) {
            const c = rgb(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > .5) return c; } return [255, 255, 255]; };
        return [...document.querySelectorAll('button,label,span,p,h1,td,th')]
            .filter(e => e.offsetParent && e.childElementCount === 0 && e.innerText.trim())
            .map(e => { const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
                return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.innerText]; })
            .filter(([ratio]) => ratio < 4.5);
    """)
    assert low == []


def test_phone(browser: Any, address: str) -> None:
    """No sideways scrolling at 390 pixels."""
    with phone(browser):
        open_page(browser, address)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        keep(browser, "app/phone.png")
        assert wide <= 390


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


def test_nothing_else_is_asked(browser: Any, address: str) -> None:
    """Runs last in this file: all addresses since the browser started."""
    open_page(browser, address)
    assert requested(browser) <= {"127.0.0.1", "localhost"}


@pytest.fixture(scope="module")
def report(small_scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of made pictures of two groups, one of them damaged, one prompt hostile, one row bad."""
    import pandas as pd
    from PIL import Image

    from diffagiqa.report import read_run, write_report
    from diffagiqa.synth import made_sample
    from diffagiqa.synth.defects import damage

    folder = tmp_path_factory.mktemp("report")
    scorer = Scorer.from_pretrained() if SCREENSHOTS else small_scorer
    rows: list[dict[str, Any]] = []
    for group, severities in (("clean", {}), ("damaged", {"low detail": 0.5, "sensor noise": 0.4})):
        (folder / group).mkdir()
        made = [made_sample(0, index, 256) for index in range(16 if SCREENSHOTS else 3)]
        pictures = [damage(one.image, severities, (0, i))[0] for i, one in enumerate(made)]
        scores = scorer(pictures, [one.caption for one in made])
        for index, (sample, picture, score) in enumerate(zip(made, pictures, scores, strict=True)):
            Image.fromarray(picture).save(folder / group / f"{index}.png")
            row = {"image": f"{group}/{index}.png", "prompt": sample.caption, **score.scores}
            rows.append(row | {"unfamiliar": score.unfamiliar})
    if not SCREENSHOTS:
        rows[0]["prompt"] = "<script>document.title='x'</script>"
        Image.new("RGB", (15, 200)).save(folder / "clean" / "0.png")
    rows.append({"image": "damaged/bad.png", "prompt": "", "error": "bad.png is no picture"})
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    run = read_run(folder / "scores.csv")
    return write_report(run, folder / "r.html", root=folder, title="A run", each=8)


def test_report_opens_from_disk_without_network(browser: Any, report: Path) -> None:
    browser.get_log("browser")
    browser.get(report.as_uri())
    assert browser.title == "Report: A run"
    keep(browser, "report/desktop.png")
    if not SCREENSHOTS:
        assert "document.title" in texts(browser, ".card")
    images = browser.execute_script(
        "return [...document.images].map(i => i.complete && i.naturalWidth > 0)"
    )
    assert len(images) >= 8
    assert all(images)
    assert browser.get_log("browser") == []  # the page's own security policy blocks nothing of it


def test_report_on_a_phone(browser: Any, report: Path) -> None:
    """No sideways scrolling at 390 pixels, and no text smaller than 12."""
    with phone(browser):
        browser.get(report.as_uri())
        keep(browser, "report/phone.png")
        wide, small = browser.execute_script("""
            const sizes = [...document.querySelectorAll('p,td,th,dt,dd,a,span,b,small,figcaption')]
                .filter(e => e.innerText.trim()).map(e => parseFloat(getComputedStyle(e).fontSize));
            return [document.documentElement.scrollWidth, Math.min(...sizes)];
        """)
        frames = browser.execute_script("""
            return [...document.querySelectorAll('.frame')].map(e => e.offsetHeight / e.offsetWidth)
        """)
    assert wide <= 390
    assert small >= 12
    assert all(0.95 < shape < 1.05 for shape in frames)  # tall pictures, too, stand in a square
