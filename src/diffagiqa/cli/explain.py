"""``diffagiqa explain``: why an image has its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import model_options as options

if TYPE_CHECKING:
    from diffagiqa.explain import Explanation


def explain(
    image: Annotated[Path, typer.Argument(help="The image.")],
    prompt: Annotated[
        str | None,
        typer.Option(
            help="What was asked for. Default: from a .txt file beside the image, or its metadata."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Figure to write, .png, .svg or .pdf.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
    model: options.Model = None,
    backbone: options.Backbone = None,
    device: options.Device = None,
) -> None:
    """Show where one image loses quality, and which words of its prompt it does not show.

    docs/how-to/explain.md says how far to trust them.

    Examples:
        diffagiqa explain fox.png --prompt "a red fox in snow" --out why.png
        diffagiqa explain fox.png --json
    """
    from diffagiqa.data.images import decode_image, read_image_bytes
    from diffagiqa.data.prompts import find_prompt
    from diffagiqa.data.results import check_place
    from diffagiqa.errors import ConfigError, need_extra

    if out is not None:
        if out.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise ConfigError(f"--out is {out}; name it .png, .svg or .pdf")
        check_place(out)
        need_extra("matplotlib", "report")
    pixels = decode_image(image)
    if prompt is None:
        prompt = find_prompt(image, read_image_bytes(image))[0] or ""

    # Only now what takes seconds.
    from diffagiqa.explain import explain as explain_image
    from diffagiqa.scorer import Scorer

    scorer = Scorer.from_pretrained(model, backbone=backbone, device=device)
    with _working():
        explanation = explain_image(scorer, pixels, prompt)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        key = "Subject" if out.suffix.lower() == ".pdf" else "Description"
        explanation.figure().savefig(out, dpi=140, metadata={key: explanation.alt_text})
    if as_json:
        typer.echo(json.dumps(explanation.to_dict(), ensure_ascii=False))
        return
    _show(explanation)
    typer.echo(f"figure in {out}" if out else "--out why.png draws the map and the words")


def _working() -> Any:
    """A spinner on a terminal's standard error while the explanation is made; else nothing."""
    from rich.console import Console

    return Console(stderr=True).status("the map, and the words of the prompt")


def _show(explanation: Explanation) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(
        Text(", ".join(f"{task} {value:.3f}" for task, value in explanation.scores.items()))
    )
    if not explanation.prompt:
        console.print("no prompt, so only what is not about it")
    for warning in explanation.warnings:
        console.print(Text(warning, "yellow"))
    if explanation.words:
        table = Table("word", "alignment lost without it", box=None, pad_edge=False)
        for word in explanation.words:
            table.add_row(Text(word.text), f"{word.drop:+.3f}")
        console.print(table)
        console.print(Text(explanation.sentence))
    x, y = explanation.worst_place
    console.print(
        f"{explanation.map_task} loses most {100 * x:.0f} % from the left and {100 * y:.0f} % from "
        f"the top, by {explanation.map_method}: docs/how-to/explain.md says how far to believe it",
        highlight=False,
    )
