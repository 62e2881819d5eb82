"""What the tools share that score pictures drawn from a database: their arguments and its pictures."""

from __future__ import annotations

import argparse
import io

from PIL import Image

from diffagiqa.data.databases import load_database
from diffagiqa.data.samples import Sample
from diffagiqa.synth import made_sample


def arguments(description: str | None) -> argparse.ArgumentParser:
    """DATABASE ROOT [--model MODEL] [--count 300] [--seed 0]."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("database")
    parser.add_argument("root")
    parser.add_argument("--model", default=None)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def pictures(options: argparse.Namespace) -> list[Sample]:
    database = load_database(options.database, options.root, allow_partial=True)
    return list(database.samples())


def clean_scenes(options: argparse.Namespace) -> list[Sample]:
    """As many as are wanted, in order of their number."""
    found = []
    for number in range(options.count):
        made = made_sample(options.seed, number, int(options.root), "test-prompts")
        file = io.BytesIO()
        Image.fromarray(made.image).save(file, "PNG")
        found.append(
            Sample(f"{number}.png", made.caption, "argument", number, data=file.getvalue())
        )
    return found
