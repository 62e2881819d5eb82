"""Synthetic pictures as a benchmark: one database to train on, three to test on, all simulated.

Held out are prompts, combinations of a kind with a colour or material, and kinds of defects.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from diffagiqa.benchmark.run import Log
from diffagiqa.data.columns import TableColumns
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError
from diffagiqa.evaluation.protocol import AGREEMENT, spread
from diffagiqa.evaluation.tables import markdown, number
from diffagiqa.synth.database import DatabaseSplit, write_database
from diffagiqa.synth.observers import Panel
from diffagiqa.training.checkpoint import write_text
from diffagiqa.training.open_data import Opened, open_data
from diffagiqa.training.reproduce import Repeats

TESTS: tuple[DatabaseSplit, ...] = ("test-prompts", "test-combinations", "test-defects")
PARTS: tuple[DatabaseSplit, ...] = ("train", *TESTS)
TASKS = {"perception": "mos_quality", "alignment": "mos_align"}
TABLE = "ratings.csv"
SIZES = "sizes.json"


@dataclass(frozen=True)
class MadeSizes:
    """How many pictures are learnt from, how many of each kind are tested, and their side in pixels."""

    train: int = 3000
    test: int = 600
    size: int = 256
    seed: int = 0


def write_made(root: Path, sizes: MadeSizes, workers: int = 1, log: Log = print) -> Path:
    """Write what is missing of the four databases and the table that joins them; returns the table.

    Raises ``DatabaseError`` where ``root`` holds databases of other sizes or another seed.
    """
    _claim(root, sizes)
    rows: list[dict[str, str]] = []
    for index, part in enumerate(PARTS):
        folder = root / part
        if not folder.is_dir():
            count = sizes.test if index else sizes.train
            log(f"making {counted(count, 'picture')}, {part}")
            partial = root / f".{part}.partial"  # a stop leaves no half a database
            shutil.rmtree(partial, ignore_errors=True)
            # One panel for all: its observers must not differ between learning and testing.
            write_database(
                partial, count, sizes.size, sizes.seed + index, part, workers=workers,
                panel=Panel(seed=sizes.seed),
            )  # fmt: skip
            partial.rename(folder)
        with (folder / "data.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                kept = {task: row[column] for task, column in TASKS.items()}
                image = f"{part}/images/{row['name']}"
                side = "test" if index else "train"
                rows.append(
                    {"image": image, "prompt": row["prompt"], "part": part, "side": side} | kept
                )
    table = root / TABLE
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def _claim(root: Path, sizes: MadeSizes) -> None:
    """Note the sizes before anything is made, or check that they are those noted."""
    file, new = root / SIZES, asdict(sizes)
    if not any((root / part).exists() for part in PARTS):
        root.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(new) + "\n")
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatabaseError(
            f"{root} does not say how its pictures were made ({error}); delete it, or use another folder"
        ) from None
    if unlike := [name for name, value in new.items() if before.get(name) != value]:
        raise DatabaseError(
            f"{root} was made with another {', '.join(unlike)}; give the same again, delete it, or use "
            "another folder"
        )


def open_made(table: Path) -> Opened:
    """The joined table; the "generator" of a row is its part, and the split is official."""
    own = TableColumns(
        labels={task: task for task in TASKS},
        scales=dict.fromkeys(TASKS, (0.0, 5.0)),
        generator="part",
        split="side",
    )
    return open_data([str(table)], [str(table.parent)], own=own)


def held_out(root: Path, done: Sequence[Repeats], tasks: Sequence[str]) -> str:
    """The section of the report on what was held out: the observers' agreement, and every method's."""
    return (
        "\n## By held-out set\n\nLabels are simulated; SRCC between the simulated observers:\n\n"
        f"{ceilings(root)}\n\n{by_part(done, tasks)}\n"
    )


def ceilings(root: Path) -> str:
    """How well half of the observers agree with the other half and with the truth, per part."""
    lines = []
    for part in TESTS:
        found = json.loads((root / part / "observers.json").read_text(encoding="utf-8"))
        for task, key in (("perception", "quality"), ("alignment", "alignment")):
            one = found["noise_ceiling"][key]
            values = (one["between_halves"], one["all_to_truth"])
            lines.append([part, task, *map(number, values)])
    return markdown(["test set", "task", "half against half", "all against ground truth"], lines)


def by_part(done: Sequence[Repeats], tasks: Sequence[str]) -> str:
    """SRCC, PLCC and KRCC of every method on every held-out part, medians over repeats."""
    sections = []
    for task in tasks:
        lines = []
        for repeats in done:
            cells = []
            for part in TESTS:
                values = [
                    spread([e.tasks[task].generators[part][m] for e in repeats.evaluations]).median
                    for m in AGREEMENT
                ]
                cells.append(" / ".join(map(number, values)))
            lines.append([repeats.regime, *cells])
        sections += [
            f"### {task.capitalize()}: SRCC / PLCC / KRCC",
            markdown(["method", *TESTS], lines),
        ]
    return "\n\n".join(sections)
