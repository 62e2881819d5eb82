"""How often a wrong prompt lowers the alignment score, and how far it moves the quality score.

    python tools/swap_prompts.py DATABASE ROOT [--model MODEL] [--count 300] [--seed 0] [--met 4]

Every picture drawn is scored with its own prompt and with that of another row, drawn at random.
Databases hold pictures that miss their own prompt, and one wrong prompt is no worse than another:
``--met`` draws among those alone whose alignment is rated so high.
"""

from __future__ import annotations

import numpy as np
from drawn_pictures import arguments, pictures

from diffagiqa import Scorer
from diffagiqa.data.splits import prompt_key


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--met", type=float, default=None, help="alignment rating, at least")
    options = parser.parse_args()
    samples = pictures(options)
    if options.met is not None:
        samples = [one for one in samples if one.labels.get("alignment", 0.0) >= options.met]
    numbers = np.random.default_rng(options.seed)
    scorer = Scorer.from_pretrained(options.model)
    pairs = []
    for row in numbers.permutation(len(samples))[: options.count]:
        own = samples[row].prompt or ""
        other = own
        while prompt_key(other) == prompt_key(own):
            other = samples[int(numbers.integers(len(samples)))].prompt or ""
        pairs += [(samples[row].source, own), (samples[row].source, other)]
    scores = [score.scores for score in scorer.score_many(pairs)]  # type: ignore[union-attr]
    for task in scorer.tasks:
        right, wrong = (np.array([s[task] for s in scores[start::2]]) for start in (0, 1))
        lower = float((wrong < right).mean())
        error = 1.96 * (lower * (1 - lower) / len(right)) ** 0.5
        print(
            f"{task}: lower with a wrong prompt in {lower:.1%} ± {error:.1%} of {len(right)} pairs, "
            f"by {float((right - wrong).mean()):.4f} on average, moved by "
            f"{float(np.abs(right - wrong).mean()):.4f}"
        )


if __name__ == "__main__":
    main()
