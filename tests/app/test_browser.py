"""The page and the report in a real browser; skipped where there is none (see browsing.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import (
    NEEDS_BROWSER,
    SCREENSHOTS,
    clear,
    drop,
    explain,
    find,
    keep,
    open_page,
    phone,
    tab,
    texts,
    until,
    violations,
)
from PIL import Image

from diffagiqa import Scorer

pytest_plugins = ["browsing"]
pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image without a prompt in its metadata."""
    path = tmp_path_factory.mktemp("bare") / "bare.png"
    Image.new("RGB", (64, 64)).save(path)
    return str(path)


def prompt_of(browser: Any) -> str:
    return str(find(browser, "#prompt textarea").get_attribute("value"))


@pytest.mark.slow
def test_score_and_explain(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    drop(browser, "#image", files[1])
    until(browser, prompt_of)
    assert "Prompt found in the file" in until(browser, lambda b: texts(b, "#note"))
    find(browser, "#score").click()
    until(
        browser,
        lambda b: "perception" in texts(b, "#scores") and "alignment" in texts(b, "#scores"),
    )
    explain(browser)
    keep(browser, "app/explain.png")


@pytest.mark.slow
def test_a_new_image_clears_what_the_old_one_left(
    browser: Any, address: str, files: list[str], bare: str
) -> None:
    open_page(browser, address)
    drop(browser, "#image", files[1])
    until(browser, prompt_of)
    explain(browser)
    clear(browser, "#image")
    until(browser, lambda b: not texts(b, "#scores, #words, #heat, #seen"))
    assert prompt_of(browser) == ""  # it came from the image
    drop(browser, "#image", bare)
    until(browser, lambda b: "No prompt in the file: type" in texts(b, "#note"))
    find(browser, "#prompt textarea").send_keys("a black square")
    explain(browser, tick=False)
    clear(browser, "#image")
    until(browser, lambda b: not texts(b, "#scores, #words, #heat, #seen"))
    drop(browser, "#image", bare)
    until(browser, lambda b: "the one above stays" in texts(b, "#note"))
    assert prompt_of(browser) == "a black square"


@pytest.mark.slow
def test_bad_file_is_said_in_words(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    drop(browser, "#image", files[3])
    said = until(browser, lambda b: texts(b, "[role=alert]"))
    assert said.startswith("bad.png is not an image")
    assert "Traceback" not in browser.page_source


@pytest.mark.slow
def test_no_image_is_said_in_words(browser: Any, address: str) -> None:
    open_page(browser, address)
    find(browser, "#score").click()
    assert "no image yet" in until(browser, lambda b: texts(b, "[role=alert]"))


def test_batch_with_download(browser: Any, address: str, files: list[str]) -> None:
    open_page(browser, address)
    tab(browser, "Many")
    many = files if SCREENSHOTS else files * 7
    drop(browser, "#many", *many)
    until(browser, lambda b: "bad" in texts(b, "#many"))
    button = find(browser, "#score-all")
    assert button.rect["y"] + button.rect["height"] < 800  # in sight, however many files
    button.click()
    until(browser, lambda b: "bad.png" in texts(b, "#table"))
    until(browser, lambda b: f"{len(many)} of {len(many)} images done" in texts(b, "#status"))
    assert "is not an image" in texts(browser, "#table")
    link = until(browser, lambda b: b.find_element("css selector", "#csv a").get_attribute("href"))
    assert link.endswith("scores.csv")
    keep(browser, "app/batch.png")


@pytest.mark.slow
def test_examples_work_offline(browser: Any, address: str) -> None:
    open_page(browser, address)
    row = until(browser, lambda b: next(
        e for e in b.find_elements("css selector", "button, tr, .gallery-item")
        if e.text.strip() == "clean, wrong prompt"
    ))  # fmt: skip
    row.click()
    until(browser, prompt_of)


@pytest.mark.slow
def test_keyboard_alone_scores(browser: Any, address: str, files: list[str]) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, address)
    drop(browser, "#image", files[0])
    until(browser, prompt_of)
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.get_attribute("id") == "score":
            break
    assert browser.switch_to.active_element.get_attribute("id") == "score"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda b: "perception" in texts(b, "#scores"))


@pytest.fixture(scope="module")
def report(small_scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of synthetic images in two groups, one damaged, one prompt hostile, one row bad."""
    import pandas as pd

    from diffagiqa.assets import demo_images
    from diffagiqa.report import read_run, write_report

    folder = tmp_path_factory.mktemp("report")
    scorer = Scorer.from_pretrained() if SCREENSHOTS else small_scorer
    rows: list[dict[str, Any]] = []
    for number, demo in enumerate(demo_images()):
        (folder / demo.condition).mkdir(exist_ok=True)
        with Image.open(demo.path) as image:
            image.convert("RGB").resize((256, 256)).save(folder / demo.condition / f"{number}.png")
        name = f"{demo.condition}/{number}.png"
        score = scorer(str(folder / name), demo.prompt)
        row = {"image": name, "prompt": demo.prompt, **score.scores}
        rows.append(row | {"unfamiliar": score.unfamiliar})
    if not SCREENSHOTS:
        rows[0]["prompt"] = "<script>document.title='x'</script>"
        Image.new("RGB", (15, 200)).save(folder / rows[0]["image"])
    rows.append({"image": "damaged/bad.png", "prompt": "", "error": "bad.png is no image"})
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


@pytest.mark.slow
def test_report_on_a_phone(browser: Any, report: Path) -> None:
    """No sideways scrolling at 390 pixels, and no text smaller than 12."""
    with phone(browser):
        browser.get(report.as_uri())
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
    assert all(0.95 < shape < 1.05 for shape in frames)  # tall images, too, stand in a square


def test_report_is_accessible(browser: Any, report: Path) -> None:
    """By axe-core's rules, in the light and in the dark."""
    for theme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(report.as_uri())
        assert violations(browser) == [], theme
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
