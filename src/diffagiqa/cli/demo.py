"""``diffagiqa demo``: drawn images, clean and damaged, with right and wrong prompts, scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from diffagiqa.cli import model_options as options

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from diffagiqa.scorer import Score

COLUMNS = 3  # clean, damaged, wrong prompt


class Example(NamedTuple):
    """An image, (512, 512, 3) uint8, the prompt it is scored with, and what was done to them."""

    name: str
    image: np.ndarray
    prompt: str
    what: str


def demo(
    out: Annotated[
        Path, typer.Argument(help="Folder to write images, scores.csv and sheet.png to.")
    ] = Path("demo"),
    model: options.Model = None,
    backbone: options.Backbone = None,
) -> None:
    """Score a few drawn images of the package: clean, damaged, and with the wrong prompt.

    A good scorer puts the clean image above the damaged one in perception, and the right prompt above
    the wrong one in alignment. Works offline.

    Examples:
        diffagiqa demo
        diffagiqa demo elsewhere/ --model runs/mine/best
    """
    from PIL import Image
    from rich.console import Console
    from rich.table import Table

    from diffagiqa.data.results import RowWriter, check_place
    from diffagiqa.data.samples import Sample
    from diffagiqa.rows import notice_of, row_columns, score_row
    from diffagiqa.startup import collector_at_rest

    check_place(out / "scores.csv")
    with collector_at_rest():
        from diffagiqa.scorer import Scorer

        scorer = Scorer.from_pretrained(model, backbone=backbone)
    examples = make_examples()
    scores = scorer([example.image for example in examples], [e.prompt for e in examples])

    out.mkdir(parents=True, exist_ok=True)
    with RowWriter(out / "scores.csv", row_columns(scorer.config) | {"what": str}) as rows:
        for number, (example, score) in enumerate(zip(examples, scores, strict=True)):
            sample = Sample(f"{example.name}.png", example.prompt, "argument", number)
            Image.fromarray(example.image).save(out / sample.image)
            rows.write(score_row(scorer, sample, score) | {"what": example.what})
    contact_sheet(examples, scores, scorer.tasks).save(out / "sheet.png")

    table = Table("image", "prompt", *scorer.tasks, box=None, pad_edge=False)
    for example, score in zip(examples, scores, strict=True):
        values = [f"{score[task]:.3f}" for task in scorer.tasks]
        table.add_row(example.name, example.prompt, *values)
    console = Console()
    console.print(table)
    if notice := notice_of(scorer.config):
        console.print(notice, highlight=False)
    console.print(f"images, scores.csv and sheet.png are in {out}/", highlight=False)


def make_examples() -> list[Example]:
    """Four scenes: clean, damaged, and the clean one with the prompt of another drawn image."""
    import numpy as np
    from PIL import Image

    from diffagiqa.assets import demo_images

    images = demo_images()
    damaged = {image.prompt: image for image in images if image.condition == "damaged"}
    clean = [image for image in images if image.condition == "clean" and image.prompt in damaged]
    others = [image.prompt for image in images if image.prompt not in damaged]
    examples = []
    for image, wrong in zip(clean, others, strict=True):
        for path, prompt, what in (
            (image.path, image.prompt, "clean"),
            (damaged[image.prompt].path, image.prompt, "damaged"),
            (image.path, wrong, "wrong prompt"),
        ):
            with Image.open(path) as file:
                pixels = np.asarray(file.convert("RGB"))
            examples.append(
                Example(f"{image.path.stem}-{what.replace(' ', '-')}", pixels, prompt, what)
            )
    return examples


def contact_sheet(
    examples: list[Example], scores: list[Score], tasks: tuple[str, ...], tile: int = 320
) -> Image.Image:
    """One row per scene: every image with what was done to it, its prompt and its scores."""
    import textwrap

    from PIL import Image, ImageDraw, ImageFont

    columns = COLUMNS
    caption = 118
    rows = -(-len(examples) // columns)
    sheet = Image.new("RGB", (columns * (tile + 16) + 16, rows * (tile + caption) + 16), "white")
    draw = ImageDraw.Draw(sheet)
    plain, strong = ImageFont.load_default(15), ImageFont.load_default(19)
    for number, (example, score) in enumerate(zip(examples, scores, strict=True)):
        x = 16 + number % columns * (tile + 16)
        y = 16 + number // columns * (tile + caption)
        sheet.paste(Image.fromarray(example.image).resize((tile, tile)), (x, y))
        draw.text((x, y + tile + 6), example.what, "black", strong)
        values = "   ".join(f"{task} {score[task]:.2f}" for task in tasks)
        draw.text((x, y + tile + 30), values, "#005a9c", plain)
        for line, text in enumerate(textwrap.wrap(example.prompt, 44)[:3]):
            draw.text((x, y + tile + 50 + 18 * line), text, "#444444", plain)
    return sheet
