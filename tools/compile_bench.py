"""What torch.compile makes of the VAE encoder, against PyTorch's own modules and the fused kernels.

python tools/compile_bench.py [--batch 8] [--size 512]: Stable Diffusion's sizes, random weights, bfloat16
on a GPU and float32 elsewhere; the forward pass, and a forward and backward pass to the picture.
"""

from __future__ import annotations

import argparse
import copy
import time
from typing import Any

import torch

from diffagiqa.accel.fused import fuse_where_supported
from diffagiqa.backbones.sizes import sd15_vae
from diffagiqa.bench.peak import median_seconds, synchronise
from diffagiqa.device import choose_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--widths", type=int, nargs=4, default=(128, 256, 512, 512))
    options = parser.parse_args()
    device = choose_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    vae = sd15_vae(tuple(options.widths))
    plain = vae.encoder.to(device, dtype).to(memory_format=torch.channels_last)
    plain = plain.requires_grad_(False).eval()
    fused = copy.deepcopy(plain)
    fuse_where_supported(fused, device)
    images = torch.rand(options.batch, 3, options.size, options.size, device=device, dtype=dtype)
    print(f"{device}, {dtype}, batch of {options.batch}; ms per image")
    print(
        f"{'encoder':<10}{'first':>10}{'forward':>10}{'first step':>12}{'step':>10}{'peak GB':>10}"
    )
    for name, encoder in (
        ("plain", plain),
        ("fused", fused),
        ("compiled", torch.compile(plain, dynamic=False)),
    ):
        print(f"{name:<10}{measured(encoder, images, device)}", flush=True)


def measured(encoder: Any, images: torch.Tensor, device: torch.device) -> str:
    """First calls in seconds, medians of later ones per image, and a step's peak memory."""

    def forward() -> None:
        with torch.no_grad():
            encoder(images)

    def step() -> None:
        given = images.detach().requires_grad_(True)
        encoder(given).float().square().mean().backward()

    cells = []
    for run, width in ((forward, 10), (step, 12)):
        synchronise(device)
        began = time.perf_counter()
        run()
        synchronise(device)
        cells.append(f"{time.perf_counter() - began:{width - 2}.1f} s")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        cells.append(f"{1e3 * median_seconds(run, device, 3) / len(images):10.2f}")
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
    return "".join(cells) + f"{peak:10.1f}"


if __name__ == "__main__":
    main()
