"""Files as bug reports have them: the prompt in each, or none."""

from pathlib import Path

import pytest
from prompt_files import KETTLE

from diffagiqa.data.images import decode_image
from diffagiqa.data.prompts import find_prompt

CASES = Path(__file__).parents[1] / "cases"
OTHERS = {
    "02/utf8-ja.jpg": "苔むした石垣の上の銅のやかん",
    "06/step-in-prompt.png": "a garden path Steps: 3 wide stone ones, mossy",
    "07/camera.jpg": None,
    "07/gimp.jpg": None,
}
IMAGES = sorted(
    path.relative_to(CASES).as_posix()
    for path in CASES.glob("[01]?/*")
    if path.suffix != ".txt" and path.parent.name <= "16"
)


@pytest.mark.parametrize("name", IMAGES)
def test_case(name):
    image = CASES / name
    data = image.read_bytes()
    prompt, source = find_prompt(image, data)
    assert prompt == OTHERS.get(name, KETTLE)
    assert (source == "none") == (prompt is None)
    assert decode_image(data).ndim == 3  # none is refused for its metadata


def test_all_cases_are_here():
    assert len(IMAGES) == 29
