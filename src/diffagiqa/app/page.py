"""The page in Gradio: one image, or many. No font, script or count leaves it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

from diffagiqa.app.actions import LIMITS
from diffagiqa.app.many import many
from diffagiqa.app.one_image import one_image
from diffagiqa.errors import need_extra
from diffagiqa.jobs.ray_cluster import check_port
from diffagiqa.scorer import Scorer

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


def build_page(scorer: Scorer, note: str = "") -> Any:
    """The page as ``gradio.Blocks``, not yet served; ``note`` stands at its end.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gr = _gradio()
    folder = _scratch()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        gr.Markdown(INTRO)
        with gr.Tab("One image"):
            one_image(gr, scorer, folder)
        with gr.Tab("Many"):
            many(gr, scorer, folder)
        gr.Markdown(f"{note} {LIMITS_NOTE}")
    return page


def launch(
    scorer: Scorer, note: str = "", *, host: str = "127.0.0.1", port: int = 7860
) -> tuple[Any, str]:
    """Serve the page from a thread of its own; returns it with its address.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    gr = _gradio()
    check_port(host, port)
    page = build_page(scorer, note)
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
    need_extra("gradio", "app")
    import gradio

    return gradio
