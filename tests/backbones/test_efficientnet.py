"""EfficientNet-Lite0 against vectors of the original network; its padding against TensorFlow's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diffagiqa.backbones.efficientnet import CHANNELS, EfficientNetLite, _conv, same_kernel
from diffagiqa.backbones.tensors import read_tensors

VECTORS = Path(__file__).with_name("efficientnet_lite0.npz")
WEIGHTS = Path(__file__).parents[2] / "src/diffagiqa/weights/compact/image.safetensors"


@pytest.mark.parametrize("kernel", [3, 5])
def test_stride_two_pads_as_tensorflow_does(kernel):
    generator = torch.Generator().manual_seed(kernel)
    maps = torch.randn(2, 4, 10, 14, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 1, kernel, kernel, generator=generator, dtype=torch.float64)
    before = (kernel - 2) // 2  # TensorFlow: kernel - stride in all, the larger half after
    padded = F.pad(maps, (before, kernel - 2 - before) * 2)
    conv = _conv(4, 4, kernel, 2, groups=4).double().requires_grad_(False)
    conv.weight.copy_(same_kernel(weight, 2))
    conv.bias.zero_()
    torch.testing.assert_close(conv(maps), F.conv2d(padded, weight, stride=2, groups=4))


def test_every_stage_agrees_with_the_original():
    network = EfficientNetLite().eval().requires_grad_(False)
    network.load_state_dict(dict(read_tensors(WEIGHTS, torch.float32)))
    vectors = np.load(VECTORS)
    image = torch.from_numpy(vectors["image"]).float()[None]  # (1,3,96,160), 0..255
    maps = network(image / 127.5 - 1)
    assert list(maps) == list(CHANNELS)
    for name, found in maps.items():
        assert found.shape[1] == CHANNELS[name]
        step = 4 if name in ("stem", "1", "2") else 1
        ours = found[0, ::8, ::step, ::step].numpy()
        expected = vectors[name]
        # The weights are stored in half precision, 2^-11 relative; the original's were not.
        error = np.abs(ours - expected).mean() / np.abs(expected).mean()
        assert error < 4e-3, name


def test_nothing_after_the_last_stage_is_computed():
    network = EfficientNetLite().eval()
    network.stages[5] = network.head = None
    maps = network(torch.zeros(1, 3, 32, 64), last="5")
    assert list(maps) == ["stem", "1", "2", "3", "4", "5"]
    assert maps["5"].shape == (1, 112, 2, 4)
