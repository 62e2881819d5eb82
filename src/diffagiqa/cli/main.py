"""The ``diffagiqa`` command: every sub-command is a light module; heavy imports wait for the call."""

import io
import sys
import warnings
from typing import Annotated

import typer

from diffagiqa import __version__
from diffagiqa.cli.ablate import ablate
from diffagiqa.cli.app import app as web_page
from diffagiqa.cli.bench import bench
from diffagiqa.cli.compare import compare
from diffagiqa.cli.convert import convert
from diffagiqa.cli.crossdb import crossdb
from diffagiqa.cli.data import app as data
from diffagiqa.cli.demo import demo
from diffagiqa.cli.doctor import doctor
from diffagiqa.cli.evaluate import evaluate
from diffagiqa.cli.explain import explain
from diffagiqa.cli.faults import give_up_output, system_sentence
from diffagiqa.cli.help import Command, Group, help_text
from diffagiqa.cli.messages import say_error
from diffagiqa.cli.rank import rank
from diffagiqa.cli.report import report
from diffagiqa.cli.reproduce import reproduce
from diffagiqa.cli.score import score
from diffagiqa.cli.serve import serve
from diffagiqa.cli.tag import tag
from diffagiqa.cli.train import train
from diffagiqa.errors import DiffAGIQAError

app = typer.Typer(name="diffagiqa", cls=Group, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diffagiqa {__version__}")
        raise typer.Exit


def diffagiqa(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """How good is an AI-generated image, and does it show what its prompt asked for?

    Exit codes of all commands: 0 done, 1 some rows failed or something is missing, 2 wrong use.

    Examples:
        diffagiqa demo
        diffagiqa score fox.png --prompt "a red fox"
        diffagiqa score renders/ --out scores.csv
        diffagiqa report scores.csv
        diffagiqa doctor
    """


app.callback(cls=Group, help=help_text(diffagiqa))(diffagiqa)

PANELS = {
    "Score": (demo, score, serve),
    "Look": (web_page, report, rank, compare, tag, explain),
    "Train and evaluate": (train, evaluate, reproduce, ablate, crossdb),
    "Make": (convert,),
    "This installation": (doctor, bench),
}
for panel, commands in PANELS.items():
    for command in commands:
        name = command.__name__.replace("_", "-")
        app.command(name, cls=Command, help=help_text(command), rich_help_panel=panel)(command)
for entry in data.registered_commands:
    if entry.callback is not None:
        entry.help, entry.cls = help_text(entry.callback), Command
app.add_typer(data, name="data", rich_help_panel="Train and evaluate")


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; a user's mistake is one sentence and 2."""
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"
    try:
        app(args=arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except DiffAGIQAError as error:
        say_error(f"error: {error}")
        return 2
    except OSError as error:  # the disk or the access is the user's to mend, not a fault of ours
        say_error(f"error: {system_sentence(error)}")
        give_up_output()
        return 2
    return 0


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # not every terminal has a prompt's letters
    sys.exit(run())


if __name__ == "__main__":
    main()
