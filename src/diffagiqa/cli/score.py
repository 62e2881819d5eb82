"""``diffagiqa score``: pictures in, one row of scores each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import model_options as options
from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    from diffagiqa.scale.job import Engine, Inputs, Layout
    from diffagiqa.scale.model_spec import ModelFacts
    from diffagiqa.scale.totals import Totals

_INPUT, _OUTPUT, _SCALE = "What to score", "Output", "Large jobs"

_NOT_WRITTEN = (".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".arrow", ".gz", ".zip", ".db")


def score(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, patterns, tables (CSV, TSV, JSONL, JSON, Parquet, xlsx), WebDataset "
            "tars; local or s3://, gs://, az://, hf:// ...",
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option(help="The prompt behind every picture.", rich_help_panel=_INPUT)
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="A text file with one prompt per line, or a table of images and prompts.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Column of the pictures.", rich_help_panel=_INPUT)
    ] = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="Column of the prompts.", rich_help_panel=_INPUT)
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of the tables' pictures.", rich_help_panel=_INPUT)
    ] = None,
    recursive: Annotated[
        bool, typer.Option(help="Search folders below their first level.", rich_help_panel=_INPUT)
    ] = True,
    need_prompt: Annotated[
        bool,
        typer.Option(
            "--need-prompt",
            help="A picture without a prompt is an error, not scored against the empty prompt.",
            rich_help_panel=_INPUT,
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            help="FILE.csv, .jsonl or .parquet; or a folder, for output in parts. "
            "Default: a table on standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(help="parquet, csv or jsonl, for a folder.", rich_help_panel=_OUTPUT),
    ] = "parquet",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="JSON on standard output: one row per line, or with --out the summary.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress, no summary.", rich_help_panel=_OUTPUT),
    ] = False,
    model: options.Model = None,
    revision: options.Revision = None,
    backbone: options.Backbone = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    seed: options.Seed = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pictures per forward pass, halved where memory runs out; default: 8, on CUDA 32.",
            rich_help_panel=options.PANEL,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Host from which inputs may be fetched over https; may be repeated. Default: none.",
            rich_help_panel=_SCALE,
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Largest picture, in pixels.", rich_help_panel=_SCALE)
    ] = 100_000_000,
    chunk_rows: Annotated[
        int | None,
        typer.Option(
            help="Rows kept at once; default: one batch on a CPU, else four.",
            rich_help_panel=_SCALE,
        ),
    ] = None,
    part_rows: Annotated[
        int | None,
        typer.Option(
            help="Rows per file of a folder; default: 1200 batches.", rich_help_panel=_SCALE
        ),
    ] = None,
    shard: Annotated[
        str, typer.Option(help="i/n: score only this share of the rows.", rich_help_panel=_SCALE)
    ] = "0/1",
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Forget what --out holds and begin anew.", rich_help_panel=_SCALE
        ),
    ] = False,
    decoders: Annotated[
        int | None, typer.Option(help="Threads that read pictures.", rich_help_panel=_SCALE)
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local, or ray for a cluster.", rich_help_panel=_SCALE)
    ] = "local",
    workers: Annotated[
        str | None,
        typer.Option(help="Ray: N, or MIN:MAX to autoscale.", rich_help_panel=_SCALE),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Ray: cluster to join; default: a local one.", rich_help_panel=_SCALE),
    ] = None,
) -> None:
    """Score pictures: perceptual quality, and agreement with their prompts.

    Without --prompt or --prompts, prompts come from the table, from a .txt beside the picture, or
    from what AUTOMATIC1111, ComfyUI, InvokeAI and others write into it; a column says from where.

    With --out, stop it whenever you like: the same command goes on where it was.

    Exit code: 0 where every row was scored, 1 where some failed (see column error), 2 wrong use.

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
        from diffagiqa.scale.chunks import Share
        from diffagiqa.scale.job import Inputs, Layout
        from diffagiqa.scale.model_spec import ModelSpec

    if allow_host:
        os.environ[VARIABLE] = ",".join(allow_host)  # worker processes inherit it
    if engine not in ("local", "ray"):
        raise ConfigError(f"engine is {engine!r}; expected local or ray")
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
        prompt,
        prompts,
        image_column,
        prompt_column,
        root,
        recursive,
        need_prompt,
        spec.limits,
        out,
    )
    if engine == "ray":
        from diffagiqa.scale.ray_engine import RayEngine

        facts = spec.describe()
        worker: Engine = RayEngine(spec, facts, workers=workers, address=ray_address)
    else:
        with collector_at_rest():
            from diffagiqa.scale.local import LocalEngine
            from diffagiqa.scale.model_spec import ModelFacts

            scorer = spec.load()
        facts = ModelFacts.of(scorer)
        worker = LocalEngine(scorer, decoders)
    failed = _run(worker, what, layout, facts, out, restart, as_json, quiet)
    raise typer.Exit(1 if failed else 0)


def _run(
    engine: Engine,
    inputs: Inputs,
    layout: Layout,
    facts: ModelFacts,
    out: str | None,
    restart: bool,
    as_json: bool,
    quiet: bool,
) -> bool:
    """Run the job with a progress bar and a summary; whether any row failed."""
    from diffagiqa.cli.score_output import RowPrinter, progress_bar, show_summary
    from diffagiqa.data.folders import passed_over, passed_over_sentence
    from diffagiqa.scale.job import run_job, run_stream, run_to_file
    from diffagiqa.scale.stop import Stopped, StopRequest

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
            hint = "; the same command goes on from there" if out else ""
            typer.echo(f"{stopped} after {counted(bar.done, 'row')}{hint}", err=True)
            raise typer.Exit(128 + stopped.signum) from None
    if as_json or not quiet:
        totals.passed_over = passed_over(inputs.names, inputs.recursive, out)
    show_summary(totals, facts, bar, out, as_json, quiet)
    if totals.passed_over and not quiet:
        typer.echo(passed_over_sentence(totals.passed_over), err=True)
    return totals.failed > 0
