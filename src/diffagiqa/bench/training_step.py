"""One step of the full regime: forward, loss, backward to the prompters and heads, in its own process.

python -m diffagiqa.bench.training_step MODEL DEVICE DTYPE CHECKPOINT KERNELS BATCH REPEATS
"""

from __future__ import annotations

import json
import subprocess
import sys
import time


def measure_step(
    model: str, device: str, dtype: str, checkpoint: bool, kernels: bool, batch: int, repeats: int
) -> dict[str, float]:
    """Seconds per image and peak memory (GB) of training steps; ``kernels``: with the fused ones."""
    numbers = [str(int(value)) for value in (checkpoint, kernels, batch, repeats)]
    arguments = [model, device, dtype, *numbers]
    done = subprocess.run(
        [sys.executable, "-m", "diffagiqa.bench.training_step", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"failed": float(done.returncode)}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main(
    model: str, device: str, dtype: str, checkpoint: str, kernels: str, batch: str, repeats: str
) -> None:
    import torch

    from diffagiqa.accel.fused import enable_fused
    from diffagiqa.backbones.folder import load_backbone
    from diffagiqa.bench.memory import peak_resident
    from diffagiqa.bench.peak import synchronise
    from diffagiqa.device import choose_dtype
    from diffagiqa.model.scoring import scoring_noise
    from diffagiqa.pretrained import load_model, locate

    place = torch.device(device)
    located = locate(model)
    trained, config = load_model(located.folder), located.config
    backbone = load_backbone(
        str(located.backbone),
        config.unet_names,
        device=place,
        dtype=choose_dtype(place, dtype, exact=config.needs_float32),
    )
    backbone.checkpoint_activations = bool(int(checkpoint))
    enable_fused(backbone, bool(int(kernels)))
    trained.to(place).train()
    size, count = config.image_size, int(batch)
    images = torch.rand(count, 3, size, size, device=place)
    prompts = backbone.encode_prompts(["a red fox"] * count)
    noise = scoring_noise(config, backbone, 0)
    autocast = torch.autocast(place.type, torch.bfloat16, enabled=backbone.dtype == torch.bfloat16)
    times = []
    for _ in range(int(repeats) + 1):
        synchronise(place)
        began = time.perf_counter()
        with autocast:
            scores = trained(images, prompts, backbone, noise)
            loss = sum((value.float() - 0.5).square().mean() for value in scores.values())
        loss.backward()  # type: ignore[union-attr]
        trained.zero_grad(set_to_none=True)
        synchronise(place)
        times.append(time.perf_counter() - began)
    found = {"seconds": sorted(times[1:])[len(times[1:]) // 2] / count}
    found["peak_gb"] = (
        torch.cuda.max_memory_allocated(place) if place.type == "cuda" else peak_resident()
    ) / 1e9
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:8])
