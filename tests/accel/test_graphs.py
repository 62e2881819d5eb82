"""Captured passes, with a stand-in for CUDA graphs that computes a pass again, in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from diffagiqa.accel import graphs as replay
from diffagiqa.accel.graphs import MAX_GRAPHS, CudaGraphs
from diffagiqa.backbones.base import Prompts
from diffagiqa.model.scoring import ModelOutput


class Device:
    """What a capture needs of CUDA; ``fault``: what a capture fails with."""

    def __init__(self) -> None:
        self.passes = 0
        self.last: Any = None
        self.stream = "default"
        self.fault: Exception | None = None

    def judge(self, images: torch.Tensor, prompts: Prompts) -> ModelOutput:
        self.passes += 1
        brightness = images.mean((1, 2, 3)) + prompts.text.mean((1, 2)) + prompts.words.sum(1)
        found = ModelOutput({"perception": brightness}, 2 * brightness)
        self.last = (images, prompts, found)
        return found

    def graph(self) -> Any:
        device = self

        class Graph:
            def replay(self) -> None:
                images, prompts, found = self.captured
                again = device.judge(images, prompts)
                found.scores["perception"].copy_(again.scores["perception"])
                found.distance.copy_(again.distance)

        return Graph()

    @contextmanager
    def capture(self, graph: Any, pool: object, **options: object) -> Iterator[None]:
        self.stream = "capture"
        yield
        if self.fault is not None:
            raise self.fault
        graph.captured = self.last
        self.stream = "default"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", found.graph)
    monkeypatch.setattr(torch.cuda, "graph", found.capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: found.stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(found, "stream", stream))
    return found


def given(number: int, length: int = 3) -> tuple[torch.Tensor, Prompts]:
    text = torch.full((1, length, 2), float(number))
    return torch.full((1, 3, 4, 4), number / 7), Prompts(text, torch.ones(1, length).bool())


def wanted(number: int, length: int = 3) -> float:
    return number / 7 + number + length


def test_each_picture_has_its_own_score_whoever_asks(device: Device) -> None:
    graphs = CudaGraphs(device.judge)
    modes = [torch.inference_mode, torch.no_grad, torch.inference_mode, torch.no_grad]
    found = []
    for number in range(8):
        with modes[number % 4]():
            found.append(graphs(*given(number)))
    values = [float(one.scores["perception"]) for one in found]
    assert values == pytest.approx([wanted(number) for number in range(8)])
    assert [float(one.distance) for one in found] == pytest.approx([2 * v for v in values])  # type: ignore[arg-type]
    assert [one is not None for one in graphs._captured.values()] == [True]
    with torch.no_grad():
        score = graphs(*given(3)).scores["perception"]
    (score * torch.ones(1, requires_grad=True)).sum().backward()  # no inference tensor comes out


def test_what_cannot_be_captured_is_called_as_before(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.fault = RuntimeError("operation not permitted when stream is capturing")
    graphs = CudaGraphs(device.judge)
    with torch.inference_mode(), caplog.at_level("INFO", replay.__name__):
        found = [float(graphs(*given(n)).scores["perception"]) for n in range(5)]
    assert found == pytest.approx([wanted(n) for n in range(5)])
    assert device.stream == "default"
    assert device.passes == 6  # one more for the capture that failed
    assert "cannot be captured: operation not permitted" in caplog.text
    assert len(caplog.records) == 1


def test_so_many_shapes_are_kept(device: Device) -> None:
    graphs = CudaGraphs(device.judge)
    with torch.inference_mode():
        for length in range(1, MAX_GRAPHS + 4):
            for number in range(3):
                score = graphs(*given(number, length)).scores["perception"]
                assert float(score) == pytest.approx(wanted(number, length))
        assert len(graphs._captured) == MAX_GRAPHS
        graphs.clear()
        assert not graphs._captured
        assert float(graphs(*given(2, 5)).scores["perception"]) == pytest.approx(wanted(2, 5))
