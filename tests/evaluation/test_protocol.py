"""The protocol: what is measured, what is left out, what comes of repeats, and the tables."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffagiqa import evaluation
from diffagiqa.data.splits import random_split
from diffagiqa.errors import DatabaseError
from diffagiqa.evaluation.baselines_generator import generator_means
from diffagiqa.evaluation.correlations import by_group, krcc, mae, mean_within, plcc, rmse, srcc
from diffagiqa.evaluation.protocol import (
    METRICS,
    Evaluation,
    Figure,
    Summary,
    evaluate_predictions,
    spread,
    summarise_repeats,
)
from diffagiqa.evaluation.published import published
from diffagiqa.evaluation.tables import (
    figure_texts,
    generator_table,
    intervals_table,
    intervals_text,
    markdown,
    published_table,
    results_table,
)


@pytest.fixture
def frame() -> pd.DataFrame:
    """40 prompts by 3 generators; generators differ by one point, predictions are off by 0.4."""
    random = np.random.default_rng(0)
    prompts, generators = np.repeat(np.arange(40), 3), np.tile(["a", "b", "c"], 40)
    mos = np.tile([1.0, 2.0, 3.0], 40) + 0.5 * random.normal(size=120)
    return pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(120)],
            "prompt": [f"prompt {number}" for number in prompts],
            "generator": generators,
            "perception": mos,
            "perception_predicted": mos + 0.4 * random.normal(size=120),
            "alignment": np.where(generators == "a", np.nan, 5 - mos),
            "alignment_predicted": 5 - mos + 0.2 * random.normal(size=120),
        }
    )


def test_figures_are_those_of_the_correlations(frame: pd.DataFrame) -> None:
    found = evaluate_predictions(frame, ["perception"], resamples=100).tasks["perception"]
    x, y = frame["perception_predicted"], frame["perception"]
    for metric, measure in {
        "srcc": srcc,
        "plcc": plcc,
        "krcc": krcc,
        "rmse": rmse,
        "mae": mae,
    }.items():
        figure = found.figures[metric]
        assert figure.value == pytest.approx(measure(x, y))
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < measure(x, y) < figure.high
    assert tuple(found.figures) == METRICS
    assert found.figures["plcc_logistic4"].value >= found.figures["plcc"].value - 1e-3  # type: ignore[operator]
    assert found.within["srcc"] == pytest.approx(
        mean_within(by_group(srcc, x, y, frame["generator"]))
    )
    own = frame["generator"] == "b"
    assert found.generators["b"]["plcc"] == pytest.approx(plcc(x[own], y[own]))
    assert found.generators["b"]["rows"] == 40
    assert found.within["srcc"] < found.figures["srcc"].value  # type: ignore[operator]


def test_rows_without_a_score_or_prediction_are_counted(frame: pd.DataFrame) -> None:
    frame.loc[5, "alignment_predicted"] = np.nan  # generator c: labelled
    frame.loc[0, "alignment_predicted"] = np.nan  # generator a: not labelled either
    found = evaluate_predictions(frame, ["alignment"], resamples=20).tasks["alignment"]
    assert (found.rows, found.unlabelled, found.unscored) == (79, 40, 1)
    assert set(found.generators) == {"b", "c"}


def test_what_has_no_value_is_none_with_a_reason(frame: pd.DataFrame) -> None:
    frame["perception_predicted"] = 1.0
    found = evaluate_predictions(frame, ["perception"], resamples=10).tasks["perception"]
    assert found.figures["srcc"] == Figure(None, None, None)
    assert found.figures["rmse"].value is not None
    assert (
        found.reasons["srcc"]
        == found.reasons["plcc_logistic4"]
        == ("all 120 predicted scores are equal")
    )
    assert figure_texts(found)[-1] == "no correlation: all 120 predicted scores are equal"
    assert found.within == {"srcc": None, "plcc": None, "krcc": None}
    none = evaluate_predictions(frame[:0], ["perception"]).tasks["perception"]
    assert none.rows == 0
    assert none.figures["mae"].value is None


def test_intervals_resample_the_prompts_that_splits_keep_together(frame: pd.DataFrame) -> None:
    """Spelt in three ways, a prompt is still one; without one, a row is by itself."""
    whole = evaluate_predictions(frame, ["perception"], resamples=20)
    spelt = frame["prompt"] + np.tile(["", ".", " "], 40)
    spelt[::3] = spelt[::3].str.upper()
    assert evaluate_predictions(frame.assign(prompt=spelt), ["perception"], resamples=20) == whole
    numbered = frame.assign(group=np.repeat(np.arange(40), 3))  # 0 is a group like the others
    found = evaluate_predictions(numbered, ["perception"], resamples=20)
    assert found.tasks == whole.tasks
    for nothing in ("", np.nan, None):
        alone = frame.assign(prompt=frame["prompt"].where(frame.index > 2, nothing))
        found = evaluate_predictions(alone, ["perception"], resamples=20).tasks["perception"]
        assert found.groups == 39 + 3
        assert found.figures["srcc"].low is not None


def test_intervals_are_left_out_on_demand_and_seeded(frame: pd.DataFrame) -> None:
    bare = evaluate_predictions(frame, ["perception"], resamples=0).tasks["perception"]
    assert bare.figures["srcc"].low is None
    first, again, other = (
        evaluate_predictions(frame, ["perception"], resamples=50, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.tasks["perception"].figures["srcc"] != other.tasks["perception"].figures["srcc"]
    assert first.settings == {"resamples": 50, "level": 0.95, "seed": 0, "by": "prompt"}
    rows = evaluate_predictions(
        frame.drop(columns=["prompt", "generator"]), ["perception"], resamples=10
    )
    assert rows.settings["by"] == "row"
    assert rows.tasks["perception"].generators == {}


def test_groups_go_before_prompts(frame: pd.DataFrame) -> None:
    grouped = frame.assign(group=[f"group {row % 15}" for row in range(len(frame))])
    found = evaluate_predictions(grouped, ["perception"], resamples=10)
    assert (found.settings["by"], found.tasks["perception"].groups) == ("group", 15)


def test_few_prompts_have_no_interval_and_say_so(frame: pd.DataFrame) -> None:
    few = evaluate_predictions(frame[:27], ["perception"])  # 9 prompts
    found = few.tasks["perception"]
    assert (found.figures["srcc"].low, found.groups) == (None, 9)
    assert intervals_text(found) == "9 prompts: no interval"
    assert "| x | 9 prompts: no interval |" in intervals_table({"x": [few]}, "perception")
    assert "[" not in " ".join(figure_texts(found))
    enough = evaluate_predictions(frame[:30], ["perception"], resamples=20).tasks["perception"]
    assert enough.figures["srcc"].low is not None
    assert intervals_text(enough) == "95 % intervals over 10 prompts"
    single = evaluate_predictions(frame[:3], ["perception"]).tasks["perception"]
    assert intervals_text(single) == "1 prompt: no interval"


def test_rows_are_resampled_where_no_prompt_is_known(frame: pd.DataFrame) -> None:
    found = evaluate_predictions(frame.assign(prompt=""), ["perception"], resamples=20)
    assert found.settings["by"] == "row"
    assert intervals_text(found.tasks["perception"], "row") == "95 % intervals over 120 rows"


def test_rows_without_a_prompt_are_resampled_apart(frame: pd.DataFrame) -> None:
    some = frame.assign(prompt=[f"p{i}" if i < 20 else "" for i in range(len(frame))])
    found = evaluate_predictions(some, ["perception"], resamples=20).tasks["perception"]
    alone = evaluate_predictions(frame.assign(prompt=""), ["perception"], resamples=20)
    assert found.groups == 120
    assert found.figures == alone.tasks["perception"].figures


def test_missing_columns_are_named(frame: pd.DataFrame) -> None:
    with pytest.raises(DatabaseError, match="lack authenticity, authenticity_predicted"):
        evaluate_predictions(frame, ["authenticity"])


def test_as_json_and_back(frame: pd.DataFrame) -> None:
    frame.loc[frame["generator"] == "a", "perception_predicted"] = 1.0  # a figure without a value
    found = evaluate_predictions(frame, ["perception", "alignment"], resamples=20)
    text = json.dumps(found.as_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == found


def test_repeats_come_to_median_mean_and_deviation(frame: pd.DataFrame) -> None:
    runs = [
        evaluate_predictions(frame[start : start + 60], ["perception"], resamples=0)
        for start in (0, 30, 60)
    ]
    summary = summarise_repeats(runs)
    values = tuple(run.tasks["perception"].figures["srcc"].value for run in runs)
    assert summary.tasks["perception"]["srcc"].values == values
    within = tuple(run.tasks["perception"].within["srcc"] for run in runs)
    assert summary.tasks["perception"]["within_srcc"].values == within
    assert summary.repeats == 3
    three = spread([0.9, None, 0.1, 0.2])
    assert (three.median, three.mean) == (0.2, pytest.approx(0.4))
    assert three.std == pytest.approx(math.sqrt(0.19))  # (0.25 + 0.09 + 0.04) / 2
    assert spread([None, math.nan]).median is None
    assert spread([0.5]).std is None
    assert summarise_repeats([]).tasks == {}


def test_generator_means_know_nothing_of_the_image(frame: pd.DataFrame) -> None:
    train, test = np.arange(60), np.arange(60, 120)
    guess = generator_means(frame, train, test, "perception")
    means = frame[:60].groupby("generator")["perception"].mean()
    assert guess == pytest.approx(frame["generator"][60:].map(means).to_numpy())
    assert srcc(guess, frame["perception"][60:]) > 0.7
    assert math.isnan(
        mean_within(by_group(srcc, guess, frame["perception"][60:], frame["generator"][60:]))
    )


def test_generator_means_of_what_training_has_not_seen(frame: pd.DataFrame) -> None:
    guess = generator_means(frame, np.arange(60), [0, 1], "alignment")
    assert guess[0] == pytest.approx(frame["alignment"][:60].mean())  # generator a has no labels
    with pytest.raises(DatabaseError, match="no training row has a score of alignment"):
        generator_means(frame, [0, 3], [1], "alignment")


def test_generator_means_over_prompt_disjoint_repeats(frame: pd.DataFrame) -> None:
    runs = []
    for split in (random_split(frame, seed=seed) for seed in range(3)):
        rows = split.rows(frame["image"])
        guess = generator_means(frame, rows["train"], rows["test"], "perception")
        part = frame.iloc[rows["test"]].assign(perception_predicted=guess)
        runs.append(evaluate_predictions(part, ["perception"], resamples=0))
    median = summarise_repeats(runs).tasks["perception"]["srcc"].median
    assert median is not None
    assert median > 0.6


def test_results_table(frame: pd.DataFrame) -> None:
    one = evaluate_predictions(frame, ["perception"], resamples=0)
    both = summarise_repeats([one, one])
    table = results_table({"repeats": both, "full method": None}, "perception")
    header, _, summary, missing = table.splitlines()
    assert header.startswith("| method | SRCC | PLCC | PLCC, 4-parameter logistic | KRCC | RMSE |")
    figure = one.tasks["perception"].figures["srcc"]
    assert f"| {figure.value:.3f} ({figure.value:.3f} ± 0.000, n = 2)" in summary
    assert missing == "| full method |" + " not run |" * 6
    assert results_table({"x": both}, "alignment").endswith("| x |" + " not run |" * 6)


def test_repeats_are_printed_with_median_mean_and_deviation() -> None:
    runs = Summary(3, {"perception": {"srcc": spread([0.1, 0.2, 0.9])}})
    table = results_table({"runs": runs}, "perception")
    assert "| runs | 0.200 (0.400 ± 0.436, n = 3) |" in table


def test_bounds_are_averaged_over_repeats(frame: pd.DataFrame) -> None:
    once = evaluate_predictions(frame, ["perception"], resamples=10)
    repeats = []
    for low, high in ((0.1, 0.5), (0.3, 0.9)):
        figures = {metric: Figure(0.4, low, high) for metric in ("srcc", "plcc", "krcc")}
        task = replace(once.tasks["perception"], figures=figures)
        repeats.append(replace(once, tasks={"perception": task}))
    table = intervals_table({"x": repeats}, "perception")
    assert table.startswith("| method, 95 % interval | SRCC | PLCC | KRCC |")
    assert table.endswith("| x | 0.200 to 0.700 | 0.200 to 0.700 | 0.200 to 0.700 |")


def test_no_value_is_printed_as_such(frame: pd.DataFrame) -> None:
    frame["perception_predicted"] = 1.0
    found = evaluate_predictions(frame, ["perception"], resamples=0)
    assert "| no value |" in results_table({"flat": summarise_repeats([found])}, "perception")
    single = summarise_repeats([evaluate_predictions(frame, ["perception"], resamples=0)])
    assert "(n = 1)" in results_table({"one": single}, "perception")
    assert "no value" in generator_table(found, "perception")


def test_generator_table(frame: pd.DataFrame) -> None:
    found = evaluate_predictions(frame, ["perception"], resamples=0)
    lines = generator_table(found, "perception").splitlines()
    assert lines[0] == "| generator | rows | SRCC | PLCC | KRCC | RMSE |"
    assert lines[2].startswith("| a | 40 | 0.")


def test_published_figures_have_a_source_and_a_range() -> None:
    counts: Counter[str] = Counter()
    for database, task in itertools.product(
        ("agiqa-3k", "aigciqa2023", "aigiqa-20k", "evalmi-50k", "hpdv2"),
        ("perception", "alignment", "authenticity", "preference"),
    ):
        for row in published(database, task):
            assert row.source
            assert row.protocol
            assert row.figures
            assert all(0 < value < 1 for value in row.figures.values())
            counts[database] += 1
    file = Path(evaluation.__file__).with_name("published.csv")
    assert counts.total() == len(file.read_text().splitlines()) - 1  # none is misnamed
    assert published("agiqa-1k", "perception") == []


def test_published_table() -> None:
    table = published_table("agiqa-3k", "alignment")
    assert table.startswith("| method | SRCC | PLCC | protocol | comparable with ours by prompt |")
    assert "| StairReward | 0.7472 | 0.8529 | quoted or run again by that paper" in table
    assert "| LMM4LMM | 0.83 | not available | not known | no | noted in 2026" in table
    near = [row.split(" | ")[0] for row in table.splitlines() if " | yes, nearly | " in row]
    assert near == ["| IPCE", "| ACL-IQA"]
    results = published("agiqa-3k", "perception")
    own = next(row for row in results if row.method == "MA-AGIQA, its own figure")
    assert own.figures["srcc"] == 0.8939
    assert "597 of 597 test prompts in training" in own.protocol
    assert "| HPS v2.1 | 0.841 | official test set |" in published_table("hpdv2", "preference")
    assert published_table("agiqa-1k", "perception") == ""


def test_cells_cannot_break_a_table() -> None:
    assert markdown(["a"], [["x|y\nz"]]).splitlines()[-1] == "| x\\|y z |"
