"""What a user hears when Ray, its slots or the port are not there; no cluster is started."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scale_made import make_pictures

from diffagiqa.cli.main import run as command
from diffagiqa.errors import ConfigError
from diffagiqa.jobs.ray_cluster import check_port, join_cluster, lacking
from diffagiqa.serving.ray_service import APP, MODEL, _end_serve, model_runs

ray = pytest.importorskip("ray")
serve = pytest.importorskip("ray.serve")


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of two cores that never starts a service."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(serve, "shutdown", lambda: None)
    monkeypatch.setattr(serve, "delete", lambda name: None)
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications={}))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("ray::Proxy.ready()\n  File x\nOSError: no\x1b[0m port\n")

    monkeypatch.setattr(serve, "start", fail)


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("verb", ["score", "serve"])
def test_no_cluster_at_an_address(
    verb: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--ray-address", "auto", "--model", str(tiny_model), "--device", "cpu"]
    if verb == "score":
        pictures = make_pictures(tmp_path / "in", 1)
        where += [str(pictures), "--engine", "ray", "--out", str(tmp_path / "out")]
    assert command([verb, *where]) == 2
    assert capsys.readouterr().err.strip() == (
        "error: no Ray cluster answers at 'auto' (Could not find any running Ray instance.); give the "
        "address of a cluster that runs, or none to start one on this machine"
    )


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "[::1]:{}"])
def test_a_dead_address_is_said_at_once(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would try for minutes"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(free.getsockname()[1])
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at .*; give the address"):
        join_cluster(address)
    with pytest.raises(ConfigError, match="no Ray cluster answers at"):
        join_cluster("127.0.0.1:99999")


def test_no_address_starts_a_cluster_even_beside_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would join what `ray start` left on this machine, and its Serve would be ended."""
    joined: list[str] = []
    monkeypatch.setattr(ray, "init", lambda address, **_: joined.append(address))
    join_cluster(None)
    join_cluster("auto")
    assert joined == ["local", "auto"]


@pytest.mark.parametrize(("alone", "others", "ended"), [
    (True, {}, ["all"]), (False, {}, ["diffagiqa", "all"]), (False, {"theirs": 1}, ["diffagiqa"]),
])  # fmt: skip
def test_the_end_of_a_service_ends_no_other_on_the_cluster(
    alone: bool, others: dict[str, int], ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(serve, "delete", found.append)
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications=others))
    monkeypatch.setattr(serve, "shutdown", lambda: found.append("all"))
    _end_serve(alone)
    assert found == ended


def test_a_busy_model_is_a_ready_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health is Serve's to say: a call would wait behind the pictures of all other requests."""
    state = pytest.importorskip("ray.serve._private.common").ReplicaState
    states = {state.RUNNING: 1}
    model = SimpleNamespace(replica_states=states)
    whole = SimpleNamespace(applications={APP: SimpleNamespace(deployments={MODEL: model})})
    monkeypatch.setattr(serve, "status", lambda: whole)
    assert model_runs()
    states |= {state.RUNNING: 0, state.STARTING: 1}
    assert not model_runs()


def test_a_port_in_use(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert command(["serve", "--port", str(port), "--model", str(tiny_model)]) == 2
    assert f"error: 127.0.0.1:{port} cannot be listened on (Address already in use); give" in (
        capsys.readouterr().err
    )
    check_port("127.0.0.1", port)
    with pytest.raises(ConfigError, match="give another --port or --host"):
        check_port("192.0.2.77", 8000)


@pytest.mark.usefixtures("two_cores")
def test_fewer_slots_than_replicas_want(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", "--model", str(tiny_model), "--port", "18765", "--gpus", "1"]
    assert command(arguments) == 2
    said = "wants 1 x 1 GPU slots, and this machine has 0; lower --gpus or --replicas"
    assert said in capsys.readouterr().err
    with pytest.warns(UserWarning, match="the cluster has 0; .*, or wait for more machines"):
        command([*arguments, "--ray-address", "auto"])
    assert lacking({"CPU": 2.0}, 3, 1, 0, "x") is not None
    assert lacking({"CPU": 2.0, "GPU": 1.0}, 2, 1, 0.5, "x") is None


@pytest.mark.usefixtures("two_cores")
def test_a_signal_while_the_service_starts_ends_it_in_order(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def abort(*_: Any) -> None:
        pytest.fail("Ray's own handler would abort the process")

    monkeypatch.setattr(ray, "init", lambda *_, **__: signal.signal(signal.SIGTERM, abort))
    monkeypatch.setattr(serve, "start", lambda **_: os.kill(os.getpid(), signal.SIGTERM))
    left = SimpleNamespace(remote=lambda: SimpleNamespace(result=lambda timeout_s: 0))
    monkeypatch.setattr(serve, "run", lambda *_, **__: SimpleNamespace(drain=left))
    assert command(["serve", "--model", str(tiny_model), "--port", "18767", "--replicas", "1"]) == 0
    assert "ready" not in capsys.readouterr().err


@pytest.mark.usefixtures("two_cores")
def test_a_service_that_does_not_start_is_one_sentence(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["serve", "--model", str(tiny_model), "--port", "18766", "--replicas", "1"]) == 2
    said = capsys.readouterr().err
    assert "the service did not start (OSError: no\\x1b[0m port); see ray's logs" in said
    assert "File x" not in said
