"""``diffagiqa app``: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from diffagiqa.cli import model_options as options


def app(
    model: options.Model = None,
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
        diffagiqa app --model runs/mine/best --port 8080
    """
    import signal

    from diffagiqa.errors import need_extra
    from diffagiqa.jobs.ray_cluster import check_port

    need_extra("gradio", "app")
    check_port(host, port)

    # Only now what takes seconds.
    from diffagiqa.app.actions import LIMITS
    from diffagiqa.app.page import launch
    from diffagiqa.pretrained import WHAT_THE_DEFAULT_IS
    from diffagiqa.scorer import Scorer

    scorer = Scorer.from_pretrained(
        model, backbone=backbone, device=device, dtype=dtype, limits=LIMITS
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl+C does
    note = "" if model else WHAT_THE_DEFAULT_IS
    page, address = launch(scorer, note, host=host, port=port)
    typer.echo(f"open {address} (Ctrl+C ends it)")
    page.block_thread()
