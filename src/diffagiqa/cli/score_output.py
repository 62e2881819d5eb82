"""What ``diffagiqa score`` shows: a progress bar, rows on standard output, a summary."""

from __future__ import annotations

import csv
import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diffagiqa.data.folders import passed_over_sentence
from diffagiqa.data.results import guard_cell
from diffagiqa.data.samples import printable
from diffagiqa.data.wording import counted
from diffagiqa.errors import DiffAGIQAError
from diffagiqa.rows import Row, notice_of, row_columns

if TYPE_CHECKING:
    from rich.progress import Progress

    from diffagiqa.jobs.chunks import Layout
    from diffagiqa.jobs.inputs import Inputs
    from diffagiqa.jobs.model_spec import ModelFacts
    from diffagiqa.jobs.totals import Totals
    from diffagiqa.model.config import ModelConfig


class Bar:
    """Counts rows; draws on a terminal's standard error, nothing in a pipe or with ``quiet``."""

    def __init__(self, quiet: bool) -> None:
        self.terminal = sys.stdout.isatty()  # before the bar puts a stream of its own there
        self.done = self.reused = 0
        self.started = time.monotonic()
        self.seconds = 0.0
        drawn = not quiet and sys.stderr.isatty()
        self.progress = _progress(self.terminal) if drawn else None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.started
        if self.progress is not None:
            self.progress.stop()

    def __call__(self, done: int, reused: int) -> None:
        self.done += done
        self.reused += reused
        self._update(completed=self.done)

    def expect(self, total: int) -> None:
        self._update(total=total)

    def _update(self, **values: int) -> None:
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], **values)  # type: ignore[arg-type]


def _progress(terminal: bool) -> Progress:
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        "{task.description}", progress.BarColumn(), progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(), progress.TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
        redirect_stdout=terminal,  # what goes to a pipe or a file is none of the bar's
    )  # fmt: skip
    bar.add_task("scoring", total=None)
    bar.start()
    return bar


def count_inputs(inputs: Inputs, layout: Layout, bar: Bar) -> None:
    """Count the rows beside the scoring, where a bar is drawn and that costs no second reading of
    images."""
    if bar.progress is not None and inputs.are_files:
        threading.Thread(target=_count, args=(inputs, layout, bar), daemon=True).start()


def _count(inputs: Inputs, layout: Layout, bar: Bar) -> None:
    try:
        mine = (s for s in inputs.samples() if layout.share.owns(s.row // layout.chunk_rows))
        bar.expect(sum(1 for _ in mine))
    except DiffAGIQAError:
        return  # the run itself reports it


class RowPrinter:
    """Rows on standard output as they come: a table on a terminal, CSV in a pipe, or JSON lines."""

    def __init__(self, config: ModelConfig, as_json: bool, bar: Bar) -> None:
        self.config = config
        self.columns = row_columns(config)
        self.as_json = as_json
        self.bar = bar
        self._started = False

    def write(self, rows: Sequence[Row]) -> None:
        """Print some rows."""
        for row in rows:
            if self.as_json:
                print(json.dumps({n: row.get(n) for n in self.columns}, ensure_ascii=False))
            elif self.bar.terminal:
                self._print_aligned(row)
            else:
                self._print_csv(row)
            self._started = True
        sys.stdout.flush()

    def _print_csv(self, row: Row) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if not self._started:
            writer.writerow(self.columns)
        values = (row.get(name) for name in self.columns)
        writer.writerow(_cell(v) if isinstance(v, str) else v for v in values)

    def _print_aligned(self, row: Row) -> None:
        from rich.console import Console
        from rich.text import Text

        # The bar's own console draws above it.
        console = self.bar.progress.console if self.bar.progress else Console(soft_wrap=True)
        widths = {task: max(12, len(task) + 2) for task in self.config.task_names}
        if not self._started:
            heads = "".join(
                f"{task + '?' * (task in self.config.doubtful):>{width}}"
                for task, width in widths.items()
            )
            console.print(Text(f"{heads}  {'prompt from':<11}  image", "bold"), soft_wrap=True)
        cells = ""
        for task, width in widths.items():
            value = row[task]
            cells += f"{'-' if value is None else f'{value:.3f}':>{width}}"
        line = Text(f"{cells}  {row['prompt_source']:<11}  {printable(row['image'])}")
        if row["prompt_read"]:
            line.append(f"  read {row['prompt_read']}", "yellow")
        if row["unfamiliar"]:
            line.append(f"  unfamiliar {row['unfamiliar']}", "yellow")
        if row["error"]:
            line.append(f"  {printable(row['error'])}", "red")
        console.print(line, soft_wrap=True)


def _cell(text: str) -> str:
    """Text as a CSV cell; bytes of a name that are not UTF-8 as ``\\udcff``, which can be printed."""
    return guard_cell(text.encode("utf-8", "backslashreplace").decode())


def show_summary(
    totals: Totals, facts: ModelFacts, bar: Bar, out: str | None, as_json: bool, quiet: bool
) -> None:
    """The short table at the end: on standard output with ``--out``, else on standard error."""
    if as_json and out is not None:
        print(json.dumps(_summary(totals, facts, bar, out)))
    elif not quiet:
        _print_summary(totals, facts.config, bar, out)
    if totals.passed_over and not quiet:
        print(passed_over_sentence(totals.passed_over), file=sys.stderr)


def _print_summary(totals: Totals, config: ModelConfig, bar: Bar, out: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=out is None, soft_wrap=True, highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for name in ("task", "mean", "lowest", "highest", "scale"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for task in config.task_names:
        count, total, least, most = totals.scores.get(task, [0, 0, 0, 0])
        values = (total / count, least, most) if count else ()
        cells = [f"{value:.3f}" for value in values] or ["-"] * 3
        table.add_row(task + "?" * (task in config.doubtful), *cells, "0 to 1")
    console.print(table)
    scored = totals.rows - totals.failed
    # Of rows scored before, nobody knows here how many failed; those that did took no time.
    fresh = 0 if totals.failed and bar.reused else scored - bar.reused
    rate = f", {fresh / bar.seconds:.2f} per second" if bar.seconds > 0 and fresh else ""
    before = f", {bar.reused:,} of them earlier" if bar.reused else ""
    console.print(f"{scored:,} of {counted(totals.rows, 'row')} scored{before}{rate}")
    if totals.no_prompt:
        about = " and ".join(config.about_prompt)
        without = f", so without {about}" if about else ""
        console.print(f"{totals.no_prompt:,} without a prompt{without}")
    if totals.cut:
        console.print(f"{totals.cut:,} with a prompt that is not read to its end (prompt_read)")
    if totals.unfamiliar:
        console.print(
            f"{totals.unfamiliar:,} unlike this model's training data (column unfamiliar); their scores "
            "mean little, see docs/limits.md"
        )
    if notice := notice_of(config):
        console.print(f"{'?: ' if config.doubtful else ''}{notice}")
    for error, count in totals.errors.items():
        console.print(Text(f"{count:,} x {printable(error)}", "red"))
    if out is not None:
        console.print(f"written to {printable(out)}")


def _summary(totals: Totals, facts: ModelFacts, bar: Bar, out: str) -> dict[str, Any]:
    return {
        "out": out,
        "rows": totals.rows,
        "scored": totals.rows - totals.failed,
        "failed": totals.failed,
        "reused": bar.reused,
        "without_prompt": totals.no_prompt,
        "prompts_cut": totals.cut,
        "unfamiliar": totals.unfamiliar,
        "passed_over": totals.passed_over,
        "seconds": round(bar.seconds, 3),
        "model": facts.fingerprint,
        "seed": facts.seed,
        "doubtful": list(facts.config.doubtful),
        "notice": notice_of(facts.config),
        "mean": {name: totals.mean(name) for name in totals.scores},
    }
