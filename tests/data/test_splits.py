"""Splits: no group on two sides, shares kept, the same again from the file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from diffagiqa.data.splits import (
    generator_family,
    group_keys,
    leave_out_split,
    official_split,
    prompt_key,
    random_split,
    split_facts,
    table_hash,
)
from diffagiqa.errors import DatabaseError


@pytest.fixture
def table() -> pd.DataFrame:
    """50 prompts of 3 to 5 images each, written in two ways."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(50):
        for copy in range(int(random.integers(3, 6))):
            prompt = f"A  Thing {number}." if copy % 2 else f"a thing {number}"
            rows.append([f"{number}-{copy}.png", prompt, f"g{copy}", f"s{number % 7}"])
    return pd.DataFrame(rows, columns=["image", "prompt", "generator", "subject"])


@pytest.mark.parametrize("by", ["prompt", "image", "subject"])
@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_two_sides(table: pd.DataFrame, by: str, seed: int) -> None:
    split = random_split(table, seed=seed, by=by, validation=0.1)
    rows = split.rows(table["image"])
    keys = np.array(group_keys(table, by))
    sides = [set(keys[part]) for part in rows.values()]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(table)))


def test_prompts_are_compared_as_readers_do(table: pd.DataFrame) -> None:
    assert prompt_key("A  Thing 1.") == prompt_key("a thing 1") == prompt_key(" a thing 1 ")
    assert prompt_key("\uff41 cat") == prompt_key("a cat")
    assert prompt_key("a cat") != prompt_key("a hat")
    assert prompt_key("?") == "?"
    split = random_split(table, seed=3)
    rows = split.rows(table["image"])
    train = {prompt_key(table["prompt"][row]) for row in rows["train"]}
    assert not train & {prompt_key(table["prompt"][row]) for row in rows["test"]}


def test_shares_are_kept_to_less_than_a_group(table: pd.DataFrame) -> None:
    for split in (random_split(table, seed=seed, validation=0.1) for seed in range(20)):
        assert 0 <= len(split.test) - 0.2 * len(table) < 5.5
        assert 0 <= len(split.validation) - 0.1 * len(table) < 5.5


def test_a_split_is_a_function_of_seed_and_content(table: pd.DataFrame) -> None:
    shuffled = table.sample(frac=1, random_state=1).reset_index(drop=True)
    assert random_split(table, seed=4) == random_split(shuffled, seed=4)
    assert random_split(table, seed=4) != random_split(table, seed=5)
    # The test part is the same with and without a validation part
    assert random_split(table, seed=4).test == random_split(table, seed=4, validation=0.1).test


def test_generators_can_be_held_out(table: pd.DataFrame) -> None:
    rows = random_split(table, by="generator").rows(table["image"])
    assert not set(table["generator"][rows["train"]]) & set(table["generator"][rows["test"]])


def test_group_column_goes_before_the_prompt(table: pd.DataFrame) -> None:
    grouped = table.assign(group="one")
    assert set(group_keys(grouped, "prompt")) == {"one"}
    with pytest.raises(DatabaseError, match="leave train empty"):
        random_split(grouped)


def test_the_hash_of_a_table_is_of_its_images_and_prompts(table: pd.DataFrame) -> None:
    assert table_hash(table) == table_hash(table.sample(frac=1, random_state=1))
    changed = table.assign(prompt=table["prompt"].replace("a thing 3", "a thing 4"))
    assert table_hash(changed) != table_hash(table)


@pytest.mark.parametrize(
    "shares", [{"test": 0.0}, {"test": 1.0}, {"validation": -0.1}, {"validation": 0.9}]
)
def test_shares_out_of_range(table: pd.DataFrame, shares: dict[str, float]) -> None:
    with pytest.raises(DatabaseError, match="expected test above 0"):
        random_split(table, **shares)


def test_too_few_rows(table: pd.DataFrame) -> None:
    with pytest.raises(DatabaseError, match="1 row in 1 group by image would leave test empty"):
        random_split(table[:1], by="image")


def test_unknown_column(table: pd.DataFrame) -> None:
    with pytest.raises(DatabaseError, match="no column 'style' to split by"):
        random_split(table, by="style")


def test_official_split(table: pd.DataFrame) -> None:
    parts = ["train"] * 100 + ["validation"] * 10 + ["test"] * (len(table) - 110)
    split = official_split(table.assign(part=parts))
    assert (split.kind, split.seed) == ("official", None)
    images = [*table["image"], "of another table.png"]
    assert split.rows(images)["test"] == list(range(110, len(table)))


def test_one_name_on_two_sides_is_refused(table: pd.DataFrame) -> None:
    twice = table.assign(image="same.png")
    with pytest.raises(DatabaseError, match=r"1 image names are in train and in test \(same.png\)"):
        random_split(twice)
    again = table.assign(image=[f"{row % (len(table) - 1)}.png" for row in range(len(table))])
    parts = ["validation"] * 9 + ["train"] * 90 + ["test"] * (len(table) - 99)
    with pytest.raises(DatabaseError, match=r"are in validation and in test \(0.png\)"):
        official_split(again.assign(part=parts))  # the first and the last one share a name


def test_images_without_a_prompt_are_apart(table: pd.DataFrame) -> None:
    bare = table.assign(image=[f"bare {name}" for name in table["image"]], prompt="")
    parts = random_split(pd.concat([table, bare], ignore_index=True), validation=0.1)
    for names, share in ((parts.train, 0.7), (parts.validation, 0.1), (parts.test, 0.2)):
        found = sum(name.startswith("bare") for name in names) / len(bare)
        assert found == pytest.approx(share, abs=0.1)


def generators_table() -> pd.DataFrame:
    """40 prompts by five generators of four families, and ten prompts that only one of them has."""
    rows = [
        (f"{generator}-{i}.png", f"prompt {i}", generator)
        for generator in ("sd_low", "sd_high", "flux", "glide", "attn")
        for i in range(40)
    ]
    rows += [(f"own-{i}.png", f"own {i}", "flux") for i in range(10)]
    return pd.DataFrame(rows, columns=["image", "prompt", "generator"])


def test_a_left_out_generator_and_its_test_prompts_are_new_to_training() -> None:
    table = generators_table()
    for seed in range(4):
        split = leave_out_split(table, test=0.25, seed=seed, validation=0.1)
        parts = split.rows(table["image"])
        family = ("attn", "flux", "glide", "sd")[seed]
        assert split.kind == f"leaving out {family}"
        facts = split_facts(
            split.kind, table["prompt"].tolist(), table["generator"].tolist(), parts
        )
        assert facts.seen == 0
        assert {generator_family(name) for name in facts.new_generators} == {family}
        tested = table.iloc[parts["test"]]
        assert set(tested["generator"].map(generator_family)) == {family}
        assert len(parts["validation"]) > 0
        assert (family == "flux") == tested["image"].str.startswith("own").any()
    assert leave_out_split(table, "SD", seed=0).kind == "leaving out sd"
    with pytest.raises(DatabaseError, match="'dalle' cannot be left out of attn, flux, glide, sd"):
        leave_out_split(table, "dalle")
    with pytest.raises(DatabaseError, match="name one of several"):
        leave_out_split(table[table["generator"] == "flux"], "flux")


def test_every_split_says_what_training_has_seen() -> None:
    table = generators_table()
    columns = table["prompt"].tolist(), table["generator"].tolist()
    by_prompt = random_split(table, seed=1)
    assert split_facts("prompt", *columns, by_prompt.rows(table["image"])).seen == 0
    by_image = random_split(table, seed=1, by="image").rows(table["image"])
    facts = split_facts("image", *columns, by_image)
    trained = set(table["prompt"].iloc[by_image["train"]])
    assert facts.seen == table["prompt"].iloc[by_image["test"]].isin(trained).sum()
    assert facts.sentence.startswith(
        f"split by image: the prompts of {facts.seen} of 42 test rows ("
    )
    text = split_facts("official", ["a", "A.", ""], ["x", "y", "y"], {"train": [0], "test": [1, 2]})
    assert text.sentence == (
        "split as published: the prompts of 1 of 2 test rows (50 %) are in training; new generators: y"
    )
