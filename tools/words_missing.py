r"""How many words of their prompts pictures are said to miss, where people say they meet them or not.

    python tools/words_missing.py DATABASE ROOT [--model MODEL] [--count 60] [--seed 0] [--met 3.5] \
        [--missed 1.5]

Three draws: pictures whose alignment is rated ``--met`` or more, the same with the prompt of another
picture, and pictures rated ``--missed`` or less. Of a model that can be believed, the first share is
small and far below the second.
"""

from __future__ import annotations

import numpy as np
from drawn_pictures import arguments, pictures

from diffagiqa import Scorer
from diffagiqa.data.samples import Sample
from diffagiqa.data.splits import prompt_key
from diffagiqa.explain.benchmark import Share, share
from diffagiqa.explain.explanation import MISSING_BELOW, word_chances
from diffagiqa.explain.words import split_words


def missing(scorer: Scorer, image: object, prompt: str) -> float:
    """The share of the prompt's words whose chance to be shown is below one half."""
    chances = word_chances(scorer, scorer.prepare(image), prompt, split_words(prompt))
    return float(np.mean([chance < MISSING_BELOW for chance in chances]))


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(count=60)
    parser.add_argument("--met", type=float, default=3.5, help="alignment rating, at least")
    parser.add_argument("--missed", type=float, default=1.5, help="alignment rating, at most")
    options = parser.parse_args()
    samples = [one for one in pictures(options) if split_words(one.prompt or "")]
    scorer = Scorer.from_pretrained(options.model)
    numbers = np.random.default_rng(options.seed)

    def drawn(rated: list[Sample]) -> list[Sample]:
        return [rated[i] for i in numbers.permutation(len(rated))[: options.count]]

    met = drawn([one for one in samples if one.labels["alignment"] >= options.met])
    missed = drawn([one for one in samples if one.labels["alignment"] <= options.missed])
    own = [one.prompt or "" for one in met]
    other = []
    for prompt in own:
        choice = prompt
        while prompt_key(choice) == prompt_key(prompt):
            choice = own[int(numbers.integers(len(own)))]
        other.append(choice)
    draws = {
        f"rated {options.met:g} or more": (met, own),
        "the same, with another image's prompt": (met, other),
        f"rated {options.missed:g} or less": (missed, [one.prompt or "" for one in missed]),
    }
    print("| images | words reported missing | images with such a word |\n|---|---|---|")
    for name, (chosen, prompts) in draws.items():
        shares = [missing(scorer, o.source, p) for o, p in zip(chosen, prompts, strict=True)]
        print(f"| {name} | {_cell(share(shares))} | {_cell(share([s > 0 for s in shares]))} |")


def _cell(found: Share) -> str:
    return f"{found.mean:.0%} [{found.low:.0%}, {found.high:.0%}], n={found.pictures}"


if __name__ == "__main__":
    main()
