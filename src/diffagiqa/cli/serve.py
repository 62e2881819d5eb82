"""``diffagiqa serve``: scores over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from diffagiqa.cli import model_options as options
from diffagiqa.data.wording import counted

_LIMITS = "Limits"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    replicas: Annotated[int, typer.Option(min=1, help="Copies of the model.")] = 1,
    cpus: Annotated[float, typer.Option(min=0.1, help="CPU slots per replica.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs per replica.")] = 0,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join; default: a local one.")
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    backbone: options.Backbone = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    seed: options.Seed = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures per forward pass.", rich_help_panel=options.PANEL)
    ] = 8,
    batch_wait: Annotated[
        float,
        typer.Option(help="Seconds to wait for a batch to fill.", rich_help_panel=options.PANEL),
    ] = 0.02,
    max_queue: Annotated[
        int, typer.Option(help="Open requests before 429.", rich_help_panel=_LIMITS)
    ] = 64,
    max_images: Annotated[
        int, typer.Option(help="Pictures per request.", rich_help_panel=_LIMITS)
    ] = 16,
    max_body: Annotated[
        int, typer.Option(help="Bytes per request.", rich_help_panel=_LIMITS)
    ] = 64_000_000,
    max_bytes: Annotated[
        int, typer.Option(help="Bytes per picture.", rich_help_panel=_LIMITS)
    ] = 20_000_000,
    max_pixels: Annotated[
        int, typer.Option(help="Pixels per picture.", rich_help_panel=_LIMITS)
    ] = 25_000_000,
    timeout: Annotated[
        float, typer.Option(help="Seconds per request.", rich_help_panel=_LIMITS)
    ] = 120.0,
    drain: Annotated[
        float, typer.Option(help="Seconds for open requests at the end.", rich_help_panel=_LIMITS)
    ] = 30.0,
    allow_url_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Fetch pictures that clients name by URL from this host; may be repeated. "
            "Default: nothing is fetched.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
) -> None:
    """Score pictures over HTTP: POST /v1/score; see /docs for the rest.

    Set DIFFAGIQA_API_KEYS (keys of 16 characters or more, separated by commas) to ask for a key.
    SIGTERM takes no more requests, ends those that are open, and exits with 0.

    Examples:
        diffagiqa serve
        diffagiqa serve --gpus 1 --replicas 8 --host 0.0.0.0
    """
    from diffagiqa.data.images import ImageLimits
    from diffagiqa.scale.model_spec import ModelSpec
    from diffagiqa.scale.service import serve_forever
    from diffagiqa.scale.service_settings import ServiceSettings, keys_from_environment
    from diffagiqa.scale.stop import StopRequest

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
        url_hosts=tuple(allow_url_host or ()),
        drain=drain,
    )
    spec = ModelSpec(model, backbone, revision, device, dtype, seed, batch_size, limits)
    with StopRequest() as stop:
        cut = serve_forever(
            spec,
            settings,
            stop,
            host=host,
            port=port,
            replicas=replicas,
            cpus=cpus,
            gpus=gpus,
            address=ray_address,
            on_ready=lambda: typer.echo(f"ready on http://{host}:{port}, docs at /docs", err=True),
        )
    if cut:
        typer.echo(f"{counted(cut, 'request')} did not end within {drain:g} s", err=True)
        raise typer.Exit(1)
