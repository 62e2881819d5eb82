"""Options that several commands share: which model scores, and how it computes."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from diffagiqa.checks import MAX_SEED

model_option = partial(typer.Option, rich_help_panel="Model")

Model = Annotated[
    str | None, model_option(help="Model folder or hub id. Default: the model in the package.")
]
Revision = Annotated[str | None, model_option(help="Revision of a hub model, such as a commit.")]
Backbone = Annotated[str | None, model_option(help="Local copy of the model's backbone.")]
Device = Annotated[
    str | None, model_option(help="cpu, cuda, cuda:1 or mps. Default: the first GPU, else the CPU.")
]
Dtype = Annotated[str, model_option(help="auto, float32, bfloat16 or float16.")]
Seed = Annotated[int, model_option(min=0, max=MAX_SEED, help="Seed of the noise.")]
