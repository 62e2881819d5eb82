"""The output of ``diffagiqa score`` -> a frame with known columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffagiqa.data.samples import printable
from diffagiqa.errors import ConfigError, TableError

if TYPE_CHECKING:
    import pandas as pd

READERS = {".csv": "read_csv", ".jsonl": "read_json", ".parquet": "read_parquet"}
_TEXT = ("image", "prompt", "prompt_source", "error")


@dataclass(frozen=True)
class Run:
    """Scores of one run.

    Attributes:
        name: what it is called in tables: its file's or folder's name.
        rows: columns image, prompt, error (text, "" where there is none), one float column per task,
            and whatever else the table has; in the order of the table.
        tasks: the scores, in [0, 1].
    """

    name: str
    rows: pd.DataFrame = field(repr=False)
    tasks: tuple[str, ...]

    @property
    def scored(self) -> pd.DataFrame:
        """The rows that have every score."""
        return self.rows.dropna(subset=list(self.tasks))

    def weighted(self, weights: Mapping[str, float] | None = None) -> pd.Series:
        """The weighted mean of the scores of ``scored``, in [0, 1].

        Raises:
            ConfigError: a weight is for an unknown task, is negative, or all are zero.
        """
        weights = dict(weights or dict.fromkeys(self.tasks, 1.0))
        unknown = [task for task in weights if task not in self.tasks]
        if unknown or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ConfigError(
                f"weights are {weights}; expected numbers of 0 or more, not all 0, for "
                f"{', '.join(self.tasks)}"
            )
        rows = self.scored
        return sum(w * rows[task] for task, w in weights.items()) / sum(weights.values())  # type: ignore[return-value]


def read_run(path: str | Path, name: str | None = None) -> Run:
    """Read .csv, .jsonl or .parquet, or a folder of parts, as ``diffagiqa score`` writes them.

    Raises:
        TableError: it cannot be read, or is no table of scores.
    """
    import pandas as pd

    path = Path(path)
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in READERS and f.name[0] not in "._")
    if not files or any(file.suffix.lower() not in READERS for file in files):
        raise TableError(
            f"{printable(str(path))} is no table of scores; give a .csv, .jsonl or .parquet file, "
            "or a folder of them, as diffagiqa score --out writes it"
        )
    try:
        rows = pd.concat([_read(file) for file in files], ignore_index=True)
    except (OSError, ValueError, ImportError) as fault:
        shown = printable(str(fault))[:200]
        raise TableError(
            f"{printable(str(path))} cannot be read ({shown}); give a table that "
            "diffagiqa score --out wrote"
        ) from None
    tasks = tuple(
        str(column)
        for column in rows.columns
        if f"{column}_mos" in rows.columns or column in ("perception", "alignment")
    )
    if "image" not in rows.columns or not tasks:
        found = printable(", ".join(map(str, rows.columns)))[:200]
        raise TableError(
            f"{printable(str(path))} has the columns {found}; expected image and scores, as "
            "diffagiqa score --out writes them"
        )
    for task in tasks:
        rows[task] = pd.to_numeric(rows[task], errors="coerce").astype("float64")
    for column in _TEXT:
        values = rows[column] if column in rows.columns else pd.Series("", index=rows.index)
        rows[column] = values.astype(object).where(values.notna(), "").astype(str)
    return Run(name or path.stem or str(path), rows, tasks)


def group_column(run: Run, by: str | None) -> pd.Series:
    """The group of every row: a column; "folder" is the picture's folder; None finds "generator".

    Raises:
        TableError: there is no such column.
    """
    import pandas as pd

    rows = run.rows
    if by is None:
        by = "generator" if "generator" in rows.columns else "folder"
    if by in rows.columns:
        return rows[by].astype(object).where(rows[by].notna(), "").astype(str)
    if by == "folder":
        parents = [Path(image).parent.name or "." for image in rows["image"]]
        return pd.Series(parents, index=rows.index)
    found = ", ".join(map(str, rows.columns))
    raise TableError(f"{run.name} has no column {by!r}; it has {found}, and 'folder' is known")


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    options: dict[str, Any] = {}
    if file.suffix.lower() == ".jsonl":
        options = {"lines": True, "dtype": False}
    elif file.suffix.lower() == ".csv":
        options = {"keep_default_na": False, "na_values": [""], "dtype": dict.fromkeys(_TEXT, str)}
    frame: pd.DataFrame = getattr(pd, READERS[file.suffix.lower()])(file, **options)
    return frame
