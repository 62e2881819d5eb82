"""Learning from preferences: a known order is recovered, alone and beside ratings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import small_config

from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.data.samples import Sample
from diffagiqa.errors import TrainingError
from diffagiqa.evaluation.pairs import evaluate_pairs
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Labelled, TrainingData, data_order, make_data
from diffagiqa.training.inputs import FeatureInputs
from diffagiqa.training.loop import Fitted, fit
from diffagiqa.training.losses import bradley_terry_loss
from diffagiqa.training.objective import Preferences
from diffagiqa.training.train import initial_model
from diffagiqa.training.validation import agreement

COUNT, OF_PROMPT = 560, 4
WIDTH = 4
QUIET = lambda text: None  # noqa: E731


def made_up_quality() -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Features of ``COUNT`` images, four of each prompt, and their quality.

    It lies in the difference of two channels, whose larger part is of no matter.
    """
    generator = torch.Generator().manual_seed(0)
    quality, nuisance = torch.randn(2, COUNT, generator=generator)
    maps = 0.3 * torch.randn(COUNT, 1, 1, WIDTH, 2, 2, generator=generator)
    maps[:, :, :, 0] += (nuisance + quality)[:, None, None, None, None]
    maps[:, :, :, 1] += (nuisance - quality)[:, None, None, None, None]
    return {"latents": maps}, quality.numpy()


FEATURES, QUALITY = made_up_quality()
PROMPTS = [f"prompt {row // OF_PROMPT}" for row in range(COUNT)]
TEST = list(range(480, COUNT))


def samples(labels: Sequence[dict[str, float]] = ()) -> list[Sample]:
    found = labels or [{}] * COUNT
    return [Sample(f"{i}.png", PROMPTS[i], "table", i, found[i]) for i in range(COUNT)]


def choices(rows: Sequence[int], noise: float, seed: int = 0) -> list[PreferenceGroup]:
    """Each prompt's images in two pairs, judged by somebody who errs."""
    judged = QUALITY + np.random.default_rng(seed).normal(0, noise, COUNT)
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return [PreferenceGroup((a, b), (-judged[a], -judged[b])) for a, b in pairs]


def learn(data: TrainingData, train: Sequence[int], **changes: object) -> Fitted:
    model = {"features": ("latents",), "feature_channels": (WIDTH,), "pyramid_size": 2,
             "prompting": "none", "tasks": data.tasks, "head_dropout": (0.0, 0.0)}  # fmt: skip
    settings = {"epochs": 6, "batch_size": 16, "lr_heads": 1e-2} | changes
    config = small_config(model, **settings)
    split = {"train": list(train), "validation": []}
    torch.set_num_threads(1)
    return fit(
        initial_model(config.model, 0), FeatureInputs(FEATURES), data, split, config, log=QUIET
    )


def held_out(fitted: Fitted) -> float:
    """Accuracy on all pairs of unseen prompts, by the true order."""
    with torch.no_grad():
        scores = FeatureInputs(FEATURES).scores(fitted.model.eval(), range(COUNT), None)
    rows_of = {prompt: [i for i in TEST if PROMPTS[i] == prompt] for prompt in PROMPTS}
    groups = tuple(
        PreferenceGroup(tuple(rows), tuple(-float(QUALITY[row]) for row in rows))
        for rows in rows_of.values()
        if rows
    )
    found = evaluate_pairs(
        torch.stack(list(scores.values())).mean(0).numpy(), groups, PROMPTS, resamples=0
    )
    assert found.pairs == len(TEST) // OF_PROMPT * 6
    return float(found.accuracy.value or 0)


@pytest.mark.parametrize(
    "loss",
    [
        {"pair_loss": "bradley-terry"},
        {"pair_loss": "bradley-terry", "pair_margin": 0.1},
        {"pair_loss": "thurstone"},
    ],
)
def test_pairs_alone_recover_an_order(loss: dict[str, object]) -> None:
    groups = choices(range(400), noise=0.1)
    data = make_data({"choices": Labelled(samples(), {}, groups)})
    assert data.task_names == ("preference",)
    fitted = learn(data, range(400), **loss)
    right = held_out(fitted)
    # The control: of each pair, a coin decides who won.
    coin = np.random.default_rng(1).random(len(groups)) < 0.5
    shuffled = [
        replace(g, ranks=g.ranks[::-1]) if flip else g for g, flip in zip(groups, coin, strict=True)
    ]
    control = held_out(learn(replace(data, groups=tuple(shuffled)), range(400), **loss))
    assert right > 0.85, right
    assert right > control + 0.2, (right, control)


def test_pairs_and_ratings_together_beat_either() -> None:
    """Ratings of some images, choices between others, both by people who err: each adds to the other."""
    rated, compared = range(160), range(160, 480)
    scales = {"perception": (0.0, 5.0)}
    accuracy: dict[str, list[float]] = {"both": [], "ratings": [], "pairs": []}
    for seed in (0, 1):
        errors = np.random.default_rng(seed + 2).normal(0, 1.5, COUNT)
        given = np.clip(2.5 + (QUALITY + errors) / 2, 0, 5)
        labels = [{"perception": float(given[i])} if i in rated else {} for i in range(COUNT)]
        groups = choices(compared, noise=1.5, seed=seed + 3)
        both = make_data({"both": Labelled(samples(labels), scales, groups)})
        assert both.task_names == ("perception",)  # choices teach the score that is rated
        no_ratings = torch.full_like(both.labels, float("nan"))
        for name, data, rows in (
            ("both", both, range(480)),
            ("ratings", replace(both, groups=()), rated),
            ("pairs", replace(both, labels=no_ratings), compared),
        ):
            accuracy[name].append(held_out(learn(data, rows, epochs=8)))
    mean = {name: float(np.mean(values)) for name, values in accuracy.items()}
    assert mean["both"] > max(mean["ratings"], mean["pairs"]), mean


def test_an_order_keeps_groups_together_and_takes_every_row() -> None:
    groups = [PreferenceGroup((0, 1), (1, 2)), PreferenceGroup((2, 3, 4), (1, 2, 3))]
    order = data_order(0, 3, range(8), groups)
    assert sorted(order) == list(range(8))
    for group in groups:
        places = [order.index(row) for row in group.rows]
        assert places == list(range(places[0], places[0] + len(places)))
    assert data_order(0, 4, range(8), groups) != order


def test_the_loss_of_a_batch_is_that_of_its_pairs() -> None:
    """Of a group that the batch cuts, the pairs inside count; databases by their weights; ties too."""
    groups = (
        PreferenceGroup((0, 1, 2), (1, 2, 2), "perception"),
        PreferenceGroup((3, 4), (2, 1), "preference"),
    )
    scales = {"perception": (0.0, 5.0), "alignment": (0.0, 5.0)}
    rated = [Sample(f"{i}", "a", "table", i, dict.fromkeys(scales, 1.0)) for i in range(3)]
    data = make_data({
        "first": Labelled(rated, scales, groups[:1]),
        "second": Labelled(rated[:2], scales, [PreferenceGroup((0, 1), (2, 1))]),
    })  # fmt: skip
    assert data.groups == groups
    config = TrainingConfig(database_weights=(1.0, 3.0))
    scores = {"perception": torch.tensor([0.9, 0.5, 0.4, 0.3]),
              "alignment": torch.tensor([0.1, 0.2, 0.3, 0.9])}  # fmt: skip
    rows = [3, 1, 2, 4]  # row 0 is not there: of the first group only its tie is left
    loss = Preferences(data, config).loss(scores, rows)
    mean = (scores["perception"] + scores["alignment"]) / 2
    tie = bradley_terry_loss(
        scores["perception"][1:2], scores["perception"][2:3], torch.tensor([0.5])
    )
    lost = bradley_terry_loss(mean[0:1], mean[3:4], torch.tensor([0.0]))
    assert float(loss) == pytest.approx(float((1 * tie + 3 * lost) / 4), rel=1e-5)
    assert float(Preferences(data, config).loss(scores, [0, 3, 5, 6])) == 0


def test_validation_is_by_pairs_where_there_are_pairs() -> None:
    data = make_data({"choices": Labelled(samples(), {}, choices(range(8), noise=0.0))})
    right = torch.from_numpy(QUALITY[:8]).float()
    found = agreement({"preference": right}, data, range(8))
    assert (found["preference_accuracy"], found["validation"]) == (1.0, 1.0)
    assert agreement({"preference": -right}, data, range(8))["validation"] == -1.0
    assert agreement({"preference": right * 0}, data, range(8))["validation"] == 0.0


def test_what_is_compared_makes_the_scores() -> None:
    group = [PreferenceGroup((0, 1), (1, 2), "alignment")]
    data = make_data({"choices": Labelled(samples(), {}, group)})
    assert data.task_names == ("alignment",)
    assert len(data) == 2
    assert data.without([1]).groups == ()
    assert data.without([1]).counting([0, 1]) == []
    with pytest.raises(TrainingError, match="no labelled row"):
        make_data({"choices": Labelled(samples(), {})})
