"""Options of the commands that open rated databases, and how they become a configuration."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import model_options
from diffagiqa.data.columns import TableColumns
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError

if TYPE_CHECKING:
    from diffagiqa.model.config import ModelConfig
    from diffagiqa.training.config import TrainingConfig
    from diffagiqa.training.open_data import Opened


def spelt(names: list) -> list[str]:  # Typer asks issubclass(), which refuses list[str] on 3.10
    """``agiqa3k`` for ``agiqa-3k``, and the like."""
    from diffagiqa.data.databases import database_name

    return [database_name(name) for name in names]


def spelt_one(name: str) -> str:
    """``spelt``, of one name."""
    return spelt([name])[0]


def is_data(name: str) -> bool:
    """Whether a name is a database or a table, rather than a folder or a model on the hub."""
    from diffagiqa.data.databases import DATABASES

    return name in DATABASES or Path(name).is_file()


data_option = partial(typer.Option, rich_help_panel="Data")
config_option = partial(typer.Option, rich_help_panel="Configuration")

KNOWN = (
    "agiqa-1k, agiqa-3k, aigciqa2023, aigiqa-20k, pku-aigiqa-4k, "
    "evalmuse-40k, genai-bench, evalmi-50k, q-eval-100k, hpdv2, imagerewarddb, pick-a-pic"
)
"""The keys of ``data.databases.DATABASES``, which help must not open."""
Databases = Annotated[
    list[str],
    typer.Argument(
        help=f"{KNOWN}, or a table of your own: CSV, TSV, JSONL, JSON, Parquet or xlsx.",
        callback=spelt,
    ),
]
Root = Annotated[
    list[str] | None,
    data_option(
        "--root",
        help="Folder of the database; with several, NAME=FOLDER for each (a table's name is its "
        "file's). Default: a table's own folder.",
    ),
]
Label = Annotated[
    list[str] | None,
    data_option(
        "--label",
        help="Of a table: TASK=COLUMN of the task's ratings, such as perception=mos; may be repeated.",
    ),
]
Scale = Annotated[
    list[str] | None,
    data_option(
        "--scale",
        help="Of a table: TASK=LOWEST:HIGHEST, the scale of the task's ratings, such as "
        "perception=1:5; may be repeated.",
    ),
]
ImageColumn = Annotated[str, data_option(help="Of a table: column of the image files.")]
PromptColumn = Annotated[
    str, data_option(help="Of a table: column of the prompts; '' where it has none.")
]
GeneratorColumn = Annotated[str | None, data_option(help="Of a table: column of the generators.")]
SplitColumn = Annotated[
    str | None,
    data_option(help="Of a table: column that holds train, validation or test, to split by."),
]
Pairs = Annotated[
    str | None,
    data_option(
        "--pairs",
        help="Of a table of choices: IMAGE_A,IMAGE_B,PREFERRED, or IMAGE,RANK, its columns. Default: "
        "image_a, image_b, preferred, or image, rank, where it has them.",
    ),
]
AllowPartial = Annotated[
    bool, data_option("--allow-partial", help="Leave out rows whose image is missing.")
]
SplitOption = Annotated[
    str | None,
    data_option(
        "--split",
        help="How to split: prompt (no prompt in two parts), image (at random), official (as the "
        "database says), or generators (one is left out, another by every seed).",
    ),
]
Recipe = Annotated[
    str | None,
    config_option(
        help="Recipe to start from: a JSON file, a database's name, mixed, or few. Default: the first "
        "database's, if there is one; few for a table of your own."
    ),
]
Set = Annotated[
    list[str] | None,
    config_option(
        "--set",
        help="KEY=VALUE for any key of the configuration, such as model.timestep=101; may be "
        "repeated.",
    ),
]
BackboneOption = Annotated[
    str | None,
    config_option(
        help="Frozen model: folder, hub id or compact; it brings its image size and features."
    ),
]
Epochs = Annotated[int | None, config_option(help="Most epochs to train for.")]
BatchSize = Annotated[int | None, config_option(help="Images per step, over all processes.")]
Seed = Annotated[
    int | None, config_option(help="Seed of the weights, the order, the noise and the split.")
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder of cached features, to share between runs. Default: in --out."),
]
Device = model_options.Device


def split_of(split: str | None, column: str | None) -> str | None:
    """How to split: a column that names the parts is used without being asked for."""
    if column is not None and split not in (None, "official"):
        raise ConfigError(
            f"--split {split} and --split-column {column} were given; expected one of them"
        )
    return "official" if column is not None else split


def configuration(
    databases: list[str], recipe: str | None, flags: dict[str, Any], changes: list[str] | None
) -> TrainingConfig:
    """The recipe, changed by the options that were given, then by ``--set``.

    Where the recipe says nothing of the model, it is that of ``init``. A backbone that is named brings
    its defaults, which are printed.
    """
    from diffagiqa.data.databases import DATABASES
    from diffagiqa.model.config import ModelConfig
    from diffagiqa.training.config import TrainingConfig, load_recipe, override, recipe_names

    tables = all(name not in DATABASES for name in databases)
    name = recipe or next(
        (n for n in databases[:1] if n in recipe_names()), "few" if tables else None
    )
    config = load_recipe(name) if name else TrainingConfig()
    given = {key: value for key, value in flags.items() if value is not None}
    given |= parse_pairs(changes or [], "--set")
    of_recipe = config.model
    init = given.get("init", config.init)
    layers = config.init if init == "none" else init
    if layers is not None and of_recipe == ModelConfig():
        config = replace(config, model=_model_of(layers))
    backbone = given.get("model.backbone")
    if backbone and backbone != config.model.backbone:
        config = replace(config, init=None, model=_on_backbone(of_recipe, backbone, given))
    return override(config, {"databases": list(databases), **given})


def _model_of(init: str) -> ModelConfig:
    """The configuration of a trained model."""
    from diffagiqa.pretrained import load_config
    from diffagiqa.training.run_folder import init_folder

    return load_config(init_folder(init))


def _on_backbone(model: ModelConfig, backbone: str, given: Mapping[str, Any]) -> ModelConfig:
    """A model with the defaults of a backbone, as far as no option says otherwise; prints them."""
    from diffagiqa.backbones.folder import backbone_defaults
    from diffagiqa.backbones.names import query_features

    defaults = backbone_defaults(backbone, given.get("model.backbone_revision"))
    if given.get("model.pooling") == "queries":
        # Tokens of images of several sizes share no batch.
        defaults = replace(defaults, features=query_features(defaults.features), fit="resize")
    asked = {
        name: given.get(f"model.{name}") for name in ("image_size", "fit", "timestep", "features")
    }
    said = [
        f"{name} {value if isinstance(value, (int, str)) else ', '.join(value)}"
        for name, chosen in asked.items()
        if chosen is None and (value := getattr(defaults, name))
    ]
    typer.echo(f"{backbone}: {'; '.join(said)} (its defaults; others by --set model.KEY=VALUE)")
    return replace(
        model, backbone=backbone, image_size=defaults.image_size, fit=defaults.fit,
        timestep=defaults.timestep, features=defaults.features,
        feature_channels=(1,) * len(defaults.features),  # until the backbone is read
    )  # fmt: skip


def table_columns(
    label: Label = None,
    scale: Scale = None,
    image_column: ImageColumn = "image",
    prompt_column: PromptColumn = "prompt",
    generator_column: GeneratorColumn = None,
    split_column: SplitColumn = None,
) -> TableColumns:
    """What the options say of how to read a table."""
    return TableColumns(
        labels=parse_pairs(label or [], "--label"),
        scales=parse_scales(scale or []),
        image=image_column,
        prompt=prompt_column or None,
        generator=generator_column,
        split=split_column,
    )


def with_columns(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with the options of ``table_columns`` in place of its parameter ``columns``."""
    signature = inspect.signature(command, eval_str=True)
    flags = inspect.signature(table_columns, eval_str=True).parameters

    @wraps(command)
    def called(**given: Any) -> None:
        columns = table_columns(**{name: given.pop(name) for name in flags})
        command(columns=columns, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += flags.values() if parameter.name == "columns" else [parameter]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called


def open_rows(
    databases: list[str], root: list[str] | None, columns: TableColumns, allow_partial: bool,
    unreadable: str, pairs: str | None = None,
) -> Opened:  # fmt: skip
    """Open and check the databases, and print what is unusual about them."""
    from diffagiqa.training.open_data import open_data, prompts_of

    opened = open_data(
        databases, root or [], columns=columns, pairs=pair_columns(pairs), allow_partial=allow_partial,
        skip_unreadable=unreadable == "skip",
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
    """``["a=b"]`` -> ``{"a": "b"}``, for options that may be repeated."""
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise ConfigError(f"{flag} {wrong[0]} has no '='; write {flag} NAME=VALUE")
    pairs: dict[str, str] = {}
    for name, _, value in (text.partition("=") for text in texts):
        if name in pairs:
            raise ConfigError(f"{flag} {name} was given as {pairs[name]} and as {value}; give one")
        pairs[name] = value
    return pairs


def pair_columns(text: str | None) -> tuple[str, ...]:
    """``"left,right,winner"`` -> its parts; () where nothing was given."""
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and len(names) not in (2, 3):
        raise ConfigError(
            f"--pairs {text} names {counted(len(names), 'column')}; write "
            "--pairs IMAGE_A,IMAGE_B,PREFERRED or --pairs IMAGE,RANK"
        )
    return names


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
    """The command as it was given, with folders shortened to their names."""
    from diffagiqa.training.report import short_name

    parts = ["diffagiqa"]
    for part in sys.argv[1:]:
        name, equals, value = part.partition("=")
        text = f"{name}={short_name(value)}" if equals and "/" in value else short_name(part)
        parts.append(shlex.quote(text))
    return " ".join(parts)


def write(path: Path, text: str) -> None:
    from diffagiqa.training.checkpoint import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    typer.echo(f"written: {path}")
