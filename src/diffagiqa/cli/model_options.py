"""Flags of the commands that score any number of pictures: which model, and how it computes."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "Model"

Model = Annotated[
    str | None,
    typer.Option(
        help="Model folder or hub id. Default: the model in the package.", rich_help_panel=PANEL
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="Pinned revision of a hub model.", rich_help_panel=PANEL)
]
Backbone = Annotated[
    str | None, typer.Option(help="Local copy of the model's backbone.", rich_help_panel=PANEL)
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 or mps.", rich_help_panel=PANEL)
]
Dtype = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=PANEL)
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.", rich_help_panel=PANEL)
]
