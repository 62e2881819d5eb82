"""``diffagiqa bench``: how fast this device scores, where time goes, what each optimisation gains."""

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
    out: Annotated[
        Path, typer.Option(help="Folder to write bench.json, bench.md and roofline.png to.")
    ] = Path("bench"),
    batch_size: Annotated[
        int | None,
        options.model_option(help="Images per batch. Default: 4, on a GPU 32.", min=1),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Timed runs, of which the median counts.", min=1)
    ] = 3,
    compare: Annotated[
        bool, typer.Option(help="Measure the released path, too, and each optimisation of it.")
    ] = True,
    training_step: Annotated[
        bool, typer.Option("--training-step", help="Measure a step of full training, too.")
    ] = False,
    precision: Annotated[
        int,
        typer.Option(
            help="Compare the scores of this many synthetic pictures with float32.", min=0
        ),
    ] = 0,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: PyTorch's own choice.", min=1)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the measurements as JSON.")
    ] = False,
) -> None:
    """Measure the speed of scoring on this device, stage by stage.

    Compare figures of one run only, and keep the machine quiet meanwhile.

    Examples:
        diffagiqa bench
        diffagiqa bench --model sd15 --training-step
    """
    import json
    import tempfile
    import time

    import torch

    from diffagiqa.bench.run import bench as measure
    from diffagiqa.bench.show import roofline, tables
    from diffagiqa.bench.sizes import write_sd15
    from diffagiqa.scorer import DEFAULT_MODEL

    if threads is not None:
        torch.set_num_threads(threads)
    began = time.perf_counter()

    def say(text: str) -> None:
        typer.echo(f"[{time.perf_counter() - began:5.0f} s] {text}", err=True)

    def keep(found: dict[str, Any]) -> None:
        found["model"] = "random, of Stable Diffusion 1.5's size" if model == "sd15" else model
        (out / "bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (out / "bench.md").write_text(tables(found), encoding="utf-8")

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = str(DEFAULT_MODEL) if model is None else model
        if model == "sd15":
            say("writing random weights of Stable Diffusion 1.5's size, 3.3 GB")
            chosen = str(write_sd15(Path(scratch)))
        found = measure(
            chosen, device=device, dtype=dtype, batch=batch_size, repeats=repeats, compare=compare,
            training=training_step, precision=precision, log=say, keep=keep,
        )  # fmt: skip
    drawn = roofline(found, out / "roofline.png")
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(tables(found))
    missing = "" if drawn else ", without roofline.png: pip install 'diffagiqa[report]' to draw it"
    typer.echo(f"the measurements are in {out}/{missing}")
