"""``diffagiqa bench``: how fast this device scores, where the time goes, what each optimisation gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def bench(
    model: Annotated[
        str | None,
        typer.Option(help="Model folder or hub id; 'sd15': random weights of Stable Diffusion 1.5's "
                     "size, no download; default: the embedded model."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for bench.json, bench.md and roofline.png.")
    ] = Path("bench"),
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images per batch of the fast path; default: 4, on CUDA 32.", min=1),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed runs of each path; medians count.", min=1)] = 3,
    compare: Annotated[
        bool, typer.Option(help="Also the released path and each optimisation on top of it.")
    ] = True,
    training_step: Annotated[
        bool, typer.Option(help="Also forward and backward passes of the full training regime.")
    ] = False,
    precision: Annotated[
        int, typer.Option(help="Compare this many made pictures' scores with float32.", min=0)
    ] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16 or float16 for the fast path.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:  # fmt: skip
    """Measure scoring on this device: ratios within one run, on a quiet machine.

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
    roofline(found, out / "roofline.png")
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(tables(found))
    typer.echo(f"bench.json, bench.md and roofline.png are in {out}/")
