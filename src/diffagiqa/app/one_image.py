"""The tab of one image: its scores, where quality is lost, which words seem missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffagiqa.app.actions import open_image, score_image
from diffagiqa.app.examples import write_examples
from diffagiqa.app.markup import message_html
from diffagiqa.data.samples import IMAGE_SUFFIXES
from diffagiqa.errors import DiffAGIQAError
from diffagiqa.scorer import Scorer


def one_image(gr: Any, scorer: Scorer, folder: Path) -> None:
    """Lay the tab out."""
    from_file = gr.State("")  # the prompt that the present image brought with it
    with gr.Row():
        with gr.Column(min_width=300):
            file = gr.File(
                label="Image file", file_types=list(IMAGE_SUFFIXES), height=120, elem_id="image"
            )
            shown = gr.Image(
                label="Image", alt_text="The image", interactive=False, height=330,
                buttons=["fullscreen"], visible=False, elem_classes="framed",
            )  # fmt: skip
            prompt = gr.Textbox(label="Prompt", lines=3, elem_id="prompt")
            note = gr.Markdown("", elem_id="note")
            why = gr.Checkbox(label="Explain: where quality is lost, which words are missing")
            button = gr.Button("Score", variant="primary", elem_id="score")
        with gr.Column(min_width=300):
            scores = gr.HTML(label="Scores", elem_id="scores")
            heat = gr.Image(
                label="Where this image loses quality most",
                alt_text="The image in grey, bright where quality is lost most",
                interactive=False, height=390, buttons=["download", "fullscreen"], visible=False,
                elem_id="heat", elem_classes="framed",
            )  # fmt: skip
            words = gr.HTML(elem_id="words")
            seen = gr.Gallery(
                label="Where the model looks for each word", columns=3, height="auto",
                buttons=["download", "fullscreen"], visible=False, elem_id="seen",
                elem_classes="framed",
            )  # fmt: skip
    outputs = [scores, heat, words, seen]
    hidden = gr.update(value=None, visible=False)
    nothing = ["", hidden, "", hidden]

    def opened(path: str | None, text: str, before: str) -> list[Any]:
        # What the former image brought goes with it; what somebody typed stays.
        typed = "" if text == before else text
        if not path:
            return [hidden, typed, "", "", *nothing]
        try:
            image, stated, source = open_image(path)
        except DiffAGIQAError as error:
            return [hidden, typed, "", "", message_html(str(error)), *nothing[1:]]
        said = "No prompt in the file: type the one that the image was made from."
        if stated:
            said = f"Prompt found in the file ({source}). Change it if it is wrong."
        elif typed.strip():
            said = "No prompt in the file: the one above stays. Change it if it is wrong."
        return [gr.update(value=image, visible=True), stated or typed, said, stated, *nothing]

    def score(path: str | None, text: str, explain: bool) -> list[Any]:
        try:
            result = score_image(scorer, path, text, explain)
        except DiffAGIQAError as error:
            return [message_html(str(error)), *nothing[1:]]
        return [
            result.scores, gr.update(value=result.heat, visible=result.heat is not None), result.words,
            gr.update(value=result.attention, visible=bool(result.attention)),
        ]  # fmt: skip

    file.change(
        opened, [file, prompt, from_file], [shown, prompt, note, from_file, *outputs],
        api_visibility="private",
    )  # fmt: skip
    inputs = [file, prompt, why]
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
