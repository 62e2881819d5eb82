"""Names and folders -> rows to train on, their split, and what must be said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases.opening import open_databases
from diffagiqa.data.splits import (
    Split,
    SplitFacts,
    generator_family,
    leave_out_split,
    official_split,
    prompt_key,
    random_split,
    split_facts,
)
from diffagiqa.errors import ConfigError
from diffagiqa.training.augmented import mismatches_within
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Labelled, TrainingData, make_data


@dataclass(frozen=True)
class Opened:
    """Databases ready to train on."""

    rows: TrainingData
    official: Split | None
    notes: tuple[str, ...]


def open_data(
    names: Sequence[str], roots: Sequence[str], *, columns: TableColumns | None = None,
    pairs: Sequence[str] = (), allow_partial: bool = False,
    skip_unreadable: bool = False,
) -> Opened:  # fmt: skip
    """Open databases by name, or tables of ratings or choices by path.

    ``roots``: one folder for one database, or ``name=folder`` for each; a table's name is its path, or
    its file name without suffix, as notes call it. Byte-identical files that are rated differently are
    left out, since nothing says which rating is right; the notes say how many. ``allow_partial`` and
    ``skip_unreadable`` leave out rows whose image is not there, or cannot be read.
    """
    databases = open_databases(
        names, roots, columns=columns, pairs=pairs, allow_partial=allow_partial,
        skip_unreadable=skip_unreadable,
    )  # fmt: skip
    rows = make_data({d.name: Labelled(d.samples(), d.scales, d.groups) for d in databases})
    official = None
    if len(databases) == 1 and "part" in databases[0].table:
        official = official_split(databases[0].table)
    return Opened(
        rows,
        official,
        tuple(note for database in databases for note in database.notes),
    )


def make_split(
    config: TrainingConfig, rows: TrainingData, official: Split | None = None
) -> dict[str, list[int]]:
    """Rows of the train, validation and test part, as ``config`` says.

    ``split_seed`` decides a random split. An official split without a validation part has one taken
    from its training part, by prompt. Unrated rows follow theirs into the training part.
    """
    parts = _rated_split(config, rows.originals, official)
    parts["train"] += mismatches_within(rows, parts["train"])
    return parts


def _rated_split(
    config: TrainingConfig, rows: TrainingData, official: Split | None
) -> dict[str, list[int]]:
    table, seed = rows.table(), config.split_seed
    if config.split == "official":
        if official is None:
            raise ConfigError(
                f"{', '.join(rows.names)} has no official split; use --split prompt or --split image"
            )
        parts = official.rows(table["image"])
        if not parts["validation"] and config.validation_fraction:
            trained = table.iloc[parts["train"]]
            inner = random_split(trained, config.validation_fraction, seed, "prompt")
            within = inner.rows(trained["image"])
            train = parts["train"]
            parts["train"] = [train[i] for i in within["train"]]
            parts["validation"] = [train[i] for i in within["test"]]
        return parts
    # validation_fraction is a share of what is not test, random_split wants one of everything.
    share = config.validation_fraction * (1 - config.test_fraction)
    if config.split == "generators":
        split = leave_out_split(table, None, config.test_fraction, seed, share)
    else:
        split = random_split(table, config.test_fraction, seed, config.split, share)
    return split.rows(table["image"])


def prompts_of(rows: TrainingData, part: Sequence[int]) -> set[str]:
    """The distinct prompts of some rows; the empty one is none."""
    prompts = rows.prompts
    return {prompt_key(prompts[row]) for row in part} - {""}


def facts_of(
    kind: str, data: TrainingData, splits: Sequence[Mapping[str, Sequence[int]]]
) -> SplitFacts:
    """The facts of a split, or of all folds, which stand beside every result.

    ``kind``: as ``TrainingConfig.split`` has it.
    """
    generators = [sample.generator or "unknown" for sample in data.samples]
    if kind == "generators":
        kind = f"leaving out {generator_family(generators[splits[0]['test'][0]])}"
    facts = [split_facts(kind, data.prompts, generators, parts) for parts in splits]
    test, seen, prompts = (
        sum(getattr(fact, name) for fact in facts) for name in ("test", "seen", "prompts")
    )
    return SplitFacts(kind, test, seen, prompts, facts[0].new_generators if len(facts) == 1 else ())
