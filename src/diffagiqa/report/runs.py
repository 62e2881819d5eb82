"""The output of ``diffagiqa score`` -> a frame with known columns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffagiqa import checks
from diffagiqa.data.cells import cell_number, cell_text
from diffagiqa.data.records import read_frame
from diffagiqa.data.samples import printable, quoted
from diffagiqa.data.wording import counted
from diffagiqa.errors import TableError
from diffagiqa.model.config import shares_of

if TYPE_CHECKING:
    import pandas as pd

_PARTS = (".csv", ".jsonl", ".parquet")  # what a job writes into a folder
_TEXT = ("image", "prompt", "prompt_source", "error")


@dataclass(frozen=True)
class Run:
    """Scores of one run.

    Attributes:
        name: what it is called in tables: its file's or folder's name.
        rows: columns image, prompt, error (text, "" where there is none), one float column per task,
            and whatever else the table has; in the order of the table.
        tasks: the scores, in [0, 1].
        folder: of the table, which the column ``file`` is relative to.
    """

    name: str
    rows: pd.DataFrame = field(repr=False)
    tasks: tuple[str, ...]
    folder: Path | None = None

    @property
    def scored(self) -> pd.DataFrame:
        """The rows that have every score, or without a prompt those scores that need none."""
        has = self.rows[list(self.tasks)].notna()
        return self.rows[has.all(axis=1) | (has.any(axis=1) & (self.rows["prompt"] == ""))]

    @property
    def prompted(self) -> pd.DataFrame:
        """The rows of ``scored`` that have a prompt."""
        rows = self.scored
        return rows[rows["prompt"].str.strip() != ""]

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The tasks that the model itself does not stand behind."""
        named = self.rows["doubtful"].dropna() if "doubtful" in self.rows.columns else ()
        every = {task for text in set(named) for task in str(text).split("+")}
        return tuple(task for task in self.tasks if task in every)

    @property
    def ranking(self) -> tuple[str, ...]:
        """What images are ranked by where no weights are given: the scores that are not doubtful, and
        of these the ones that every scored row has, where there are any."""
        trusted = [task for task in self.tasks if task not in self.doubtful] or list(self.tasks)
        has = self.scored[trusted].notna()
        return tuple(has.columns[has.all()]) or tuple(has.columns[has.any()]) or tuple(trusted)

    def weighted(self, weights: Mapping[str, float] | None = None) -> pd.Series:
        """The weighted mean of the scores of ``scored``, in [0, 1]; default: equal over ``ranking``.

        Raises:
            ConfigError: a weight is for an unknown task, is negative, or all are zero.
        """
        given = weights if weights is not None else dict.fromkeys(self.ranking, 1.0)
        rows, shares = self.scored, shares_of(self.tasks, given)
        return sum(share * rows[task] for task, share in shares.items() if share)  # type: ignore[return-value]


def check_run(run: Run) -> Run:
    """What is given as a run, else ``ConfigError``."""
    return checks.instance("run", run, Run, "a Run, as read_run reads it")


def read_run(path: str | Path, name: str | None = None) -> Run:
    """Read the output of ``diffagiqa score``. Warns where its job has not finished.

    Args:
        path: a table in any of the formats that ``diffagiqa score`` reads, or a folder of parts.
        name: of the run in tables; default: the name of the file or folder.

    Returns:
        A ``Run``: its ``rows`` are a pandas frame with columns image, prompt, error, one column per
        task in [0, 1], and the table's others.

    Raises:
        TableError: it cannot be read, or is no table of scores.
    """
    import pandas as pd

    from diffagiqa.jobs.journal import unfinished

    path = Path(checks.location("path", path))
    files, missing = [path], None
    if path.is_dir():
        missing = unfinished(str(path))
        files = sorted(f for f in path.iterdir() if f.suffix in _PARTS and f.name[0] not in "._")
    if not files:
        holds = f"holds no rows yet: {missing}" if missing else "holds no table of scores"
        raise TableError(
            f"{printable(str(path))} {holds}; give what diffagiqa score --out writes, a table or a folder"
        )
    frames = [read_frame(file, guarded=file.suffix.lower() == ".csv" or None) for file in files]
    rows = pd.concat(frames, ignore_index=True)
    rows = rows.where(rows.notna() & (rows != ""), None)
    tasks = tuple(
        str(column)
        for column in rows.columns
        if f"{column}_mos" in rows.columns or column in ("perception", "alignment")
    )
    if "image" not in rows.columns or not tasks:
        known = printable(", ".join(map(str, rows.columns)))[:200]
        raise TableError(
            f"{printable(str(path))} has the columns {known}; expected image and scores, as "
            "diffagiqa score --out writes them"
        )
    for task in tasks:
        rows[task] = rows[task].map(cell_number).astype("float64")
        if not rows[task].dropna().between(0, 1).all():
            raise TableError(
                f"{printable(str(path))} has {printable(task)} from {rows[task].min():g} to "
                f"{rows[task].max():g}; expected scores from 0 to 1, as diffagiqa score writes them"
            )
    for column in {"row", "seed", *(f"{task}_mos" for task in tasks)} & set(rows.columns):
        rows[column] = pd.to_numeric(rows[column].map(cell_number), downcast="integer")
    for column in _TEXT:
        rows[column] = rows[column].map(cell_text).astype(object) if column in rows.columns else ""
    if missing:
        warnings.warn(
            f"{printable(str(path))} holds {counted(len(rows), 'row')}: {missing}", stacklevel=2
        )
    folder = path if path.is_dir() else path.parent
    return Run(name or path.stem or str(path), rows, tasks, folder)


def split_run(run: Run, by: str) -> list[Run]:
    """One run per generator, in the order they first appear; see ``group_column``.

    Raises:
        TableError: there is no such column.
    """
    parts = run.rows.groupby(group_column(run, by), sort=False)
    return [
        replace(run, name=printable(str(name)) or "without a name", rows=part)
        for name, part in parts
    ]


def group_column(run: Run, by: str | None) -> pd.Series:
    """The group of every row: a column; "folder" is the first folder in which the images' paths
    differ; None finds "generator", else the folder.

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
        return pd.Series(_folders(rows["image"], run.scored["image"]), index=rows.index)
    known = ", ".join(map(str, rows.columns))
    raise TableError(
        f"{run.name} has no column {quoted(by)}; it has {known}, and 'folder' is known"
    )


def _folders(images: Iterable[str], scored: Iterable[str]) -> list[str]:
    """The first folder of every image in which those that were scored differ; "(top folder)" above it."""
    from diffagiqa.data.names import path_parts, shared_parts

    known = [path_parts(image)[:-1] for image in scored]
    first, last = min(known, default=[]), max(known, default=[])
    # where all lie in one folder, its name is what there is to say
    depth = shared_parts(first, last) if first != last else len(first) - 1
    folders = []
    for image in images:
        parts = path_parts(image)[:-1]
        below = parts[shared_parts(first[: max(0, depth)], parts) :]
        folders.append(below[0] if below else "(top folder)")
    return folders
