"""The options of ``diffagiqa score``, by what they are about."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from diffagiqa.cli import model_options

_input = partial(typer.Option, rich_help_panel="What to score")
_output = partial(typer.Option, rich_help_panel="Output")
_large = partial(typer.Option, rich_help_panel="Large jobs")

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Images, folders, patterns such as '*.png', tables (CSV, TSV, JSONL, JSON, Parquet, "
        "xlsx) or WebDataset tars; local, or s3://, gs://, az://, hf:// and others.",
    ),
]
Prompt = Annotated[str | None, _input(help="One prompt for every image.")]
Prompts = Annotated[
    str | None,
    _input(help="File of prompts: text with one per line, or a table of images and prompts."),
]
ImageColumn = Annotated[str | None, _input(help="Column of the image files.")]
PromptColumn = Annotated[str | None, _input(help="Column of the prompts.")]
Root = Annotated[str | None, _input(help="Folder of a table's images. Default: the table's.")]
Recursive = Annotated[bool, _input(help="Search folders recursively.")]
NeedPrompt = Annotated[
    bool, _input("--need-prompt", help="Treat an image without a prompt as an error.")
]
AllowHost = Annotated[
    list[str] | None,
    _input(help="Host that inputs may be fetched from over https; may be repeated. Default: none."),
]
MaxPixels = Annotated[int, _input(min=1, help="Most pixels that an image may have.")]

Out = Annotated[
    str | None,
    _output(
        help="File to write, .csv, .jsonl or .parquet, or a folder for output in parts. Default: "
        "a table on standard output."
    ),
]
Format = Annotated[str, _output(help="Format of the parts in a folder: parquet, csv or jsonl.")]
AsJson = Annotated[
    bool, _output("--json", help="Print JSON: a row per line, or with --out the summary.")
]
Quiet = Annotated[bool, _output("--quiet", "-q", help="Show no progress and no summary.")]

BatchSize = Annotated[
    int | None,
    model_options.model_option(
        min=1,
        help="Images per forward pass, fewer where memory runs out. Default: 8, on a GPU 32.",
    ),
]

NoiseDraws = Annotated[
    int | None,
    model_options.model_option(min=1, max=64, help="Draws of noise to average over."),
]
Timesteps = Annotated[
    str | None,
    model_options.model_option(
        help="Timesteps of the noise to average over, separated by commas, such as 100,400."
    ),
]
Offload = Annotated[
    bool,
    model_options.model_option(
        "--offload", help="Keep the backbone's weights in the CPU's memory: slow, for small GPUs."
    ),
]
PromptCache = Annotated[
    str | None,
    model_options.model_option(help="Folder that keeps encoded prompts for later runs."),
]

ChunkRows = Annotated[
    int | None,
    _large(min=1, help="Rows that are saved at a time. Default: one batch on a CPU, else four."),
]
PartRows = Annotated[
    int | None, _large(min=1, help="Rows per file in a folder. Default: 1200 batches.")
]
Shard = Annotated[str, _large(help="Score only share i/n of the rows, i from 0 to n - 1.")]
Restart = Annotated[bool, _large("--restart", help="Delete what --out holds and start over.")]
Engine = Annotated[str, _large(help="local, or ray for a Ray cluster.")]
Workers = Annotated[
    str | None, _large(help="With ray: number of workers, N, or MIN:MAX to autoscale.")
]
RayAddress = Annotated[
    str | None,
    _large(help="With ray: address of the cluster to join. Default: a new one on this machine."),
]


def whole_numbers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """``"100,400"`` -> ``(100, 400)``; None where nothing was given."""
    if text is None:
        return None
    from diffagiqa.errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{flag} is {text}; write whole numbers, such as 100,400") from None
