"""``diffagiqa convert``: a published checkpoint -> a model folder."""

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.data.wording import counted


def convert(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="The released checkpoint, .pth or .safetensors; or a folder or hub id of DiNa-LRM."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Its backbone in diffusers format, folder or hub id. Default: the one it was trained on."
        ),
    ] = None,
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
    """Convert a published checkpoint, the paper's or DiNa-LRM's, to a model folder.

    Examples:
        diffagiqa convert released.pth models/released
        diffagiqa convert liuhuohuo/DiNa-LRM-SD35M-12layers models/dina
    """
    from diffagiqa.backbones.hub import is_hub_id
    from diffagiqa.convert import SD15, convert_dina, convert_released
    from diffagiqa.pretrained import save_model

    if Path(checkpoint).is_dir() or (is_hub_id(checkpoint) and not Path(checkpoint).exists()):
        model = convert_dina(checkpoint, out, backbone=backbone, backbone_revision=revision)
        count = sum(parameter.numel() for parameter in model.parameters())
        typer.echo(f"{out}: {count / 1e6:.1f} M parameters for preference, and an adapter")
        return
    tasks = ("perception", "alignment") if alignment else ("perception",)
    result = convert_released(
        checkpoint, backbone=backbone or SD15, backbone_revision=revision, tasks=tasks
    )
    save_model(result.model, out)
    count = sum(parameter.numel() for parameter in result.model.parameters())
    typer.echo(f"{out}: {count / 1e6:.1f} M parameters for {', '.join(tasks)}")
    typer.echo(f"left out {counted(len(result.ignored), 'tensor')} that scoring never uses:")
    for prefix in sorted({name.rsplit(".", 1)[0].rsplit(".", 1)[0] for name in result.ignored}):
        typer.echo(f"  {prefix}")
