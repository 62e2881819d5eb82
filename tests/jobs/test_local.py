"""Small networks on a CPU score several batches at once, and give what one after the other does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config
from scale_made import make_pictures

from diffagiqa import Scorer
from diffagiqa import rows as row_module
from diffagiqa.errors import ImageError
from diffagiqa.jobs.chunks import Layout
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.journal import Done
from diffagiqa.jobs.local import LocalEngine
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.rows import batches_at_once

LAYOUT = Layout(batch_size=2, chunk_rows=4, part_rows=4)
NOTHING = Done(LAYOUT, frozenset(), frozenset())


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    config = small_config(image_size=64, pyramid_size=4)
    scorer = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    scorer.batch_size = LAYOUT.batch_size
    return scorer


def rows(scorer: Scorer, folder: Path) -> list[dict[str, Any]]:
    engine = LocalEngine(scorer)
    found = engine.results(Inputs((str(folder),)), LAYOUT, NOTHING, StopRequest())
    return [row for chunk in found for row in chunk.rows or ()]


def test_rows_and_their_order_are_those_of_one_thread(scorer: Scorer, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path, 11)
    at_once = rows(scorer, folder)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert batches_at_once(scorer) == 1
    assert at_once == rows(scorer, folder)
    assert [row["row"] for row in at_once] == list(range(11))
    assert [row["row"] for row in at_once if row["error"]] == [5]


def test_two_batches_are_scored_at_once_on_a_thread_each(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=250)
    threads: list[int] = []

    def met(batch: Any) -> list[Any]:
        both.wait()
        threads.append(torch.get_num_threads())
        return [ImageError("not scored.")] * len(batch)

    monkeypatch.setattr(scorer, "score_prepared", met)
    assert {row["error"] for row in rows(scorer, make_pictures(tmp_path, 4))} == {"not scored."}
    assert threads == [1, 1]
    assert torch.get_num_threads() == 2


def test_a_large_network_has_all_threads(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batches_at_once(scorer) == 2
    monkeypatch.setattr(row_module, "SMALL", 1000)
    assert batches_at_once(scorer) == 1
    threads: list[int] = []
    launch = scorer.launch
    monkeypatch.setattr(
        scorer, "launch", lambda batch: threads.append(torch.get_num_threads()) or launch(batch)
    )
    assert len(rows(scorer, make_pictures(tmp_path, 3))) == 3
    assert threads == [2, 2]
