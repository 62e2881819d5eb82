"""``diffagiqa score``: pictures in, one row of scores each out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import model_options as options
from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    from diffagiqa.jobs.job import Engine, Inputs, Layout
    from diffagiqa.jobs.model_spec import ModelFacts
    from diffagiqa.jobs.totals import Totals

_input_option = partial(typer.Option, rich_help_panel="What to score")
_output_option = partial(typer.Option, rich_help_panel="Output")
_large_option = partial(typer.Option, rich_help_panel="Large jobs")

_NOT_WRITTEN = (".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".arrow", ".gz", ".zip", ".db")


def score(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, patterns such as '*.png', tables (CSV, TSV, JSONL, JSON, Parquet, "
            "xlsx) or WebDataset tars; local, or s3://, gs://, az://, hf:// and others.",
        ),
    ],
    prompt: Annotated[str | None, _input_option(help="One prompt for every picture.")] = None,
    prompts: Annotated[
        str | None,
        _input_option(
            help="File of prompts: text with one per line, or a table of images and prompts."
        ),
    ] = None,
    image_column: Annotated[str | None, _input_option(help="Column of the image files.")] = None,
    prompt_column: Annotated[str | None, _input_option(help="Column of the prompts.")] = None,
    root: Annotated[
        str | None, _input_option(help="Folder of a table's pictures. Default: the table's.")
    ] = None,
    recursive: Annotated[bool, _input_option(help="Search folders recursively.")] = True,
    need_prompt: Annotated[
        bool,
        _input_option(
            "--need-prompt",
            help="Treat a picture without a prompt as an error, instead of scoring it against the "
            "empty prompt.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        _output_option(
            help="File to write, .csv, .jsonl or .parquet, or a folder for output in parts. Default: "
            "a table on standard output."
        ),
    ] = None,
    format: Annotated[
        str, _output_option(help="Format of the parts in a folder: parquet, csv or jsonl.")
    ] = "parquet",
    as_json: Annotated[
        bool,
        _output_option("--json", help="Print JSON: a row per line, or with --out the summary."),
    ] = False,
    quiet: Annotated[
        bool, _output_option("--quiet", "-q", help="Show no progress and no summary.")
    ] = False,
    model: options.Model = None,
    revision: options.Revision = None,
    backbone: options.Backbone = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    seed: options.Seed = 0,
    batch_size: Annotated[
        int | None,
        options.model_option(
            min=1,
            help="Pictures per forward pass, fewer where memory runs out. Default: 8, on a GPU 32.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        _large_option(
            help="Host that inputs may be fetched from over https; may be repeated. Default: none."
        ),
    ] = None,
    max_pixels: Annotated[
        int, _large_option(min=1, help="Most pixels that a picture may have.")
    ] = 100_000_000,
    chunk_rows: Annotated[
        int | None,
        _large_option(
            min=1, help="Rows that are saved at a time. Default: one batch on a CPU, else four."
        ),
    ] = None,
    part_rows: Annotated[
        int | None, _large_option(min=1, help="Rows per file in a folder. Default: 1200 batches.")
    ] = None,
    shard: Annotated[
        str, _large_option(help="Score only share i/n of the rows, i from 0 to n - 1.")
    ] = "0/1",
    restart: Annotated[
        bool, _large_option("--restart", help="Delete what --out holds and start over.")
    ] = False,
    decoders: Annotated[
        int | None,
        _large_option(
            min=1,
            help="Threads that decode pictures. Default: one per CPU, at most 8; with ray 4 per worker.",
        ),
    ] = None,
    engine: Annotated[str, _large_option(help="local, or ray for a Ray cluster.")] = "local",
    workers: Annotated[
        str | None, _large_option(help="With ray: number of workers, N, or MIN:MAX to autoscale.")
    ] = None,
    ray_address: Annotated[
        str | None,
        _large_option(
            help="With ray: address of the cluster to join. Default: a new one on this machine."
        ),
    ] = None,
) -> None:
    """Score pictures: perceptual quality, and alignment with their prompts.

    Without --prompt and --prompts, prompts come from the table, from a .txt file beside the picture, or
    from what AUTOMATIC1111, ComfyUI, InvokeAI and others write into it; the column prompt_source says
    where each came from.

    With --out, an interrupted run continues when the same command is given again.

    Exit code: 0 if every row was scored, 1 if some failed (see the column error), 2 for wrong use.

    Examples:
        diffagiqa score fox.png --prompt "a red fox"
        diffagiqa score renders/ --out scores.csv
        diffagiqa score table.csv --root images --out scores.parquet
    """
    import os

    from diffagiqa.startup import collector_at_rest

    with collector_at_rest():
        from diffagiqa.data.images import ImageLimits
        from diffagiqa.data.web import VARIABLE
        from diffagiqa.device import choose_device, default_batch_size
        from diffagiqa.errors import ConfigError
        from diffagiqa.jobs.chunks import Share
        from diffagiqa.jobs.job import Inputs, Layout
        from diffagiqa.jobs.model_spec import ModelSpec

    if allow_host:
        os.environ[VARIABLE] = ",".join(allow_host)  # worker processes inherit it
    if engine not in ("local", "ray"):
        raise ConfigError(f"engine is {engine!r}; expected local or ray")
    if engine == "local" and (workers or ray_address):
        given = "--workers" if workers else "--ray-address"
        raise ConfigError(f"{given} was given and the engine is local; add --engine ray")
    if out and out.lower().endswith(_NOT_WRITTEN):
        raise ConfigError(
            f"--out is {out!r}; name it .csv, .jsonl or .parquet, or give a folder without suffix"
        )
    place = choose_device(device)
    batch_size = batch_size or default_batch_size(place)
    # A CPU takes seconds for a batch: rows, and the bar, come as they are done.
    chunk = chunk_rows or (1 if place.type == "cpu" else 4) * batch_size
    layout = Layout(
        batch_size=batch_size,
        chunk_rows=chunk,
        part_rows=part_rows or max(1200 * batch_size, chunk),
        format=format,
        share=Share.parse(shard),
    )
    spec = ModelSpec(
        model=model,
        backbone=backbone,
        revision=revision,
        device=device,
        dtype=dtype,
        seed=seed,
        batch_size=batch_size,
        limits=ImageLimits(max_pixels=max_pixels),
    )
    what = Inputs(
        tuple(inputs),
        prompt=prompt,
        prompts_file=prompts,
        image_column=image_column,
        prompt_column=prompt_column,
        root=root,
        recursive=recursive,
        need_prompt=need_prompt,
        limits=spec.limits,
        out=out,
    )
    if engine == "ray":
        from diffagiqa.jobs.ray_engine import RayEngine

        facts = spec.describe()
        worker: Engine = RayEngine(
            spec, facts, workers=workers, address=ray_address, threads=decoders
        )
    else:
        with collector_at_rest():
            from diffagiqa.jobs.local import LocalEngine
            from diffagiqa.jobs.model_spec import ModelFacts

            scorer = spec.load()
        facts = ModelFacts.of(scorer)
        worker = LocalEngine(scorer, decoders)
    failed = _run(worker, what, layout, facts, restart=restart, as_json=as_json, quiet=quiet)
    raise typer.Exit(1 if failed else 0)


def _run(
    engine: Engine,
    inputs: Inputs,
    layout: Layout,
    facts: ModelFacts,
    *,
    restart: bool,
    as_json: bool,
    quiet: bool,
) -> bool:
    """Run the job with a progress bar and a summary; whether any row failed."""
    from diffagiqa.cli.score_output import RowPrinter, progress_bar, show_summary
    from diffagiqa.data.folders import passed_over, passed_over_sentence
    from diffagiqa.jobs.job import run_job, run_stream, run_to_file
    from diffagiqa.jobs.stop import Stopped, StopRequest

    out = inputs.out
    with StopRequest() as stop, progress_bar(inputs, layout, quiet) as bar:
        shared: dict[str, Any] = {"layout": layout, "facts": facts, "stop": stop}
        try:
            if out is None:
                with RowPrinter(facts, as_json, bar) as printer:
                    totals: Totals = run_stream(
                        engine, inputs, printer.write, **shared, on_rows=bar
                    )
            else:
                single = out.lower().endswith((".csv", ".jsonl", ".parquet"))
                run = run_to_file if single else run_job
                totals = run(engine, inputs, out, **shared, restart=restart, on_rows=bar)
        except Stopped as stopped:
            bar.close()
            hint = "; give the same command again to continue" if out else ""
            typer.echo(f"{stopped} after {counted(bar.done, 'row')}{hint}", err=True)
            raise typer.Exit(128 + stopped.signum) from None
    if as_json or not quiet:
        totals.passed_over = passed_over(inputs.names, inputs.recursive, out)
    show_summary(totals, facts, bar, out, as_json, quiet)
    if totals.passed_over and not quiet:
        typer.echo(passed_over_sentence(totals.passed_over), err=True)
    return totals.failed > 0
