"""The engine of a cluster: the same chunks on Ray Data, one model per actor.

One read task walks the inputs and emits chunks; a pool of actors scores them; the driver keeps the
results in the journal. Ray runs again what a lost worker had in hand. Since a chunk's rows follow
from its position alone, results that come late, twice or out of order change nothing.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from diffagiqa.errors import ConfigError, DiffAGIQAError, WeightsError, need_extra
from diffagiqa.jobs.chunks import Layout
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.job import ChunkResult
from diffagiqa.jobs.journal import Done
from diffagiqa.jobs.model_spec import ModelFacts, ModelSpec, arithmetic
from diffagiqa.jobs.ray_cluster import cluster_address, join_cluster
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.rows import PendingRows, decode_sample


class RayEngine:
    """Scores on a Ray cluster: ``address`` joins one, None starts one on this machine.

    ``workers``: "4", or "1:16" to grow and shrink with the work; default: 1 to as many as the
    cluster has GPUs (or, without GPUs or with a CPU device, CPU slots).
    """

    def __init__(
        self, spec: ModelSpec, *, workers: str | None = None, address: str | None = None
    ) -> None:
        need_extra("ray", "ray")
        self.workers = _range(workers) if workers is not None else None
        self.spec = spec
        self.facts = spec.describe()
        self.address = address

    def results(
        self, inputs: Inputs, layout: Layout, done: Done, stop: StopRequest
    ) -> Iterator[ChunkResult]:
        """Results as they come in, in any order."""
        import ray.data

        started = not ray.is_initialized()
        if started:
            join_cluster(cluster_address(self.address))
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            stop.listen()  # Ray has put its own handlers in place
        try:
            for row in self._dataset(inputs, layout, done).iter_rows():
                stop.check()
                rows = row["rows"]
                yield ChunkResult(
                    int(row["chunk"]),
                    str(row["digest"]),
                    int(row["count"]),
                    json.loads(rows) if rows else None,
                    str(row["arithmetic"]),
                )
        except ray.exceptions.RayError as fault:
            raise _own_error(fault) or fault from None
        finally:
            if started:
                ray.shutdown()

    def _dataset(self, inputs: Inputs, layout: Layout, done: Done) -> Any:
        import ray.data

        from diffagiqa.jobs.ray_source import ChunkSource

        context = ray.data.DataContext.get_current()
        context.target_max_block_size = 1  # bytes: every chunk is a block, to go to any worker
        context.enable_progress_bars = False
        gpus = ray.cluster_resources().get("GPU", 0)
        use_gpu = bool(gpus) and not (self.spec.device or "cuda").startswith("cpu")
        slots = gpus if use_gpu else ray.cluster_resources().get("CPU", 1)
        least, most = self.workers or (1, max(1, int(slots)))
        resources = {"num_gpus": 1} if use_gpu else {"num_cpus": 1}
        source = ChunkSource(inputs, layout, done)
        # The read task asks for no CPU, or a full pool of actors would leave it no place to run.
        return ray.data.read_datasource(source, override_num_blocks=1, num_cpus=0).map_batches(
            ChunkScorer,
            fn_constructor_args=(self.spec, self.facts, inputs.fallback),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
            **resources,
        )


class ChunkScorer:
    """What runs on a worker: one model, one chunk after the other."""

    def __init__(self, spec: ModelSpec, facts: ModelFacts, fallback: str | None) -> None:
        self.scorer = spec.load()
        if self.scorer.fingerprint != facts.fingerprint:
            raise WeightsError(
                f"this worker has model {self.scorer.fingerprint} and the job {facts.fingerprint}; "
                "put the same files on every machine"
            )
        self.fallback = fallback
        self.arithmetic = arithmetic(self.scorer)
        self.pool = ThreadPoolExecutor(4, "decode")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns chunk, digest, count, samples -> chunk, digest, count, rows, arithmetic."""
        rows = [self._score(samples) for samples in batch["samples"]]
        columns = {name: batch[name] for name in ("chunk", "digest", "count")}
        return columns | {"rows": rows, "arithmetic": [self.arithmetic] * len(rows)}

    def _score(self, samples: bytes) -> bytes:
        if not samples:
            return b""
        # pickled by our own read task within the cluster, never read from a file
        decode = partial(decode_sample, self.scorer, fallback=self.fallback)
        decoded = list(self.pool.map(decode, pickle.loads(samples)))
        return json.dumps(PendingRows(self.scorer, decoded, self.scorer.launch).result()).encode()


def _range(workers: str) -> tuple[int, int]:
    least, colon, most = workers.partition(":")
    most = most if colon else least
    if not (least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise ConfigError(f"workers is {workers!r}; expected N, or MIN:MAX such as 1:16")
    return int(least), int(most)


def _own_error(fault: BaseException) -> DiffAGIQAError | None:
    """The error of ours that a remote failure was caused by, if any."""
    cause: BaseException | None = fault
    for _ in range(10):  # Ray's errors keep the worker's in ``cause``, and are of its class too
        inner = getattr(cause, "cause", None) or getattr(cause, "__cause__", None)
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if not isinstance(cause, DiffAGIQAError):
        return None
    return type(cause)(str(cause).splitlines()[0])  # Ray may add advice of its own below
