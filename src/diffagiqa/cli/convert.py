"""``diffagiqa convert``: the released checkpoint -> a model folder."""

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.data.wording import counted


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="The released checkpoint, .pth or .safetensors.")
    ],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    backbone: Annotated[
        str, typer.Option(help="Stable Diffusion 1.5 in diffusers format, folder or hub id.")
    ] = "stable-diffusion-v1-5/stable-diffusion-v1-5",
    revision: Annotated[
        str | None, typer.Option(help="Revision of a hub backbone, such as a commit.")
    ] = None,
    alignment: Annotated[
        bool,
        typer.Option(
            "--alignment",
            help="Convert the alignment head too, which the release never uses and may not have "
            "trained.",
        ),
    ] = False,
) -> None:
    """Convert the checkpoint of the paper's authors to a model folder.

    Example:
        diffagiqa convert released.pth models/released
    """
    from diffagiqa.convert import convert_released
    from diffagiqa.pretrained import save_model

    tasks = ("perception", "alignment") if alignment else ("perception",)
    result = convert_released(
        checkpoint, backbone=backbone, backbone_revision=revision, tasks=tasks
    )
    save_model(result.model, out)
    count = sum(parameter.numel() for parameter in result.model.parameters())
    typer.echo(f"{out}: {count / 1e6:.1f} M parameters for {', '.join(tasks)}")
    typer.echo(f"left out {counted(len(result.ignored), 'tensor')} that scoring never uses:")
    for prefix in sorted({name.rsplit(".", 1)[0].rsplit(".", 1)[0] for name in result.ignored}):
        typer.echo(f"  {prefix}")
