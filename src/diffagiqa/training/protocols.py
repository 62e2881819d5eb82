"""How results were split, and the same training under several splits side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from diffagiqa.data.splits import SplitFacts, generator_family, split_facts

if TYPE_CHECKING:
    from diffagiqa.data.samples import Sample

PROTOCOLS = {
    "prompt": "by prompt: no prompt on both sides",
    "image": "by image: test prompts are in training",
    "official": "as published",
    "generators": "leaving one generator out, and its test prompts",
}
"""Values of ``TrainingConfig.split``; only "prompt" and "generators" test on new prompts for certain."""


class Sampled(Protocol):
    """Data that has a prompt and a sample per row."""

    @property
    def prompts(self) -> list[str]: ...

    @property
    def samples(self) -> Sequence[Sample]: ...


def facts_of(kind: str, data: Sampled, splits: Sequence[Mapping[str, Sequence[int]]]) -> SplitFacts:
    """The facts of the split that ``make_split`` made, or of all folds, which stand beside every result.

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


def facts_text(results: Sequence[Mapping[str, Any]]) -> str:
    """What the repeats of one protocol have in common: the sentence of the first, and the mean share."""
    facts = [SplitFacts(**{**r["split"], "new_generators": ()}) for r in results if "split" in r]
    if not facts:
        return "how it was split was not noted"
    share = float(np.mean([fact.seen / max(fact.test, 1) for fact in facts]))
    kinds = sorted({fact.kind for fact in facts})
    how = ", ".join(kinds) if len(kinds) > 1 else facts[0].sentence.partition(":")[0]
    return (
        f"{how}: on average {100 * share:.0f} % of the test rows have a prompt that is in training"
    )
