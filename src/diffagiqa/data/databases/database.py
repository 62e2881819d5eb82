"""What a quality database is, once read: one table, its tasks and their scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.preferences import PreferenceGroup, renumbered
from diffagiqa.data.samples import Sample
from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from diffagiqa.data.databases.files import Folder
    from diffagiqa.data.databases.listing import Listing

Scale = tuple[float, float]


@dataclass(frozen=True)
class Source:
    """One database as distributed: how to read its labels, where its images lie, what it should hold.

    Attributes:
        read: folder -> listing; raises DatabaseError where label files or columns are missing.
        scales: opinion scores' range by task, as the database's paper or its files say.
        folders: sub-folders that the distribution keeps images in.
        expected: "rows", distinct "prompts" and "generators" of a whole copy, as far as known.
        rescaled: whether copies differ in their scale and in their tasks: it is 0 to 100 where a score
            is above 5, else 0 to 5.
    """

    name: str
    title: str
    read: Callable[[Folder], Listing]
    citation: str
    licence: str
    home: str
    scales: Mapping[str, Scale] = field(default_factory=dict)
    folders: tuple[str, ...] = ("images", "image")
    expected: Mapping[str, int] = field(default_factory=dict)
    rescaled: bool = False


@dataclass(frozen=True)
class Database:
    """Rated images of one database, as distributed.

    Attributes:
        name: key in ``DATABASES``, or the name of the user's table.
        root: folder that the images are in.
        table: one row per rating, with a RangeIndex and the columns

            * ``image``: the image's name as the database's own table gives it (the key in splits),
            * ``path``: the file, relative to ``root``; None where there is none (never once verified),
            * ``prompt``: as distributed,
            * ``generator``: model, with its setting where the database has several of one,
            * ``group``: the prompt's group, which a prompt-disjoint split keeps together,
            * ``duplicates``: number of the set of byte-identical files that the row is in, else -1,
            * one column of opinion scores per task, float64 in the task's scale, NaN where missing,
            * ``part``: "train", "validation" or "test", where it has an official split,
            * what else the database says of images, such as ``elements``.
        scales: lowest and highest opinion score of each task.
        notes: what is unusual about this copy, one sentence each; never silently empty.
        groups: what people preferred, as groups of the table's rows; empty where they gave ratings.
        source: where it is from; None for a table of the user's.
    """

    name: str
    root: Path
    table: pd.DataFrame
    scales: Mapping[str, Scale]
    notes: tuple[str, ...] = ()
    groups: tuple[PreferenceGroup, ...] = ()
    source: Source | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the columns of opinion scores."""
        return tuple(self.scales)

    def __len__(self) -> int:
        return len(self.table)

    def select(self, rows: NDArray[np.bool_], note: str) -> Database:
        """The rows of a mask, and what is said about the others; preferences follow the rows."""
        positions = np.flatnonzero(rows)
        return replace(
            self,
            table=self.table[rows].reset_index(drop=True),
            groups=renumbered(self.groups, {int(old): new for new, old in enumerate(positions)}),
            notes=(*self.notes, note),
        )

    def without_duplicates(self) -> Database:
        """Without every row whose file is byte-identical to that of another row.

        Of rows that say the same too, prompt and all scores, the first is kept. All rows of another set
        go, not all but one: where one image has two prompts and two ratings, at least one of them is
        wrong, and nothing says which.
        """
        copies = self.table["duplicates"] != -1
        repeated = copies & self.table.duplicated(["duplicates", "prompt", *self.tasks])
        single = self.table["duplicates"][copies & ~repeated]
        contradictory = self.table["duplicates"].isin(single[single.duplicated()])
        repeated &= ~contradictory
        database = self
        if count := int(repeated.sum()):
            database = database.select(
                ~repeated.to_numpy(),
                f"{counted(count, 'row repeats', 'rows repeat')} another's image, prompt and "
                f"scores ({self.table['image'][repeated].iloc[0]}); one of each is kept",
            )
        if count := int(contradictory.sum()):
            note = f"{count} rows whose files are byte-identical to others are left out"
            database = database.select(~contradictory[~repeated].to_numpy(), note)
        return database

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
