"""The service on Ray Serve: one gateway that speaks HTTP, replicas that hold the model."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from diffagiqa.data.samples import printable
from diffagiqa.errors import ConfigError, DiffAGIQAError, MissingExtraError
from diffagiqa.jobs.model_spec import ModelSpec
from diffagiqa.jobs.ray_cluster import check_port, cluster_address, join_cluster, lacking
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.rows import notice_of
from diffagiqa.serving.batches import BatchScorer, Sent
from diffagiqa.serving.settings import ServiceSettings

APP, MODEL = "diffagiqa", "Model"


def model_runs() -> bool:
    """Whether a replica holds a model and passes Serve's health checks, however busy it is.

    A call of its own would wait behind all images, and a full service would be taken for a dead one.
    """
    from ray import serve
    from ray.serve.schema import ReplicaState

    model = serve.status().applications[APP].deployments[MODEL]
    return model.replica_states.get(ReplicaState.RUNNING, 0) > 0


def application(
    spec: ModelSpec,
    settings: ServiceSettings,
    notice: str,
    *,
    replicas: int = 1,
    cpus: float = 1,
    gpus: float = 0,
) -> Any:
    """Serve's application: gateway and model replicas, bound together; ``notice`` is in every answer."""
    from ray import serve

    from diffagiqa.serving.app import Gate, build_app, drained, with_retries

    @serve.deployment(
        name=MODEL,
        num_replicas=replicas,
        max_ongoing_requests=2 * settings.batch_size,  # one batch at work, the next one filling
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=settings.drain,
    )
    class Model:
        def __init__(self) -> None:
            self.scorer = BatchScorer(spec)

        @serve.batch(max_batch_size=settings.batch_size, batch_wait_timeout_s=settings.batch_wait)
        async def score(self, images: list[Sent]) -> list[dict[str, Any]]:
            return await asyncio.to_thread(self.scorer, images)

    class Replicas:
        """The backend of the gateway's routes: any replica that is there."""

        def __init__(self, handle: Any) -> None:
            self.handle = handle

        async def score(self, data: bytes, prompt: str | None) -> Mapping[str, Any]:
            from ray.exceptions import RayActorError

            async def call() -> Mapping[str, Any]:
                return await self.handle.score.remote((data, prompt))  # type: ignore[no-any-return]

            return await with_retries(call, settings.retries, RayActorError)

        async def ready(self) -> bool:
            try:
                return await asyncio.wait_for(asyncio.to_thread(model_runs), 5)
            except Exception:  # whatever keeps Serve from answering, there is nothing to rely on
                return False

    @serve.deployment(
        name="Gateway",
        max_ongoing_requests=4 * settings.max_queue + 64,  # its own gate answers 429 before this
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=settings.drain,
    )
    @serve.ingress()
    class Gateway:
        def __init__(self, handle: Any) -> None:
            self.backend = Replicas(handle)
            self.gate = Gate(settings.max_queue)

        def __serve_build_asgi_app__(self) -> Any:  # the name that Serve looks for
            return build_app(self.backend, settings, self.gate, notice)

        async def drain(self) -> int:
            return await drained(self.gate, settings.drain)

    return Gateway.bind(Model.bind())  # type: ignore[attr-defined]


def serve_on_ray(
    spec: ModelSpec,
    settings: ServiceSettings,
    stop: StopRequest,
    *,
    host: str,
    port: int,
    replicas: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    address: str | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """As ``local_service.serve_here``, with replicas of the model on a Ray cluster.

    Raises DiffAGIQAError where the model cannot be loaded, the port is taken, or this machine has
    fewer slots than the replicas want.
    """
    try:
        import ray
        from ray import serve
    except ImportError:
        raise MissingExtraError("ray", "ray") from None
    address = cluster_address(address)
    # A wrong model is an error here, not a replica that restarts for ever.
    notice = notice_of(spec.describe().config)
    if address is None:  # of a cluster, another machine may be the one that listens
        check_port(host, port)
    join_cluster(address, ignore_reinit_error=True)
    stop.listen()  # Ray has put its own handlers in place, which abort
    with ExitStack() as ending:
        ending.callback(ray.shutdown)
        where = "this machine" if address is None else "the cluster"
        short = lacking(ray.cluster_resources(), replicas, cpus, gpus, where)
        if short and address is None:
            raise ConfigError(short)
        if short:  # an autoscaler may bring what is missing
            warnings.warn(f"{short}, or wait for more machines", stacklevel=2)
        ending.callback(_end_serve, alone=address is None)
        try:
            serve.start(http_options={"host": host, "port": port, "request_timeout_s": None})
            handle = serve.run(
                application(spec, settings, notice, replicas=replicas, cpus=cpus, gpus=gpus),
                name=APP,
            )
        except RuntimeError as fault:  # Ray's text ends with what went wrong, after a trace
            reason = (str(fault).strip().splitlines() or ["no reason was given"])[-1]
            raise DiffAGIQAError(
                f"the service did not start ({printable(reason[:300])}); see ray's logs for the rest"
            ) from None
        stop.listen()  # so has Serve
        if stop.signum is None:
            on_ready()
        while stop.signum is None:
            time.sleep(0.1)
        return _drain(handle, settings.drain)


def _drain(handle: Any, seconds: float) -> int:
    """Have the gateway end its open requests; how many it had to cut off."""
    try:
        return int(handle.drain.remote().result(timeout_s=seconds + 5))
    except TimeoutError:  # the system's own would read as a fault of the disk
        raise DiffAGIQAError(
            f"the gateway did not answer within {seconds + 5:g} s of the request to stop, so open "
            "requests were cut off; their clients must send them again"
        ) from None


def _end_serve(alone: bool) -> None:
    """End what ``serve_on_ray`` started, and on a cluster of others nothing of theirs."""
    from ray import serve

    if not alone:
        with suppress(Exception):  # it did not start, or the cluster has gone
            serve.delete(APP)
            if serve.status().applications:
                return
    serve.shutdown()
