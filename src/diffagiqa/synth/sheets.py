"""Contact sheets; ``python -m diffagiqa.synth.sheets FOLDER`` writes those of the docs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from diffagiqa.synth.defects import DEFECTS
from diffagiqa.synth.grammar import BACKGROUNDS, COLOURS, KINDS, MATERIALS, STYLES
from diffagiqa.synth.render import render, render_layers
from diffagiqa.synth.samples import made_sample
from diffagiqa.synth.scene import Entity, Relation, Scene, sample_scene

Picture = NDArray[np.uint8]
_TEXT = 14  # pixels for a line of text


def contact_sheet(
    pictures: Sequence[Picture], labels: Sequence[str], columns: int, cell: int
) -> Image.Image:
    """Pictures in rows, each with its label (lines parted by newlines) below, cut to the cell."""
    lines = max((label.count("\n") + 1 for label in labels if label), default=0)
    high = cell + _TEXT * lines + (4 if lines else 0)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * high), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = (i % columns) * cell, (i // columns) * high
        sheet.paste(
            Image.fromarray(picture).resize((cell - 2, cell - 2), Image.Resampling.LANCZOS), (x, y)
        )
        for k, text in enumerate(label.split("\n") if label else []):
            while text and draw.textlength(text) > cell - 6:
                text = text[:-1]
            draw.text((x + 2, y + cell + k * _TEXT), text, fill="black")
    return sheet


def database_sheet(root: Path) -> Image.Image:
    """The first 48 images of a database with their prompts and simulated scores."""
    with (root / "data.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:48]
    pictures = [
        np.asarray(Image.open(root / "images" / row["name"]).convert("RGB")) for row in rows
    ]
    labels = []
    for row in rows:
        scores = f"quality {float(row['mos_quality']):.1f}  align {float(row['mos_align']):.1f}"
        labels.append("\n".join((scores, *wrap(row["prompt"], 26)[:4])))
    return contact_sheet(pictures, labels, min(8, len(rows)), 160)


def _one(kind: str, colour: str, material: str, background: str, seed: int, size: int) -> Picture:
    scene = Scene((Entity(kind, colour, material),), (), background, "photo", layout_seed=seed)
    return render(scene, size, seed)


def kinds_sheet() -> Image.Image:
    """Every kind once."""
    colours = list(COLOURS)
    pictures = [_one(k, colours[i * 5 % 12], "", "studio", i, 128) for i, k in enumerate(KINDS)]
    return contact_sheet(pictures, list(KINDS), 10, 110)


def materials_sheet() -> Image.Image:
    """Every material on three kinds, and every colour on one."""
    colours = list(COLOURS)
    pictures = [
        _one(kind, colours[(i + 3 * j) % 12], material, "meadow", i, 128)
        for i, material in enumerate(MATERIALS)
        for j, kind in enumerate(("cat", "car", "vase"))
    ]
    labels = [material or "plain" for material in MATERIALS for _ in range(3)]
    pictures += [_one("teapot", colour, "", "kitchen", 3, 128) for colour in COLOURS]
    return contact_sheet(pictures, [*labels, *COLOURS], 9, 110)


def backgrounds_sheet() -> Image.Image:
    """Every background."""
    pictures = [_one("robot", "red", "", name, i, 256) for i, name in enumerate(BACKGROUNDS)]
    return contact_sheet(pictures, list(BACKGROUNDS), 8, 140)


def styles_sheet() -> Image.Image:
    """Six scenes in every style."""
    pictures, labels = [], []
    for style in STYLES:
        for i in range(6):
            scene = replace(
                sample_scene(np.random.default_rng(100 + i)), style=style, light="neutral"
            )
            pictures.append(render(scene, 256, i))
            labels.append(style)
    return contact_sheet(pictures, labels, 6, 160)


def samples_sheet() -> Image.Image:
    """The first samples of the training stream with their captions."""
    made = [made_sample(0, i, 256) for i in range(24)]
    labels = ["\n".join(wrap(m.caption, 32)[:4]) for m in made]
    return contact_sheet([m.image for m in made], labels, 6, 190)


def defects_sheet() -> Image.Image:
    """Every defect at four severities."""
    scene = Scene(
        (Entity("cat", "orange"), Entity("car", "blue")),
        (Relation(0, "left of", 1),),
        "meadow",
        "photo",
        layout_seed=4,
    )
    clean = render_layers(scene, 256, 3)
    region = clean.masks[0] / np.float32(255)
    pictures, labels = [], []
    for name, defect in DEFECTS.items():
        for severity in (0.1, 0.4, 0.7, 1.0):
            pictures.append(defect(clean.image, severity, np.random.default_rng(1), region).image)
            labels.append(f"{name} {severity}")
    return contact_sheet(pictures, labels, 8, 128)


SHEETS = {
    "kinds": kinds_sheet,
    "materials": materials_sheet,
    "backgrounds": backgrounds_sheet,
    "styles": styles_sheet,
    "samples": samples_sheet,
    "defects": defects_sheet,
}


def write_sheets(folder: Path) -> None:
    """Write every sheet as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in SHEETS.items():
        draw().save(folder / f"{name}.jpg", quality=76)


if __name__ == "__main__":
    write_sheets(Path(sys.argv[1]))
