"""The page in Gradio: one picture, two side by side, many. No font, script or count leaves it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from diffagiqa.app import actions
from diffagiqa.app.examples import write_examples
from diffagiqa.app.models import Models
from diffagiqa.errors import ConfigError, DiffAGIQAError, MissingExtraError

TITLE = "diffagiqa"
INTRO = (
    "# Score AI-generated pictures\n"
    "How good does a picture look, and does it show what its prompt asked for? "
    "Scores go from 0 to 1. Pictures stay on the machine that runs this page."
)
LIMITS_NOTE = (
    "Scores are estimates of a model and err; small differences mean nothing. "
    "Do not use them to judge people or their work."
)
METHODS = {"fast": "activation", "gradient": "gradient", "occlusion (slow)": "occlusion"}
PICTURES = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"]


def build_page(models: Models, folder: Path | None = None) -> Any:
    """The page as ``gradio.Blocks``, not yet served.

    Args:
        models: what can be chosen.
        folder: for examples and tables; default: a new temporary folder.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gr = _gradio()
    folder = folder or Path(tempfile.mkdtemp(prefix="diffagiqa-"))
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(INTRO)
        chooser = gr.Dropdown(
            models.names, value=models.names[0], label="Model", visible=len(models.names) > 1
        )
        with gr.Tab("One picture"):
            _one_picture(gr, models, chooser, folder)
        with gr.Tab("Side by side"):
            _side_by_side(gr, models, chooser)
        with gr.Tab("Many"):
            _many(gr, models, chooser, folder)
        gr.Markdown(LIMITS_NOTE)
    return page


def launch(
    models: Models, *, host: str = "127.0.0.1", port: int = 7860, block: bool = True
) -> tuple[Any, str]:
    """Serve the page; returns it with its address (at once where ``block`` is False).

    Raises:
        ConfigError: the port is taken.
    """
    gr = _gradio()
    page = build_page(models)
    try:
        _, address, _ = page.queue(default_concurrency_limit=1).launch(
            server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
            ssr_mode=False, pwa=False, footer_links=[], max_file_size="50mb",
            theme=_theme(gr), css_paths=Path(__file__).parent / "assets" / "app.css",
        )  # fmt: skip
    except OSError:
        raise ConfigError(f"port {port} is taken; give another with --port") from None
    if block:
        page.block_thread()
    return page, address


def _one_picture(gr: Any, models: Models, chooser: Any, folder: Path) -> None:
    with gr.Row():
        with gr.Column(min_width=300):
            file = gr.File(label="Picture file", file_types=PICTURES, height=120, elem_id="picture")
            shown = gr.Image(
                label="Picture",
                interactive=False,
                height=300,
                buttons=["fullscreen"],
                visible=False,
            )
            prompt = gr.Textbox(label="Prompt", lines=3, elem_id="prompt")
            note = gr.Markdown("", elem_id="note")
            why = gr.Checkbox(label="Explain: where quality is lost, which words are missing")
            method = gr.Radio(
                list(METHODS), value="fast", label="How the map is made", visible=False
            )
            button = gr.Button("Score", variant="primary", elem_id="score")
        with gr.Column(min_width=300):
            scores = gr.HTML(label="Scores", elem_id="scores")
            heat = gr.Image(
                label="Where quality is lost most (bright; relative to this picture)",
                interactive=False,
                height=360,
                buttons=["download", "fullscreen"],
                visible=False,
            )
            sentence = gr.HTML(elem_id="sentence")
            words = gr.Dataframe(
                headers=list(actions.WORD_COLUMNS), label="Words of the prompt", interactive=False,
                visible=False, elem_id="words",
            )  # fmt: skip
            seen = gr.Gallery(
                label="Where the model looks for each word", columns=3, height="auto",
                buttons=["download", "fullscreen"], visible=False,
            )  # fmt: skip
    outputs = [scores, heat, sentence, words, seen]

    def opened(path: str | None) -> tuple[Any, str, str, str]:
        hidden = gr.update(value=None, visible=False)
        if not path:
            return hidden, "", "", ""
        try:
            picture, found, said = actions.open_picture(path)
        except DiffAGIQAError as error:
            return hidden, "", "", actions.message_html(error)
        return gr.update(value=picture, visible=True), found, said, ""

    def score(path: str | None, text: str, explain: bool, how: str, model: str) -> list[Any]:
        hidden = gr.update(visible=False)
        try:
            found = actions.score_picture(models.get(model), path, text, explain, METHODS[how])
        except DiffAGIQAError as error:
            return [actions.message_html(error), hidden, "", hidden, hidden]
        table = gr.update(value=found.words, visible=bool(found.words))
        gallery = gr.update(value=found.attention, visible=bool(found.attention))
        return [
            found.scores, gr.update(value=found.heat, visible=found.heat is not None),
            found.sentence, table, gallery,
        ]  # fmt: skip

    file.change(opened, file, [shown, prompt, note, scores], api_visibility="private")
    why.change(lambda on: gr.update(visible=on), why, method, api_visibility="private")
    inputs = [file, prompt, why, method, chooser]
    button.click(score, inputs, outputs, api_visibility="private")
    prompt.submit(score, inputs, outputs, api_visibility="private")
    examples = write_examples(folder)
    gr.Examples(
        [[example.path] for example in examples],
        [file],
        label="Examples (drawn by this program)",
        example_labels=[example.label for example in examples],
        cache_examples=False,
    )


def _side_by_side(gr: Any, models: Models, chooser: Any) -> None:
    prompt = gr.Textbox(label="Prompt of both pictures", lines=2)
    files, pictures, scores = [], [], []
    with gr.Row():
        for letter in "AB":
            with gr.Column(min_width=280):
                files.append(gr.File(label=f"Picture {letter}", file_types=PICTURES, height=120))
                label = f"{letter}, where quality is lost most (relative to {letter})"
                pictures.append(
                    gr.Image(label=label, interactive=False, height=300, buttons=["fullscreen"])
                )
                scores.append(gr.HTML(label=f"Scores of {letter}"))
    button = gr.Button("Compare", variant="primary")
    verdict = gr.HTML(elem_id="verdict")

    def compare(first: str | None, second: str | None, text: str, model: str) -> list[Any]:
        try:
            scorer = models.get(model)
            both = [
                actions.score_picture(scorer, path, text, True, words=False)
                for path in (first, second)
            ]
            plain = scorer([first, second], text)
        except DiffAGIQAError as error:
            return [None, None, "", "", actions.message_html(error)]
        said = actions.better_html(*plain)
        return [both[0].heat, both[1].heat, both[0].scores, both[1].scores, said]

    def found_prompt(path: str | None, text: str) -> str:
        try:
            return text or (actions.open_picture(path)[1] if path else "")
        except DiffAGIQAError:
            return text

    for file in files:
        file.change(found_prompt, [file, prompt], prompt, api_visibility="private")
    button.click(
        compare, [*files, prompt, chooser], [*pictures, *scores, verdict], api_visibility="private"
    )


def _many(gr: Any, models: Models, chooser: Any, folder: Path) -> None:
    files = gr.File(
        label="Picture files", file_count="multiple", file_types=PICTURES, elem_id="many"
    )
    prompt = gr.Textbox(label="Prompt of files that hold none")
    button = gr.Button("Score all", variant="primary", elem_id="score-all")
    fault = gr.HTML()
    table = gr.Dataframe(label="Scores", interactive=False, visible=False, elem_id="table")
    download = gr.File(label="Table as CSV", interactive=False, visible=False, elem_id="csv")

    def score_all(
        paths: list[str] | None, text: str, model: str, progress: Any = gr.Progress()
    ) -> list[Any]:
        out = Path(tempfile.mkdtemp(dir=folder)) / "scores.csv"
        try:
            scorer = models.get(model)
            rows = actions.score_batch(scorer, paths or [], text, out, progress)
        except DiffAGIQAError as error:
            return [actions.message_html(error), gr.update(visible=False), gr.update(visible=False)]
        value = {"headers": actions.batch_columns(scorer), "data": rows}
        return ["", gr.update(value=value, visible=True), gr.update(value=str(out), visible=True)]

    button.click(
        score_all, [files, prompt, chooser], [fault, table, download], api_visibility="private"
    )


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


def _gradio() -> Any:
    try:
        import gradio
    except ImportError:
        raise MissingExtraError("gradio", "app") from None
    return gradio
