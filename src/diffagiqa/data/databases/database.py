"""What a quality database is, once read: one table, its tasks and their scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.preferences import PreferenceGroup, renumbered
from diffagiqa.data.samples import Sample
from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    import pandas as pd

Scale = tuple[float, float]


@dataclass(frozen=True)
class Expected:
    """What the distribution holds when it is whole; None where that is not known."""

    rows: int | None = None
    prompts: int | None = None
    generators: int | None = None


@dataclass(frozen=True)
class Database:
    """Rated images of one database, as distributed.

    Attributes:
        name: key in ``DATABASES``, or the name of the user's table.
        root: folder that the images are in.
        table: one row per rating, with a RangeIndex and the columns

            * ``image``: the image's name as the database's own table gives it (the key in splits),
            * ``path``: the file, relative to ``root``; None where there is none (never after
              ``load_database``),
            * ``prompt``: as distributed,
            * ``generator``: model, with its setting where the database has several of one,
            * ``group``: the prompt's group, which a prompt-disjoint split keeps together,
            * ``duplicates``: number of the set of byte-identical files that the row is in, else -1,
            * one column of opinion scores per task, float64 in the task's scale, NaN where missing,
              and ``<task>_std`` where the database gives the raters' spread,
            * other columns of the database, such as ``subject``.
        tasks: names of the columns of opinion scores.
        scales: lowest and highest opinion score of each task.
        official_splits: row positions of the parts that the distribution names, or None.
        citation, licence, home: how to cite it, under which licence it is, its home page.
        expected: what a whole copy holds.
        notes: what is unusual about this copy, one sentence each; never silently empty.
        groups: what people preferred, as groups of the table's rows; empty where they gave ratings.
    """

    name: str
    root: Path
    table: pd.DataFrame
    tasks: tuple[str, ...]
    scales: Mapping[str, Scale]
    official_splits: Mapping[str, NDArray[np.int64]] | None = None
    citation: str = ""
    licence: str = ""
    home: str = ""
    expected: Expected = Expected()
    notes: tuple[str, ...] = ()
    groups: tuple[PreferenceGroup, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64], note: str = "") -> Database:
        """Some rows, by a mask or by positions; official splits and preferences follow them."""
        positions = np.arange(len(self.table))[rows]
        splits = None
        if self.official_splits is not None:
            new = np.full(len(self.table), -1)
            new[positions] = np.arange(len(positions))
            moved = {part: new[old] for part, old in self.official_splits.items()}
            splits = {part: np.sort(at[at >= 0]) for part, at in moved.items()}
        return replace(
            self,
            table=self.table.iloc[positions].reset_index(drop=True),
            official_splits=splits,
            groups=renumbered(self.groups, {int(old): new for new, old in enumerate(positions)}),
            notes=(*self.notes, note) if note else self.notes,
        )

    def without_duplicates(self) -> Database:
        """Without every row whose file is byte-identical to that of another row.

        Of rows that say the same too, prompt and all scores, the first is kept. All rows of another set
        go, not all but one: where one picture has two prompts and two ratings, at least one of them is
        wrong, and nothing says which.
        """
        copies = self.table[self.table["duplicates"] != -1]
        if copies.empty:
            return self
        said = ["duplicates", "prompt", *self.tasks]
        again = copies.duplicated(said)
        single = copies[~again]
        contradictory = single[single["duplicates"].duplicated(keep=False)]["duplicates"].unique()
        repeated = copies[again & ~copies["duplicates"].isin(contradictory)]
        left = copies[copies["duplicates"].isin(contradictory)]
        found = self
        kept = ~self.table.index.isin(repeated.index)
        if len(repeated):
            found = found.select(
                kept,
                f"{counted(len(repeated), 'row repeats', 'rows repeat')} another's picture, prompt and "
                f"scores ({repeated['image'].iloc[0]}); one of each is kept",
            )
        if len(left):
            rest = ~self.table.index.isin(left.index)
            note = f"{len(left)} rows whose files are byte-identical to others are left out"
            found = found.select(rest[kept], note)
        return found

    def samples(self) -> tuple[Sample, ...]:
        """The rows as samples, with absolute locations; tasks without a score are not in ``labels``."""
        return tuple(
            Sample(
                image=row["image"],
                prompt=row["prompt"],
                prompt_source="table",
                row=number,
                labels={t: float(row[t]) for t in self.tasks if not np.isnan(row[t])},
                generator=row["generator"],
                location=str(self.root / row["path"]) if row["path"] else None,
            )
            for number, row in enumerate(self.table.to_dict("records"))
        )
