"""The page in Gradio: one image, two side by side, many. No font, script or count leaves it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

from diffagiqa.app.many import many
from diffagiqa.app.models import LIMITS, PACKAGED, Models
from diffagiqa.app.one_image import one_image
from diffagiqa.app.side_by_side import side_by_side
from diffagiqa.errors import MissingExtraError
from diffagiqa.jobs.ray_cluster import check_port
from diffagiqa.pretrained import WHAT_THE_DEFAULT_IS

TITLE = "diffagiqa"
INTRO = (
    "# Score AI-generated images\n"
    "How good does an image look, and does it show what its prompt asked for? "
    "Scores go from 0 to 1. Images stay on the machine that runs this page. "
    f"A file may have up to {LIMITS.max_bytes // 10**6} MB and an image "
    f"{LIMITS.max_pixels // 10**6} million pixels."
)
LIMITS_NOTE = (
    "Scores are estimates of a model and err; small differences mean nothing. "
    "Do not use them to judge people or their work."
)
KEPT = (3600, 24 * 3600)
"""Seconds between looks for old images that were handed in, and how old one may get; all of them
go when the page is closed."""


def build_page(models: Models) -> Any:
    """The page as ``gradio.Blocks``, not yet served; ``models`` are what can be chosen.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gr = _gradio()
    folder = _scratch()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        gr.Markdown(INTRO)
        chooser = gr.Dropdown(
            models.names, value=models.names[0], label="Model", visible=len(models.names) > 1
        )
        with gr.Tab("One image"):
            one_image(gr, models, chooser, folder)
        with gr.Tab("Side by side"):
            side_by_side(gr, models, chooser)
        with gr.Tab("Many"):
            many(gr, models, chooser, folder)
        packaged = f"{WHAT_THE_DEFAULT_IS} " if PACKAGED in models.names else ""
        gr.Markdown(packaged + LIMITS_NOTE)
    return page


def launch(models: Models, *, host: str = "127.0.0.1", port: int = 7860) -> tuple[Any, str]:
    """Serve the page from a thread of its own; returns it with its address.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    gr = _gradio()
    check_port(host, port)
    page = build_page(models)
    _, address, _ = page.queue(default_concurrency_limit=1).launch(
        server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
        ssr_mode=False, pwa=False, footer_links=[], max_file_size=LIMITS.max_bytes,
        theme=_theme(gr), css_paths=Path(__file__).parent / "assets" / "app.css",
    )  # fmt: skip
    return page, address


def _theme(gr: Any) -> Any:
    """Fonts of the system, and a blue dark enough for white text on it (6.7 to 1)."""
    theme = gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    dark = "*primary_700"
    return theme.set(
        button_primary_background_fill=dark,
        button_primary_background_fill_dark=dark,
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        color_accent="*primary_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
    )


def _scratch() -> Path:
    """A new folder for examples and tables, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="diffagiqa-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _gradio() -> Any:
    try:
        import gradio
    except ImportError:
        raise MissingExtraError("gradio", "app") from None
    return gradio
