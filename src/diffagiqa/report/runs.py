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


def add_columns(run: Run, path: str | Path, key: str | None = None) -> Run:
    """The run with what a table says of its pictures or prompts: generators, categories, ...

    Args:
        run: the scores; columns that it has already are kept as they are.
        path: CSV, TSV, JSONL, JSON or Parquet. Columns are found by name, as ``diffagiqa score``
            finds them; a column ``model`` becomes ``generator``, for ``model`` in scores is the scorer.
        key: "image" or "prompt": what rows are found by. Default: the picture, else the prompt.

    Raises:
        TableError: the table cannot be read, or knows none of the run's pictures and prompts.
    """
    from diffagiqa.data.prompts import clean_prompt
    from diffagiqa.data.tables import GENERATOR_COLUMNS, IMAGE_COLUMNS, PROMPT_COLUMNS

    other, shown = _read_any(Path(path)), printable(str(path))
    keys = {"image": (IMAGE_COLUMNS, str), "prompt": (PROMPT_COLUMNS, clean_prompt)}
    for name, (known, tidy) in keys.items():
        found = next((c for w in known for c in other.columns if str(c).lower() == w), None)
        if found is None or key not in (None, name):
            continue
        values = other[found].astype(object).where(other[found].notna(), "").astype(str).map(tidy)
        if not run.rows[name].isin(values).any():
            continue
        names = {
            column: "generator" if str(column).lower() in GENERATOR_COLUMNS else str(column)
            for column in other.columns
        }
        renamed = other.rename(columns=names)
        fresh = [c for c in dict.fromkeys(renamed.columns) if c not in run.rows.columns]
        table = renamed.loc[:, ~renamed.columns.duplicated()][fresh].assign(**{name: values})
        rows = run.rows.merge(table.drop_duplicates(name), on=name, how="left")
        return Run(run.name, rows, run.tasks)
    columns = printable(", ".join(map(str, other.columns)))[:200]
    raise TableError(
        f"{shown} has the columns {columns} and names no {key or 'picture or prompt'} of {run.name}; "
        "give the table that was scored, or one with its prompts"
    )


def split_run(run: Run, by: str) -> list[Run]:
    """One run per generator, in the order they first appear; see ``group_column``.

    Raises:
        TableError: there is no such column.
    """
    groups = group_column(run, by)
    return [
        Run(printable(name) or "without a name", run.rows[groups == name], run.tasks)
        for name in dict.fromkeys(groups)
    ]


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


def _read_any(file: Path) -> pd.DataFrame:
    """A table that a user wrote, of any of the formats that can be scored."""
    import pandas as pd

    try:
        if file.suffix.lower() == ".tsv":
            return pd.read_csv(file, sep="\t", keep_default_na=False, na_values=[""])
        if file.suffix.lower() == ".json":
            return pd.read_json(file, dtype=False)
        if file.suffix.lower() in READERS:
            return _read(file)
    except (OSError, ValueError, ImportError) as fault:
        shown = printable(str(fault))[:200]
        raise TableError(f"{printable(str(file))} cannot be read ({shown})") from None
    raise TableError(
        f"{printable(str(file))} is no table; give .csv, .tsv, .jsonl, .json or .parquet"
    )


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    options: dict[str, Any] = {}
    if file.suffix.lower() == ".jsonl":
        options = {"lines": True, "dtype": False}
    elif file.suffix.lower() == ".csv":
        options = {"keep_default_na": False, "na_values": [""], "dtype": dict.fromkeys(_TEXT, str)}
    frame: pd.DataFrame = getattr(pd, READERS[file.suffix.lower()])(file, **options)
    return frame
