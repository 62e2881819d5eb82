"""``diffagiqa app``: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from diffagiqa.cli import model_options as options


def app(
    model: Annotated[
        list[str] | None,
        options.model_option(
            help="Model folder or hub id to offer; may be repeated. Default: the model in the package."
        ),
    ] = None,
    backbone: options.Backbone = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens the page to the whole network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
) -> None:
    """Serve a web page: drop images on it, see scores, heat maps, missing words and tables.

    Images stay on this machine. The page has no password: keep it on 127.0.0.1, or put it behind a
    server that asks for one.

    Examples:
        diffagiqa app
        diffagiqa app --model runs/mine/best --model you/diffagiqa-sd15 --port 8080
    """
    import signal
    from functools import partial
    from importlib.util import find_spec

    from diffagiqa.errors import MissingExtraError
    from diffagiqa.jobs.ray_cluster import check_port

    if find_spec("gradio") is None:
        raise MissingExtraError("gradio", "app")
    check_port(host, port)

    # Only now what takes seconds.
    from diffagiqa.app.models import Models, load
    from diffagiqa.app.page import launch

    models = Models(model or (), partial(load, backbone=backbone, device=device, dtype=dtype))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl+C does
    models.get()  # a model that cannot be loaded is reported before the page opens
    page, address = launch(models, host=host, port=port)
    typer.echo(f"open {address} (Ctrl+C ends it)")
    page.block_thread()
