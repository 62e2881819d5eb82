"""``diffagiqa doctor``: what this installation has, what it lacks, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from diffagiqa.cli.doctor_model import BAD, GOOD, MISSING, NOTE, Check, model_checks
from diffagiqa.data.wording import counted

FOR_DEVELOPERS = ("test", "docs")  # extras that users of the package do not need
_NEEDED_DISK = 8e9  # bytes: Stable Diffusion 1.5 and room to work


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            help="Model or backbone to check, folder or hub id. Default: the model in the package."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check this installation: versions, device, number format, model, disk, and what is missing.

    Of a hub id only small files are fetched, no weights. Exit code: 0 if images can be scored, 1 if not,
    2 for wrong use.

    Examples:
        diffagiqa doctor
        diffagiqa doctor --model runs/mine/best --json
        diffagiqa doctor --model stabilityai/stable-diffusion-3.5-medium
    """
    from diffagiqa import __version__

    about = f"diffagiqa {__version__}, Python {platform.python_version()}, {platform.platform()}"
    extras = [name for name in _wanted() if name not in ("", *FOR_DEVELOPERS)]
    checks = [Check("version", GOOD, about), *_libraries(""), *_device(), *_models(model)]
    checks += [*_hub(model), *(check for extra in extras for check in _libraries(extra))]
    if as_json:
        typer.echo(json.dumps([check._asdict() for check in checks]))
    else:
        _show(checks)
    raise typer.Exit(1 if any(check.state == BAD for check in checks) else 0)


def _libraries(extra: str) -> list[Check]:
    """The libraries of an extra, "" for those always needed."""
    names = _wanted().get(extra, [])
    if not names:
        advice = "pip install . in its folder, so that pip keeps its libraries at versions that fit"
        return [
            Check("libraries", NOTE, "diffagiqa runs from a folder and is not installed", advice)
        ]
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if not version]
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if extra and missing:
        advice = f"pip install 'diffagiqa[{extra}]'"
        return [Check(f"extra {extra}", MISSING, f"no {', '.join(missing)}", advice)]
    checks = [Check(f"extra {extra}" if extra else "libraries", GOOD, installed)]
    if missing:
        advice = f"pip install {' '.join(missing)}"
        checks.append(Check("libraries", BAD, f"not installed: {', '.join(missing)}", advice))
    return checks


def _device() -> list[Check]:
    if not _version("torch"):
        return []
    import torch

    from diffagiqa.device import choose_device, choose_dtype

    device = choose_device()
    name, memory = platform.processor() or platform.machine(), _memory(device)
    if device.type == "cuda":
        name = torch.cuda.get_device_properties(device).name
    dtype = str(choose_dtype(device)).removeprefix("torch.")
    size = f", {memory / 1e9:.0f} GB" if memory else ""
    checks = [Check("device", GOOD, f"{device.type} ({name}{size}), large backbones in {dtype}")]
    if device.type == "cuda":
        checks.append(_kernels(device))
    if device.type == "cpu":
        if shutil.which("nvidia-smi"):
            advice = "install a CUDA build of PyTorch, see https://pytorch.org/get-started/locally"
            checks.append(Check("device", MISSING, "a GPU that this PyTorch cannot use", advice))
        cores = counted(os.cpu_count() or 1, "core")
        threads = counted(torch.get_num_threads(), "thread")
        checks.append(Check("threads", GOOD, f"{threads} of {cores}"))
    return checks


def _kernels(device: Any) -> Check:
    from diffagiqa.accel.fused import fault_of_kernels

    fault = fault_of_kernels(device)
    if not fault:
        return Check("kernels", GOOD, f"fused ones, built by Triton {_version('triton')}")
    advice = "scoring works and takes twice as long; install triton and a C compiler"
    return Check("kernels", NOTE, f"PyTorch's own only: {fault}", advice)


def _models(name: str | None) -> list[Check]:
    if not _version("torch"):
        return [Check("model", BAD, "not usable", "pip install torch")]
    from diffagiqa.device import choose_device, choose_dtype

    device = choose_device()
    return list(model_checks(name, choose_dtype(device), _memory(device)))


def _hub(model: str | None) -> list[Check]:
    """The hub cache: the usual backbone, where it holds that and no model is named, and how much room."""
    if not _version("huggingface_hub"):
        return []
    from huggingface_hub.constants import HF_HUB_CACHE

    from diffagiqa.model.config import ModelConfig

    backbone = ModelConfig().backbone
    cache = Path(HF_HUB_CACHE).absolute()
    there = next(folder for folder in (cache, *cache.parents) if os.path.exists(folder))
    free = shutil.disk_usage(there).free
    small = free < _NEEDED_DISK
    advice = "Stable Diffusion 1.5 and room to work need 8 GB" if small else ""
    room = f"{free / 1e9:.0f} GB free for the hub cache, {cache}"
    checks = [Check("disk", NOTE if small else GOOD, room, advice)]
    # The package's model needs nothing from there.
    if model is None and (cache / f"models--{backbone.replace('/', '--')}").is_dir():
        checks.insert(0, Check("backbone", GOOD, f"{backbone} in {cache}"))
    return checks


def _wanted() -> dict[str, list[str]]:
    """The libraries of every extra, "" for those always needed, as the installed package names them."""
    try:
        lines = metadata.requires("diffagiqa") or []
    except metadata.PackageNotFoundError:
        return {}
    libraries: dict[str, list[str]] = {}
    for line in lines:
        extra = re.search(r"""extra == ['"](.+?)['"]""", line)
        libraries.setdefault(extra[1] if extra else "", []).append(re.split(r"[^\w.-]", line)[0])
    return libraries


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory(device: Any) -> int:
    """Bytes on a GPU, else of the machine."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _show(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    looks = {GOOD: "green", NOTE: "yellow", MISSING: "yellow", BAD: "bold red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        text = Text(check.found)
        if check.advice:
            text.append(f"\n{check.advice}", style="dim")
        table.add_row(Text(check.state, looks[check.state]), check.topic, text)
    Console().print(table)
