"""The ``diffagiqa`` command: every sub-command is a light module; heavy imports wait for the call."""

import sys

import typer

from diffagiqa.cli.convert import convert
from diffagiqa.cli.evaluate import evaluate
from diffagiqa.errors import DiffAGIQAError

app = typer.Typer(
    name="diffagiqa",
    help="How good is an AI-generated image, and does it show what its prompt asked for?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(evaluate)
app.command()(convert)


def main() -> None:
    """Run the command line; a user's mistake becomes one sentence and exit code 2."""
    try:
        app()
    except DiffAGIQAError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
