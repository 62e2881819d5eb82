"""``diffagiqa bench``: how fast this machine scores, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diffagiqa.cli import model_options as options


def bench(
    model: Annotated[
        str | None,
        options.model_option(
            help="Model folder or hub id, or sd15: random weights of Stable Diffusion 1.5's size, "
            "without a download. Default: the model in the package."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write the measurements to.")] = Path(
        "bench.json"
    ),
    batch_size: Annotated[
        int | None,
        options.model_option(
            help="Images per batch. Default: 8, on a GPU 32, large backbones on a CPU 1.", min=1
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Timed runs, of which the median counts.", min=1)
    ] = 3,
    released: Annotated[
        bool,
        typer.Option(help="Measure the path as its authors released it, too, in turns."),
    ] = True,
    accel: Annotated[
        bool, typer.Option("--accel", help="Measure the scorer without its accelerators, too.")
    ] = False,
    training_step: Annotated[
        bool, typer.Option("--training-step", help="Measure a step of full training, too.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Measure nothing: show two files that --out wrote side by side."),
    ] = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
) -> None:
    """Measure the speed of scoring on this machine: images per second, stages, memory.

    Compare figures of one run only, and keep the machine quiet meanwhile.

    Examples:
        diffagiqa bench
        diffagiqa bench --model sd15 --training-step --out here.json
        diffagiqa bench --compare here.json there.json
    """
    import json

    from diffagiqa.bench.show import comparison, tables

    if compare is not None:
        typer.echo(comparison(*(_read(file) for file in compare)))
        return
    import tempfile
    import time

    from diffagiqa.bench.measure import bench as measure
    from diffagiqa.bench.sizes import write_sd15
    from diffagiqa.data.results import check_place
    from diffagiqa.pretrained import locate

    check_place(out)
    began = time.perf_counter()

    def say(text: str) -> None:
        typer.echo(f"[{time.perf_counter() - began:5.0f} s] {text}", err=True)

    with tempfile.TemporaryDirectory() as scratch:
        if model == "sd15":
            say("writing random weights of Stable Diffusion 1.5's size, 3.3 GB")
            chosen = write_sd15(Path(scratch))
        else:
            chosen = locate(model).folder
        results = measure(
            str(chosen), device=device, dtype=dtype, batch=batch_size, repeats=repeats,
            compare=released, accel=accel, training=training_step, log=say,
        )  # fmt: skip
    results["model"] = model or "default"
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    typer.echo(tables(results))
    typer.echo(f"the measurements are in {out}")


def _read(file: Path) -> dict[str, Any]:
    import json

    from diffagiqa.errors import ConfigError

    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read as JSON ({error}); give what --out wrote"
        ) from None
    if not isinstance(results, dict) or "stages" not in results:
        raise ConfigError(f"{file} holds no measurements; give what bench --out wrote")
    return results
