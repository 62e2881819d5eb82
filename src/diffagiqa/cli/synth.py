"""``diffagiqa synth``: write a synthetic database with simulated ratings."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.data.wording import counted


class SplitName(str, Enum):
    """Which scenes and defects the images are made of."""

    ALL = "all"
    TRAIN = "train"
    TEST_PROMPTS = "test-prompts"
    TEST_COMBINATIONS = "test-combinations"
    TEST_DEFECTS = "test-defects"


def synth(
    out: Annotated[Path, typer.Argument(help="New folder for the database.")],
    images: Annotated[int, typer.Option(min=1, help="Number of images.")] = 600,
    size: Annotated[int, typer.Option(min=64, max=512, help="Side of an image in pixels.")] = 256,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the scenes, defects and observers.")
    ] = 0,
    split: Annotated[
        SplitName, typer.Option(help="Scenes and defects to draw from.")
    ] = SplitName.TRAIN,
    per_prompt: Annotated[
        int | None, typer.Option(min=1, help="Images per prompt. Default: 6, with test-defects 3.")
    ] = None,
    observers: Annotated[int, typer.Option(min=4, help="Number of simulated observers.")] = 24,
    png: Annotated[
        bool, typer.Option("--png", help="Write PNG instead of JPEG of quality 95.")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Contact sheet to write, .png or .jpg.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes to draw with; the files do not depend on it.")
    ] = 1,
) -> None:
    """Write a synthetic database in the layout of AGIQA-3K: images, simulated ratings, and the truth.

    Nobody rated these images: a model of observers makes the MOS from the known defects
    (docs/synth.md).

    Example:
        diffagiqa synth made --images 600 --size 256 --sheet made.png
    """
    from diffagiqa.errors import ConfigError
    from diffagiqa.synth.database import write_database
    from diffagiqa.synth.observers import Panel
    from diffagiqa.synth.sheets import database_sheet

    if sheet is not None and sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"--sheet is {sheet}; name it .png or .jpg")
    ceilings = write_database(
        out,
        images,
        size=size,
        seed=seed,
        split=split.value,
        per_prompt=per_prompt,
        panel=Panel(size=observers, seed=seed),
        image_format="png" if png else "jpg",
        workers=workers,
    )
    typer.echo(f"{counted(images, 'image')} in {out}; the ratings are simulated")
    for task, ceiling in ceilings.items():
        typer.echo(
            f"{task}: SRCC of observers, half against half {ceiling.between_halves:.3f}, "
            f"half against truth {ceiling.half_to_truth:.3f}, "
            f"all against truth {ceiling.all_to_truth:.3f}"
        )
    if sheet is not None:
        database_sheet(out).save(sheet)
        typer.echo(f"contact sheet in {sheet}")
