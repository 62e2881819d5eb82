"""Training learns what can be learnt, changes what it should, and masks what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROUNDING
from made_up import SCALES, made_up_rows, make_pictures, small_config, thirds
from PIL import Image
from scipy import stats

from diffagiqa import Scorer
from diffagiqa.backbones.base import Backbone
from diffagiqa.data.samples import Sample
from diffagiqa.errors import TrainingError
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import data_order, make_data, may_flip
from diffagiqa.training.determinism import Step
from diffagiqa.training.inputs import FeatureInputs, ImageInputs, Outputs
from diffagiqa.training.measures import predictions
from diffagiqa.training.train import initial_model, make_model, train, train_heads
from diffagiqa.training.validation import agreement, predict

QUIET = lambda text: None  # noqa: E731


def test_a_step_changes_prompters_and_heads_and_no_frozen_weight(
    tmp_path: Path, backbone: Backbone
) -> None:
    rows = made_up_rows(tmp_path, 6)
    config = small_config(epochs=3, ema=0.0)
    split = {"train": list(range(6)), "validation": []}
    start = initial_model(replace(config.model, tasks=rows.tasks), config.seed)
    before = start.state_dict()
    fixed = {name for name, value in start.named_parameters() if not value.requires_grad}
    frozen = {name: value.clone() for name, value in backbone.state_dict().items()}
    after = train(config, rows, split, backbone=backbone, log=QUIET).model.state_dict()
    same = [name for name in before if torch.equal(before[name], after[name])]
    # A key's bias shifts a query's products with all positions alike: softmax gives it no gradient.
    assert [name for name in same if not name.endswith("key.bias")] == sorted(fixed, key=same.index)
    assert all(name.endswith(".0.bias") for name in fixed)  # those before a BatchNorm
    assert all(p.grad is None for p in backbone.parameters())
    assert all(torch.equal(frozen[name], value) for name, value in backbone.state_dict().items())


def test_frozen_prompters_stay(tmp_path: Path, backbone: Backbone) -> None:
    """Starting from a trained model, --freeze-prompters keeps its prompters and trains the rest."""
    rows = made_up_rows(tmp_path / "pictures", 8)
    split = {"train": list(range(8)), "validation": []}
    start = train(
        small_config(epochs=1), rows, split, tmp_path / "first", backbone=backbone, log=QUIET
    )
    config = small_config(freeze_prompters=True, init=str(tmp_path / "first" / "best"))
    model = train(config, rows, split, tmp_path / "second", backbone=backbone, log=QUIET).model
    old, new = start.model.state_dict(), model.state_dict()
    for name in old:
        if not name.endswith(("key.bias", ".0.bias")):  # no gradient
            assert torch.equal(old[name], new[name]) == name.startswith("prompters"), name


def test_learns_held_out_pictures(tmp_path: Path, backbone: Backbone) -> None:
    """SRCC on pictures never trained on: trained well above untrained and above shuffled labels."""
    rows = made_up_rows(tmp_path / "pictures", 150)
    split = thirds(150)
    config = small_config(
        epochs=25, batch_size=20, freeze_prompters=True, flip=False, lr_heads=1e-2
    )
    cache = tmp_path / "features"
    trained = train(
        config, rows, split, tmp_path / "run", cache=cache, backbone=backbone, log=QUIET
    )
    shuffled = rows.labels.clone()
    order = data_order(1, 0, split["train"])
    shuffled[split["train"]] = rows.labels[order]
    # The control is stopped by the true validation labels too, which can only help it.
    control = train(
        config, replace(rows, labels=shuffled), split, tmp_path / "control", cache=cache,
        backbone=backbone, log=QUIET,
    )  # fmt: skip
    scorer = Scorer.from_pretrained(tmp_path / "run" / "best", device="cpu", dtype="float32")
    untrained = Scorer.untrained(
        config.model.backbone, scorer.config, device="cpu", dtype="float32"
    )
    held_out = [rows.samples[row] for row in split["validation"]]
    pairs = [(sample.image, sample.prompt) for sample in held_out]
    for task in ("perception", "alignment"):
        labels = [sample.labels[task] for sample in held_out]

        def srcc(by: Scorer, task: str = task, labels: list[float] = labels) -> float:
            scores = [score[task] for score in by.score_many(pairs)]  # type: ignore[index]
            return float(stats.spearmanr(scores, labels).statistic)

        found = srcc(scorer)
        assert found > 0.5, (task, found)
        assert found > srcc(untrained) + 0.3
        best_control = max(row[f"{task}_srcc"] for row in control.history)
        assert found > best_control + 0.2, (task, found, best_control)
        # The user's scorer gives what the loop measured, up to the cache's float16.
        loop = trained.history[trained.best_epoch][f"{task}_srcc"]
        assert found == pytest.approx(loop, abs=0.01)


def test_full_regime_learns(tmp_path: Path, backbone: Backbone) -> None:
    """The loss falls when gradients pass through the whole model."""
    rows = made_up_rows(tmp_path, 18)
    config = small_config(epochs=6, batch_size=6, lr_heads=1e-2, warmup=0.0, ema=0.0)
    history = train(config, rows, thirds(18), backbone=backbone, log=QUIET).history
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_mixed_databases_with_missing_labels(tmp_path: Path, backbone: Backbone) -> None:
    """One database without alignment, one on another scale: trained together, NaN nowhere."""
    first = make_pictures(tmp_path / "a", 12)
    second = [
        Sample(s.image, s.prompt, "table", s.row, {"perception": 20 * s.labels["perception"]})
        for s in make_pictures(tmp_path / "b", 12)
    ]
    rows = make_data({"a": (first, SCALES), "b": (second, {"perception": (0.0, 100.0)})})
    assert rows.labels[:12, 0].tolist() == pytest.approx(rows.labels[12:, 0].tolist())
    assert rows.labels[12:, 1].isnan().all()
    assert [(t.mos_min, t.mos_max) for t in rows.tasks] == [(0.0, 1.0), (1.0, 10.0)]
    fitted = train(small_config(), rows, thirds(24), backbone=backbone, log=QUIET)
    assert all(np.isfinite(value) for row in fitted.history for value in row.values())
    assert all(value.isfinite().all() for value in fitted.model.state_dict().values())


def test_labels_off_the_scale_are_refused() -> None:
    sample = Sample("x.png", "a cat", "table", 3, {"perception": 7.0})
    with pytest.raises(
        TrainingError, match=r"row 3 \(x.png\): perception is 7.0, and the scale is"
    ):
        make_data({"a": ([sample], SCALES)})
    samples = [replace(sample, labels={"perception": value}) for value in (-0.1, 5.1)]
    data = make_data({"a": (samples, SCALES)})
    assert data.labels[:, data.task_names.index("perception")].tolist() == [0, 1]
    with pytest.raises(TrainingError, match="no labelled row"):
        make_data({"a": ([Sample("x.png", "", "table", 0)], SCALES)})


def test_train_heads_on_arrays_learns_and_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    features = {"mid_block.attentions.0": torch.randn(90, 8, 4, 4, generator=generator)}
    labels = torch.sigmoid(features["mid_block.attentions.0"][:, 0].mean((1, 2)) * 4)[:, None]
    model = {"features": ("mid_block.attentions.0",), "feature_channels": (8,)}
    config = small_config(model, epochs=25, batch_size=10, lr_heads=5e-3)
    tasks = config.model.tasks[:1]
    split = thirds(90)
    first = train_heads(features, labels, split, config, tasks=tasks, log=QUIET)
    again = train_heads(features, labels, split, config, tasks=tasks, log=QUIET)
    assert first.best_validation > 0.7
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def arrays(**changes: object) -> tuple[dict[str, torch.Tensor], torch.Tensor, TrainingConfig]:
    """Features and labels of 60 rows, and how to learn from them."""
    generator = torch.Generator().manual_seed(0)
    features = {"mid_block.attentions.0": torch.randn(60, 8, 4, 4, generator=generator)}
    model = {"features": ("mid_block.attentions.0",), "feature_channels": (8,)}
    config = small_config(model, batch_size=10, **changes)  # type: ignore[arg-type]
    return features, torch.rand(60, 1, generator=generator), config


def test_the_first_of_the_best_epochs_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, config = arrays(epochs=4)
    found = iter([0.5, 0.9, 0.9, 0.1])
    seen: list[dict[str, torch.Tensor]] = []

    def record(model: DiffAGIQA, *_: object) -> dict[str, torch.Tensor]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {}

    monkeypatch.setattr("diffagiqa.training.loop.predict", record)
    monkeypatch.setattr("diffagiqa.training.loop.agreement", lambda *_: {"validation": next(found)})
    fitted = train_heads(
        features, labels, thirds(60), config, tasks=config.model.tasks[:1], log=QUIET
    )
    assert (fitted.best_epoch, fitted.best_validation) == (1, 0.9)
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, seen[1][name]), name
    assert any(not torch.equal(value, seen[3][name]) for name, value in seen[1].items())


@pytest.mark.parametrize("fault", ["two rows", "equal labels", "two databases of two"])
def test_a_validation_part_without_an_order_chooses_no_epoch(fault: str) -> None:
    """Every epoch has an SRCC of 0 there, which says nothing for the first."""
    features, labels, config = arrays(epochs=3, patience=1)
    split, sources = thirds(60), None
    split["validation"] = split["validation"][: 2 if fault == "two rows" else 4]
    if fault == "equal labels":
        labels[split["validation"]] = 0.5
    elif fault == "two databases of two":
        sources = (torch.arange(60) > split["validation"][1]).long()
    said: list[str] = []
    fitted = train_heads(
        features, labels, split, config, tasks=config.model.tasks[:1], sources=sources,
        log=said.append,
    )  # fmt: skip
    assert fitted.best_epoch == 2
    assert "have no order, so the last epoch counts" in said[0]


def test_an_epoch_takes_every_row_once_in_pieces_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels, config = arrays(epochs=1, accumulation=2)
    taken: list[int] = []
    numbers: list[int] = []
    outputs = FeatureInputs.outputs

    def record(
        self: FeatureInputs, model: DiffAGIQA, rows: Sequence[int], step: Step | None
    ) -> Outputs:
        if step is not None:
            taken.extend(rows)
            numbers.append(step.number)
        return outputs(self, model, rows, step)

    monkeypatch.setattr(FeatureInputs, "outputs", record)
    split = thirds(60)
    train_heads(features, labels, split, config, tasks=config.model.tasks[:1], log=QUIET)
    assert sorted(taken) == split["train"]
    assert numbers == list(range(8))  # four batches of ten in two pieces each


def test_pictures_are_mirrored_sideways_but_where_the_prompt_names_a_side(
    tmp_path: Path, backbone: Backbone
) -> None:
    rows = made_up_rows(tmp_path, 16)
    samples = [
        replace(sample, prompt="a fox" if i % 2 else "a fox on the left")
        for i, sample in enumerate(rows.samples)
    ]
    rows = replace(rows, samples=tuple(samples))
    seen: list[torch.Tensor] = []

    class Sees:
        passes = (None,)

        def stages(
            self, images: torch.Tensor, *_: object, **__: object
        ) -> Iterator[tuple[str, Any]]:
            seen.append(images)
            yield "features", {}

        def score_stages(self, features: dict[str, torch.Tensor]) -> dict[str, Any]:
            return {"scores": {}, "fused": {}}

    config = small_config().model
    source = ImageInputs(rows, config, backbone, "float32")
    source.scores(Sees(), range(16), Step(0, 0, 16, 0, 16))  # type: ignore[arg-type]
    mirrored = []
    for found, plain in zip(seen[0], source.images(range(16)), strict=True):
        mirrored.append(not torch.equal(found, plain))
        assert torch.equal(found, plain.flip(2) if mirrored[-1] else plain)
    assert not any(mirrored[::2])
    assert set(mirrored[1::2]) == {False, True}


def test_predictions_are_in_the_units_of_the_ratings(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 3)
    frame = predictions({"perception": [0.0, 0.5], "alignment": [0.5, 1.0]}, rows, [2, 0])
    assert frame["perception_predicted"].tolist() == [0, 2.5]  # of 0 to 5
    assert frame["alignment_predicted"].tolist() == [5.5, 10]  # of 1 to 10
    wanted = [rows.samples[row].labels["alignment"] for row in (2, 0)]
    assert frame["alignment"].tolist() == pytest.approx(wanted, abs=1e-5)


def test_validation_is_what_the_scorer_gives(tmp_path: Path, backbone: Backbone) -> None:
    """The loop's scores of pictures equal the Scorer's, batch by batch."""
    rows = made_up_rows(tmp_path, 5)
    model = make_model(small_config(), rows.tasks, backbone, QUIET).eval()
    source = ImageInputs(rows, model.config, backbone)
    found = predict(model, source, range(5), batch_size=2)
    scorer = Scorer(model, backbone)
    wanted = scorer([s.image for s in rows.samples], rows.prompts)
    for task in rows.task_names:
        assert found[task].tolist() == pytest.approx([s[task] for s in wanted], abs=ROUNDING)


def test_images_and_prompts_of_several_sizes_share_a_batch(
    tmp_path: Path, backbone: Backbone
) -> None:
    """Each is scored as it would be alone, and in its own place."""
    rows = made_up_rows(tmp_path, 6)
    for row in (1, 4):
        image = Image.open(rows.samples[row].image)
        image.crop((0, 0, 128, 64)).save(rows.samples[row].image)
    samples = tuple(
        replace(sample, prompt="word " * 100 if row in (4, 5) else "a cat")
        for row, sample in enumerate(rows.samples)
    )
    rows = replace(rows, samples=samples)
    config = small_config({"fit": "native", "long_prompts": "chunk"}, epochs=1)
    model = make_model(config, rows.tasks, backbone, QUIET).eval()
    source = ImageInputs(rows, model.config, backbone, "float32")
    with torch.no_grad():
        together = source.scores(model, range(6), None)
        alone = [source.scores(model, [row], None) for row in range(6)]
    for task in rows.task_names:
        torch.testing.assert_close(
            together[task], torch.cat([scores[task] for scores in alone]), rtol=0, atol=ROUNDING
        )
        assert together[task].unique().numel() == 6
    train(config, rows, thirds(6), backbone=backbone, log=QUIET)


def test_correlations_are_within_databases() -> None:
    samples = [Sample("x", "", "table", i, {"perception": v}) for i, v in enumerate([1, 2, 3])]
    scales = {"perception": (0.0, 5.0)}
    rows = make_data({"a": (samples, scales), "b": (samples, scales)})
    scores = {"perception": torch.tensor([0.1, 0.2, 0.3, 0.9, 0.7, 0.8])}
    found = agreement(scores, rows, range(6))
    second = stats.spearmanr([0.9, 0.7, 0.8], [1, 2, 3]).statistic
    assert found["validation"] == pytest.approx((1 + second) / 2)
    constant = {"perception": torch.full((6,), 0.5)}
    assert agreement(constant, rows, range(6))["validation"] == 0.0


def test_mirroring_spares_sides() -> None:
    assert may_flip("a bright fox")  # "right" inside a word is no side
    assert not may_flip("a fox, LEFT of a dog")


def test_early_stopping_and_best(tmp_path: Path, backbone: Backbone) -> None:
    """With a rate of zero nothing improves: the run stops after ``patience`` epochs."""
    rows = made_up_rows(tmp_path, 12)
    config = small_config(
        epochs=9, patience=2, lr_heads=0.0, lr_prompters=0.0, ema=0.0,
        model={"posterior": "mean"},
    )  # fmt: skip
    fitted = train(
        replace(config, freeze_prompters=True, flip=False), rows, thirds(12), tmp_path / "run",
        backbone=backbone, log=QUIET,
    )  # fmt: skip
    assert fitted.best_epoch + 3 == len(fitted.history) < 9
