"""Databases whose layout was not at hand: EvalMi-50K and Q-Eval-100K, read by the names of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diffagiqa.data.databases.database import Source
from diffagiqa.data.databases.files import Folder, table_rows
from diffagiqa.data.databases.listing import ALIGNMENT, PERCEPTION, Listing, part_of, read_rated
from diffagiqa.data.samples import IMAGE_SUFFIXES, TABLE_SUFFIXES
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError

COLUMNS: Mapping[str, Sequence[str]] = {
    "image": ("image_path", "img_path", "image", "img", "image_name", "filename", "file", "name",
              "path"),
    "prompt": ("prompt", "text", "caption"),
    "generator": ("generator", "model", "model_name"),
    PERCEPTION: ("perception", "mos_perception", "perception_mos", "mos1", "quality", "mos_quality",
                 "quality_mos", "mos_q", "mosz1"),
    ALIGNMENT: ("alignment", "correspondence", "mos_correspondence", "correspondence_mos", "mos2",
                "mos_alignment", "alignment_mos", "mos_align", "mos_a", "mosz2"),
}  # fmt: skip
"""What columns may be called, without case; the first that is there counts."""


def read_named(folder: Folder, title: str) -> Listing:
    """The table in the folder that has columns of images, prompts and opinion scores (``COLUMNS``).

    Several tables, one each for train, validation (or val) and test in their names, are the official
    split. Rows of videos are left out, and noted.

    Raises:
        DatabaseError: no table or several have such columns; it says how to name them.
    """
    import pandas as pd

    fitting: dict[Path, dict[str, str]] = {}
    seen = ""
    for name in folder.files:
        if not name.lower().endswith(TABLE_SUFFIXES) or len(fitting) > 8:
            continue
        where = folder.root / name
        try:
            _, record = next(table_rows(where))
        except (DatabaseError, StopIteration):  # another file of theirs, such as a configuration
            continue
        seen = f" ({name} has columns {', '.join(map(str, record))})"
        names = _matched(record)
        if "image" in names and "prompt" in names and {PERCEPTION, ALIGNMENT} & set(names):
            fitting[where] = names
    parts = {where: _part(where) for where in fitting}
    if not fitting or (len(fitting) > 1 and len(set(parts.values()) - {None}) < len(fitting)):
        what = "no table" if not fitting else f"{len(fitting)} tables"
        raise DatabaseError(
            f"{folder.root} holds {what} with images, prompts and scores of {title}{seen}; give one as a "
            "table of your own: diffagiqa data check TABLE --label perception=COLUMN --scale "
            "perception=0:100 --image-column COLUMN --prompt-column COLUMN"
        )
    tables = []
    for where, names in fitting.items():
        table = read_rated(
            where, names, [task for task in (PERCEPTION, ALIGNMENT) if task in names]
        )
        tables.append(table.assign(part=parts[where]) if len(fitting) > 1 else table)
    table = pd.concat(tables, ignore_index=True)
    known = np.array([str(name).lower().endswith(IMAGE_SUFFIXES) for name in table["image"]], bool)
    taken = [f"{old} as {new}" for new, old in next(iter(fitting.values())).items()]
    notes = [
        f"read by the names of columns, since the layout of {title} was not at hand: {', '.join(taken)}"
    ]
    if not known.all():
        are = counted(int((~known).sum()), "row that is no image is", "rows that are no images are")
        notes.append(f"{are} left out")
    table = table[known].reset_index(drop=True)
    if "generator" not in table:
        folders = table["image"].astype(str).str.replace("\\", "/").str.rpartition("/")[0]
        table["generator"] = folders.str.rpartition("/")[2]
    return Listing(table, tuple(notes))


def _matched(record: Mapping[str, Any]) -> dict[str, str]:
    names = {str(column).strip().lower().replace(" ", "_"): str(column) for column in record}
    matched = {
        new: [names[name] for name in known if name in names] for new, known in COLUMNS.items()
    }
    return {new: columns[0] for new, columns in matched.items() if columns}


def _part(where: Path) -> str | None:
    words = map(part_of, where.stem.replace("-", "_").split("_"))
    return next((part for part in words if part), None)


EVALMI = Source(
    name="evalmi-50k",
    title="EvalMi-50K",
    read=partial(read_named, title="EvalMi-50K"),
    scales={PERCEPTION: (0.0, 100.0), ALIGNMENT: (0.0, 100.0)},
    expected={"generators": 24},
    citation="Wang et al., LMM4LMM: Benchmarking and Evaluating Large-multimodal Image Generation with "
    "LMMs, arXiv:2504.08358, 2025",
    licence="see its home page",
    home="https://github.com/IntMeGroup/LMM4LMM",
    rescaled=True,
)

Q_EVAL = Source(
    name="q-eval-100k",
    title="Q-Eval-100K, images",
    read=partial(read_named, title="Q-Eval-100K"),
    scales={PERCEPTION: (0.0, 5.0), ALIGNMENT: (0.0, 5.0)},
    citation="Zhang et al., Q-Eval-100K: Evaluating Visual Quality and Alignment Level for "
    "Text-to-Vision Content, CVPR 2025, arXiv:2503.02357",
    licence="see its home page",
    home="https://huggingface.co/datasets/AGI-Eval-Official/Q-Eval-100K",
    rescaled=True,
)
