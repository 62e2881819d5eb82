"""``diffagiqa app``: the web page."""

from __future__ import annotations

from typing import Annotated

import typer


def app(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model folder or hub id to offer; may be repeated. Default: packaged."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Local copy of the models' backbone.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    host: Annotated[
        str, typer.Option(help="127.0.0.1 for this machine alone, 0.0.0.0 for the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 7860,
) -> None:
    """Open a web page: drop pictures, see scores, heat maps, words and tables.

    Nothing is sent anywhere else; the page has no password, so keep it on 127.0.0.1 or behind one.

    Examples:
        diffagiqa app
        diffagiqa app --model runs/mine/best --model you/diffagiqa-sd15 --port 8080
    """
    import signal
    from functools import partial

    from diffagiqa.app.models import Models, load
    from diffagiqa.app.page import launch

    models = Models(model or (), partial(load, backbone=backbone, device=device, dtype=dtype))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl+C does
    models.get()  # a model that is not there is said before the page opens
    page, address = launch(models, host=host, port=port, block=False)
    typer.echo(f"open {address} (Ctrl+C ends it)")
    page.block_thread()
