"""The service in one process: one model, no cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from diffagiqa.errors import DiffAGIQAError, MissingExtraError
from diffagiqa.jobs.model_spec import ModelSpec
from diffagiqa.jobs.ray_cluster import check_port
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.serving.settings import ServiceSettings


def serve_here(
    spec: ModelSpec,
    settings: ServiceSettings,
    stop: StopRequest,
    *,
    host: str,
    port: int,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve until a signal comes, then drain; how many requests were cut off (0 where all ended).

    Raises:
        DiffAGIQAError: the model cannot be loaded, or the port is taken.
    """
    check_port(host, port)
    try:
        import uvicorn

        from diffagiqa.serving.app import Gate, build_app, drained
    except ImportError:
        raise MissingExtraError("FastAPI with uvicorn and prometheus-client", "serve") from None

    # Only now what takes seconds: PyTorch, then the model.
    from diffagiqa.rows import notice_of
    from diffagiqa.serving.batches import BatchScorer, LocalBackend
    from diffagiqa.startup import collector_at_rest

    with collector_at_rest():
        scorer = BatchScorer(spec)
    backend = LocalBackend(scorer, settings.batch_size, settings.batch_wait)
    gate = Gate(settings.max_queue)
    app = build_app(backend, settings, gate, notice_of(scorer.scorer.config))
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="warning", server_header=False)
    )
    # On a thread of its own, uvicorn leaves the signals to us.
    thread = threading.Thread(target=server.run, name="http", daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    if not thread.is_alive():
        raise DiffAGIQAError(f"the service did not start on {host}:{port}; see the messages above")
    if stop.signum is None:
        on_ready()
    while stop.signum is None and thread.is_alive():
        time.sleep(0.05)
    cut = asyncio.run(drained(gate, settings.drain))
    server.should_exit, server.force_exit = True, bool(cut)
    thread.join(timeout=5)
    return cut
