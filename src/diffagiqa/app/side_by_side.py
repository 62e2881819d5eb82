"""The tab of two images of one prompt: which is better, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffagiqa.app.actions import LETTERS, compare_images, open_image
from diffagiqa.app.markup import message_html
from diffagiqa.app.models import Models
from diffagiqa.data.samples import IMAGE_SUFFIXES
from diffagiqa.errors import DiffAGIQAError


def side_by_side(gr: Any, models: Models, chooser: Any) -> None:
    """Lay the tab out."""
    from_files = gr.State(("", ""))  # the prompts that A and B brought with them
    prompt = gr.Textbox(label="Prompt of both images", lines=2, elem_id="prompt-of-both")
    files: list[Any] = []
    images: list[Any] = []
    maps: list[Any] = []
    scores: list[Any] = []
    with gr.Row():
        for letter in LETTERS:
            files.append(
                gr.File(
                    label=f"Image {letter}", file_types=list(IMAGE_SUFFIXES), height=120,
                    min_width=280, elem_id=f"image-{letter}",
                )
            )  # fmt: skip
    button = gr.Button("Compare", variant="primary", elem_id="compare")
    verdict = gr.HTML(elem_id="verdict")
    with gr.Row():
        for letter in LETTERS:
            with gr.Column(min_width=280):
                with gr.Row():
                    images.append(_image(gr, f"{letter} as it is", f"Image {letter}"))
                    said = f"Image {letter} in grey, bright where it loses quality most"
                    maps.append(_image(gr, f"Where {letter} loses quality", said))
                scores.append(gr.HTML(label=f"Scores of {letter}", elem_id=f"scores-{letter}"))
    outputs = [*maps, *scores, verdict]
    hidden = gr.update(value=None, visible=False)
    nothing = [hidden, hidden, "", "", ""]

    def opened(side: int) -> Callable[..., list[Any]]:
        def change(path: str | None, text: str, before: tuple[str, str]) -> list[Any]:
            image, found, fault = hidden, "", ""
            if path:
                try:
                    pixels, found, _ = open_image(path)
                    image = gr.update(value=pixels, visible=True)
                except DiffAGIQAError as error:
                    fault = message_html(str(error))
            now = (found, before[1]) if side == 0 else (before[0], found)
            # What somebody typed stays; what an image brought goes with it.
            if not text.strip() or text in before:
                text = now[0] or now[1]
            return [image, text, now, *nothing[:-1], fault]

        return change

    def compare(first: str | None, second: str | None, text: str, model: str) -> list[Any]:
        try:
            both, said = compare_images(models.get(model), (first, second), text)
        except DiffAGIQAError as error:
            return [*nothing[:-1], message_html(str(error))]
        heat = [gr.update(value=one.heat, visible=True) for one in both]
        return [*heat, *(one.scores for one in both), said]

    for side, (file, image) in enumerate(zip(files, images, strict=True)):
        file.change(
            opened(side), [file, prompt, from_files], [image, prompt, from_files, *outputs],
            api_visibility="private",
        )  # fmt: skip
    button.click(compare, [*files, prompt, chooser], outputs, api_visibility="private")


def _image(gr: Any, label: str, said: str) -> Any:
    return gr.Image(
        label=label, alt_text=said, interactive=False, height=300, min_width=220,
        buttons=["fullscreen"], visible=False, elem_classes="framed",
    )  # fmt: skip
