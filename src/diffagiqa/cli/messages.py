"""What a command says beside its results."""

from __future__ import annotations

import os

import typer


def say_error(text: str) -> None:
    """On standard error; red on a terminal, unless NO_COLOR is set (no-color.org)."""
    colour = False if os.environ.get("NO_COLOR") else None  # None: on terminals alone
    typer.secho(text, fg="red", err=True, color=colour)
