"""``diffagiqa pretrain``: train the package's own small text-to-image diffusion model from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.wording import counted


def pretrain(
    out: Annotated[Path, typer.Argument(help="Folder of the run; the model is backbone/ in it.")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Real pictures: a folder with data.csv (columns name and prompt) and images/."
        ),
    ] = None,
    exclude_prompts: Annotated[
        Path | None,
        typer.Option(
            help="Prompts whose pictures are left out: a file with one per line, or a list of this "
            "package, such as agiqa-3k-unseen."
        ),
    ] = None,
    made_images: Annotated[
        int, typer.Option(help="Synthetic pictures to train on, too.", min=0)
    ] = 9000,
    minutes_autoencoder: Annotated[
        float, typer.Option(help="Minutes to train the autoencoder for.")
    ] = 20.0,
    minutes_denoiser: Annotated[
        float, typer.Option(help="Minutes to train text encoder and denoiser for.")
    ] = 40.0,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the weights, crops and noise.")
    ] = 0,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: PyTorch's own choice.", min=1)
    ] = None,
    device: options.Device = None,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the U-Net: takes minutes to start, and pays on some CPUs only.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in OUT from its last checkpoint.")
    ] = False,
) -> None:
    """Train a small text-to-image diffusion model from scratch, on pictures and their prompts.

    First the autoencoder is trained, then text encoder and denoiser together. Ratings are not read.

    Example:
        diffagiqa pretrain runs/backbone --images agiqa-3k
    """
    import os
    from dataclasses import replace

    import torch

    from diffagiqa.device import choose_device
    from diffagiqa.errors import ConfigError
    from diffagiqa.pretrain.config import PretrainConfig
    from diffagiqa.pretrain.run import gather
    from diffagiqa.pretrain.run import pretrain as train
    from diffagiqa.training.config import read_prompts

    if images is None and made_images == 0:
        raise ConfigError("there is nothing to train on; give --images or --made-images above 0")
    if min(minutes_autoencoder, minutes_denoiser) <= 0:
        raise ConfigError("a stage of no minutes trains nothing; give minutes above 0")
    if threads is not None:
        torch.set_num_threads(threads)
    if "WORLD_SIZE" in os.environ:  # started by torchrun: gradients are averaged over processes
        torch.distributed.init_process_group("gloo")
    config = PretrainConfig()
    config = replace(
        config,
        autoencoder=replace(config.autoencoder, minutes=minutes_autoencoder),
        denoiser=replace(config.denoiser, minutes=minutes_denoiser, compile=compile),
        made_images=made_images,
        seed=seed,
    )
    exclude = read_prompts(str(exclude_prompts)) if exclude_prompts is not None else []
    real, made = gather(images, config, exclude)
    typer.echo(f"{counted(len(real), 'real picture')}, {counted(len(made), 'synthetic picture')}")
    folder = train(out, real, made, config, resume=resume, device=choose_device(device))
    typer.echo(f"backbone in {folder}")
