"""What the operating system refuses: a full disk, a place without access."""

from __future__ import annotations

import contextlib
import os
import sys


def system_sentence(fault: OSError) -> str:
    """One sentence for what no command has named itself.

    >>> system_sentence(FileExistsError(17, "File exists", "runs/a"))
    'runs/a cannot be read or written (File exists); check its name, its access and the space there'
    """
    from diffagiqa.data.samples import printable, reason_of

    named = isinstance(fault.filename, (str, bytes)) and fault.filename
    shown = printable(os.fsdecode(fault.filename)) if named else "a file or the standard output"
    return (
        f"{shown} cannot be read or written ({reason_of(fault)}); "
        "check its name, its access and the space there"
    )


def give_up_output() -> None:
    """Where standard output takes no more, Python must not try again at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
