"""``diffagiqa serve``: scores over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from diffagiqa.cli import model_options as options
from diffagiqa.data.wording import counted

_ray_option = partial(typer.Option, rich_help_panel="Replicas on Ray")
_limit_option = partial(typer.Option, rich_help_panel="Limits")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    replicas: Annotated[
        int | None, _ray_option(min=1, help="Copies of the model. Default: one, without Ray.")
    ] = None,
    cpus: Annotated[float, _ray_option(min=0.1, help="CPU slots of a replica.")] = 1,
    gpus: Annotated[float, _ray_option(min=0, help="GPUs of a replica.")] = 0,
    ray_address: Annotated[
        str | None,
        _ray_option(
            help="Address of the Ray cluster to join. Default: none, and with --replicas a new "
            "one on this machine."
        ),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    backbone: options.Backbone = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    seed: options.Seed = 0,
    batch_size: Annotated[int, options.model_option(min=1, help="Images per forward pass.")] = 8,
    batch_wait: Annotated[
        float, options.model_option(min=0, help="Seconds to wait for a batch to fill.")
    ] = 0.02,
    max_queue: Annotated[
        int, _limit_option(help="Requests at a time; the next one is answered with 429.")
    ] = 64,
    max_images: Annotated[int, _limit_option(help="Most images in a request.")] = 16,
    max_body: Annotated[int, _limit_option(help="Most bytes in a request.")] = 64_000_000,
    max_bytes: Annotated[int, _limit_option(help="Most bytes of an image.")] = 20_000_000,
    max_pixels: Annotated[int, _limit_option(help="Most pixels of an image.")] = 25_000_000,
    timeout: Annotated[
        float, _limit_option(help="Seconds until a request is answered with 504.")
    ] = 120.0,
    drain: Annotated[
        float, _limit_option(help="Seconds that open requests get when the service is stopped.")
    ] = 30.0,
) -> None:
    """Serve scores over HTTP: POST /v1/score; the page /docs of the service describes the rest.

    One model in one process; on Ray where an option about replicas is given.

    Set DIFFAGIQA_API_KEYS (keys of 16 characters or more, separated by commas) to ask clients for a key.
    On SIGTERM the service refuses new requests, answers those that are open, and exits with 0, or with 1
    if some were cut off.

    Examples:
        diffagiqa serve
        diffagiqa serve --gpus 1 --replicas 8 --host 0.0.0.0
    """
    from diffagiqa.data.images import ImageLimits
    from diffagiqa.jobs.model_spec import ModelSpec
    from diffagiqa.jobs.stop import StopRequest
    from diffagiqa.serving.settings import ServiceSettings, keys_from_environment

    limits = ImageLimits(max_bytes=max_bytes, max_pixels=max_pixels)
    settings = ServiceSettings(
        max_queue=max_queue,
        max_images=max_images,
        max_body=max_body,
        limits=limits,
        timeout=timeout,
        batch_size=batch_size,
        batch_wait=batch_wait,
        api_keys=keys_from_environment(),
        drain=drain,
    )
    spec = ModelSpec(model, backbone, revision, device, dtype, seed, batch_size, limits)
    ready = partial(typer.echo, f"ready on http://{host}:{port}, docs at /docs", err=True)
    with StopRequest() as stop:
        if replicas is None and ray_address is None and cpus == 1 and not gpus:
            from diffagiqa.serving.local_service import serve_here

            cut = serve_here(spec, settings, stop, host=host, port=port, on_ready=ready)
        else:
            from diffagiqa.serving.ray_service import serve_on_ray

            cut = serve_on_ray(
                spec, settings, stop, host=host, port=port, replicas=replicas or 1, cpus=cpus,
                gpus=gpus, address=ray_address, on_ready=ready,
            )  # fmt: skip
    if cut:
        typer.echo(f"{counted(cut, 'request')} did not end within {drain:g} s", err=True)
        raise typer.Exit(1)
