"""``diffagiqa score``: images in, one row of scores each out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from diffagiqa.cli import model_options
from diffagiqa.cli import score_options as options
from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    from diffagiqa.jobs.inputs import Inputs
    from diffagiqa.jobs.model_spec import ModelSpec
    from diffagiqa.jobs.totals import Totals
    from diffagiqa.scorer import Scorer


def score(
    names: options.Names,
    prompt: options.Prompt = None,
    prompts: options.Prompts = None,
    image_column: options.ImageColumn = None,
    prompt_column: options.PromptColumn = None,
    root: options.Root = None,
    recursive: options.Recursive = True,
    need_prompt: options.NeedPrompt = False,
    allow_host: options.AllowHost = None,
    max_pixels: options.MaxPixels = 100_000_000,
    out: options.Out = None,
    format: options.Format = "parquet",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    model: model_options.Model = None,
    revision: model_options.Revision = None,
    backbone: model_options.Backbone = None,
    device: model_options.Device = None,
    dtype: model_options.Dtype = "auto",
    seed: model_options.Seed = 0,
    batch_size: options.BatchSize = None,
    noise_draws: options.NoiseDraws = None,
    timesteps: options.Timesteps = None,
    offload: options.Offload = False,
    prompt_cache: options.PromptCache = None,
    chunk_rows: options.ChunkRows = None,
    part_rows: options.PartRows = None,
    shard: options.Shard = "0/1",
    restart: options.Restart = False,
    engine: options.Engine = "local",
    workers: options.Workers = None,
    ray_address: options.RayAddress = None,
) -> None:
    """Score images: perceptual quality, and alignment with their prompts.

    Without --prompt and --prompts, prompts come from the table, from a .txt file beside the image, or
    from what AUTOMATIC1111, ComfyUI, InvokeAI and others write into it; the column prompt_source says
    where each came from. An image without a prompt gets no alignment.

    With --out, an interrupted run continues when the same command is given again.

    Exit code: 0 if every row was scored, 1 if some failed (see the column error), 2 for wrong use.

    Examples:
        diffagiqa score fox.png --prompt "a red fox"
        diffagiqa score renders/ --out scores.csv
        diffagiqa score table.csv --root images --out scores.parquet
    """
    from diffagiqa.data.images import ImageLimits
    from diffagiqa.jobs.inputs import Inputs
    from diffagiqa.jobs.model_spec import ModelSpec

    limits = ImageLimits(max_pixels=max_pixels, hosts=tuple(allow_host or ()))
    inputs = Inputs(
        tuple(names), prompt, prompts, image_column, prompt_column, root, recursive, need_prompt,
        limits, out,
    )  # fmt: skip
    spec = ModelSpec(
        model, backbone, revision, device, dtype, seed, batch_size, limits, noise_draws,
        options.whole_numbers("--timesteps", timesteps), offload, prompt_cache,
    )  # fmt: skip
    job = JobOptions(format, shard, chunk_rows, part_rows, restart, engine, workers, ray_address)
    run = _score_few if out is None else _score_job
    totals = run(inputs, spec, job, as_json, quiet)
    raise typer.Exit(1 if totals.failed else 0)


@dataclass(frozen=True)
class JobOptions:
    """How a job is cut, and who works on it; see ``score_options``."""

    format: str
    shard: str
    chunk_rows: int | None
    part_rows: int | None
    restart: bool
    engine: str
    workers: str | None
    ray_address: str | None

    def check(self, out: str | None) -> None:
        """Raise ConfigError where options contradict each other."""
        from diffagiqa.errors import ConfigError
        from diffagiqa.jobs.chunks import FORMATS

        if self.engine not in ("local", "ray"):
            raise ConfigError(f"engine is {self.engine!r}; expected local or ray")
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}")
        of_ray = "--workers" if self.workers else "--ray-address" if self.ray_address else ""
        if of_ray and self.engine == "local":
            raise ConfigError(f"{of_ray} was given and the engine is local; add --engine ray")
        if out is None:
            given = {
                "--engine ray": self.engine == "ray", "--shard": self.shard != "0/1",
                "--restart": self.restart, "--part-rows": self.part_rows,
                "--chunk-rows": self.chunk_rows,
            }  # fmt: skip
            if alone := next((name for name, value in given.items() if value), None):
                raise ConfigError(f"{alone} goes with --out; name a file or folder to write")


def _score_few(
    inputs: Inputs, spec: ModelSpec, job: JobOptions, as_json: bool, quiet: bool
) -> Totals:
    """Rows on standard output as they come; nothing is kept."""
    from diffagiqa.cli.score_output import Bar, RowPrinter, show_summary
    from diffagiqa.data.folders import passed_over
    from diffagiqa.jobs.model_spec import ModelFacts
    from diffagiqa.jobs.stop import Stopped, StopRequest
    from diffagiqa.jobs.totals import Totals
    from diffagiqa.rows import chunked, score_chunks

    job.check(None)
    inputs.check()
    samples = list(inputs.samples()) if inputs.are_files else inputs.samples()
    scorer = _loaded(spec)
    totals = Totals(scorer.tasks)
    with StopRequest() as stop, Bar(quiet) as bar:
        if isinstance(samples, list):
            bar.expect(len(samples))
        printer = RowPrinter(scorer.config, as_json, bar)
        chunk_rows = _chunk_rows(scorer.device.type, scorer.batch_size)
        try:
            for rows in score_chunks(
                scorer, chunked(samples, chunk_rows), chunk_rows=chunk_rows,
                fallback=inputs.fallback,
            ):  # fmt: skip
                totals.add_chunk(rows)
                printer.write(rows)
                bar(len(rows), 0)
                stop.check()
        except Stopped as stopped:
            _give_up(stopped, bar.done)
    if not quiet:
        totals.passed_over = passed_over(inputs.names, inputs.recursive)
    show_summary(totals, ModelFacts.of(scorer), bar, None, as_json, quiet)
    return totals


def _score_job(
    inputs: Inputs, spec: ModelSpec, job: JobOptions, as_json: bool, quiet: bool
) -> Totals:
    """Rows into a file or folder, each exactly once, however often the job is interrupted."""
    from diffagiqa.cli.score_output import Bar, count_inputs, show_summary
    from diffagiqa.data.folders import passed_over
    from diffagiqa.jobs.chunks import Layout, Share
    from diffagiqa.jobs.job import Engine, check_output, run_job

    out = str(inputs.out)
    share = Share.parse(job.shard)
    job.check(out)
    check_output(out, inputs, share)
    inputs.check()

    # Only now what takes seconds: PyTorch, then the model.
    from diffagiqa.device import choose_device, default_batch_size
    from diffagiqa.jobs.model_spec import ModelFacts
    from diffagiqa.jobs.stop import Stopped, StopRequest

    device = choose_device(spec.device)
    batch_size = spec.batch_size or default_batch_size(device)
    chunk_rows = job.chunk_rows or _chunk_rows(device.type, batch_size)
    part_rows = job.part_rows or max(1200 * batch_size, chunk_rows)
    layout = Layout(batch_size, chunk_rows, part_rows, job.format, share)
    spec = replace(spec, batch_size=batch_size)
    engine: Engine
    if job.engine == "ray":
        from diffagiqa.jobs.ray_engine import RayEngine

        engine = RayEngine(spec, workers=job.workers, address=job.ray_address)
        facts = engine.facts
    else:
        from diffagiqa.jobs.local import LocalEngine

        scorer = _loaded(spec)
        facts, engine = ModelFacts.of(scorer), LocalEngine(scorer)
    with StopRequest() as stop, Bar(quiet) as bar:
        count_inputs(inputs, layout, bar)
        try:
            totals = run_job(
                engine, inputs, out, layout=layout, facts=facts, stop=stop, restart=job.restart,
                on_rows=bar,
            )  # fmt: skip
        except Stopped as stopped:
            _give_up(stopped, bar.done, "; give the same command again to continue")
    if as_json or not quiet:
        totals.passed_over = passed_over(inputs.names, inputs.recursive, out)
    show_summary(totals, facts, bar, out, as_json, quiet)
    return totals


def _chunk_rows(device: str, batch_size: int) -> int:
    """A CPU takes seconds for a batch: rows, and the bar, come as they are done."""
    return batch_size if device == "cpu" else 4 * batch_size


def _loaded(spec: ModelSpec) -> Scorer:
    from diffagiqa.startup import collector_at_rest

    with collector_at_rest():
        return spec.load()


def _give_up(stopped: Exception, rows: int, hint: str = "") -> None:
    typer.echo(f"{stopped} after {counted(rows, 'row')}{hint}", err=True)
    raise typer.Exit(128 + getattr(stopped, "signum", 0)) from None
