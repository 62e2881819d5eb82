"""The ``diffagiqa`` command: every sub-command is a light module; heavy imports wait for the call."""

import sys

import typer

from diffagiqa.cli.convert import convert
from diffagiqa.cli.demo import demo
from diffagiqa.cli.evaluate import evaluate
from diffagiqa.cli.score import score
from diffagiqa.cli.serve import serve
from diffagiqa.cli.synth import synth
from diffagiqa.errors import DiffAGIQAError

app = typer.Typer(
    name="diffagiqa",
    help="How good is an AI-generated image, and does it show what its prompt asked for?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(score)
app.command()(serve)
app.command()(evaluate)
app.command()(convert)
app.command()(synth)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; a user's mistake is one sentence and 2."""
    try:
        app(args=arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except DiffAGIQAError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        return 2
    return 0


def main() -> None:
    sys.exit(run())
