"""Flags of the commands that open rated databases, and how they become a configuration."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError

if TYPE_CHECKING:
    from diffagiqa.training.config import TrainingConfig
    from diffagiqa.training.open_data import Opened


def spelt(names: list) -> list[str]:  # Typer asks issubclass(), which refuses list[str] on 3.10
    """``agiqa3k`` for ``agiqa-3k``, and the like."""
    from diffagiqa.data.databases import database_name

    return [database_name(name) for name in names]


Databases = Annotated[
    list[str],
    typer.Argument(
        help="agiqa-1k, agiqa-3k, aigciqa2023, aigiqa-20k, pku-aigiqa-4k, made (what synth writes), "
        "or a table: CSV, TSV, JSONL, JSON, Parquet or xlsx.",
        callback=spelt,
    ),
]
Root = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        help="Its folder; with several databases NAME=FOLDER for each, a table's name being its file's.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="JSON file, or a recipe of the package: the first database's name, embedded, mixed, small."
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(help="Folder or hub id of a Stable Diffusion model, or 'embedded'."),
]
ImageSize = Annotated[int | None, typer.Option(help="Pixels, a multiple of 64.")]
Features = Annotated[str | None, typer.Option(help="U-Net features to use, separated by commas.")]
Epochs = Annotated[int | None, typer.Option(help="At most so many passes over the training part.")]
BatchSize = Annotated[int | None, typer.Option(help="Pictures per step, over all processes.")]
Accumulation = Annotated[int | None, typer.Option(help="Pieces a batch is computed in.")]
SplitOption = Annotated[str | None, typer.Option("--split", help="prompt, image or official.")]
Seed = Annotated[int | None, typer.Option(help="Of weights, order, noise and the split.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any key of the configuration, several times: --set model.timestep=101"
    ),
]
Label = Annotated[
    list[str] | None,
    typer.Option(
        "--label", help="For a table, once per task: TASK=COLUMN, such as perception=mos."
    ),
]
Scale = Annotated[
    list[str] | None,
    typer.Option(
        "--scale", help="For a table, once per task: TASK=LOWEST:HIGHEST, such as perception=1:5."
    ),
]
ImageColumn = Annotated[str, typer.Option(help="For a table: column of the image files.")]
PromptColumn = Annotated[
    str, typer.Option(help="For a table: column of the prompts; '' where it has none.")
]
GeneratorColumn = Annotated[str | None, typer.Option(help="For a table: column of the generators.")]
SplitColumn = Annotated[
    str | None,
    typer.Option(help="For a table: column of train/validation/test; the split is that one then."),
]
AllowPartial = Annotated[
    bool, typer.Option("--allow-partial", help="Leave out rows whose image is not there.")
]


def split_of(split: str | None, column: str | None) -> str | None:
    """A column that names the parts is meant to be used."""
    if column is not None and split not in (None, "official"):
        raise ConfigError(
            f"--split {split} and --split-column {column} were given; expected one of them"
        )
    return "official" if column is not None else split


def configuration(
    databases: list[str], recipe: str | None, flags: dict[str, Any], changes: list[str] | None
) -> TrainingConfig:
    """Recipe, then the flags that were given, then ``--set``."""
    from diffagiqa.training.config import TrainingConfig, load_recipe, override, recipe_names

    name = recipe or (databases[0] if databases[0] in recipe_names() else None)
    config = load_recipe(name) if name else TrainingConfig()
    given = {key: value for key, value in flags.items() if value is not None}
    values = {"databases": list(databases), **given, **parse_pairs(changes or [], "--set")}
    return override(config, values)


def table_columns(
    label: Label = None,
    scale: Scale = None,
    image_column: ImageColumn = "image",
    prompt_column: PromptColumn = "prompt",
    generator_column: GeneratorColumn = None,
    split_column: SplitColumn = None,
) -> TableColumns:
    """The flags that say how to read a table."""
    return TableColumns(
        labels=parse_pairs(label or [], "--label"),
        scales=parse_scales(scale or []),
        image=image_column,
        prompt=prompt_column or None,
        generator=generator_column,
        split=split_column,
    )


def with_columns(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with the flags of ``table_columns`` where it has a parameter ``columns``."""
    own = inspect.signature(command, eval_str=True)
    flags = inspect.signature(table_columns, eval_str=True).parameters

    @functools.wraps(command)
    def called(**given: Any) -> None:
        columns = table_columns(**{name: given.pop(name) for name in flags})
        command(columns=columns, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += flags.values() if parameter.name == "columns" else [parameter]
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called


def open_rows(
    databases: list[str], root: list[str] | None, columns: TableColumns, *,
    allow_partial: bool, skip_unreadable: bool,
) -> Opened:  # fmt: skip
    """Open and check the databases, and say what is unusual about them."""
    from diffagiqa.training.open_data import open_data, prompts_of

    opened = open_data(
        databases, root or [], own=columns, allow_partial=allow_partial,
        skip_unreadable=skip_unreadable,
    )  # fmt: skip
    rows = opened.rows
    prompts = len(prompts_of(rows, range(len(rows))))
    typer.echo(
        f"{' + '.join(rows.names)}: {counted(len(rows), 'row')}, {counted(prompts, 'prompt')}, "
        f"tasks {', '.join(rows.task_names)}"
    )
    for note in opened.notes:
        typer.echo(f"note: {note}")
    return opened


def parse_pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    """``["a=b"]`` -> ``{"a": "b"}``, for flags that are given several times."""
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise ConfigError(f"{flag} {wrong[0]} has no '='; write {flag} NAME=VALUE")
    pairs: dict[str, str] = {}
    for name, _, value in (text.partition("=") for text in texts):
        if name in pairs:
            raise ConfigError(f"{flag} {name} was given as {pairs[name]} and as {value}; give one")
        pairs[name] = value
    return pairs


def parse_scales(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """``["perception=1:5"]`` -> ``{"perception": (1.0, 5.0)}``."""
    scales = {}
    for task, text in parse_pairs(texts, "--scale").items():
        try:
            low, high = (float(part) for part in text.split(":"))
        except ValueError:
            raise ConfigError(
                f"--scale {task}={text} is no range; write --scale {task}=1:5"
            ) from None
        scales[task] = (low, high)
    return scales


def command_line() -> str:
    """The command as it was given: folders shortened to their names, without notes, which follow."""
    from diffagiqa.training.report import short_name

    given = sys.argv[1:]
    noted = {i + after for i, part in enumerate(given) if part == "--note" for after in (0, 1)}
    parts = ["diffagiqa"]
    for part in (part for i, part in enumerate(given) if i not in noted):
        name, equals, value = part.partition("=")
        text = f"{name}={short_name(value)}" if equals and "/" in value else short_name(part)
        parts.append(shlex.quote(text))
    return " ".join(parts)


def write(path: Path, text: str) -> None:
    from diffagiqa.training.checkpoint import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    typer.echo(f"written: {path}")
