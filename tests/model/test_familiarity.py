"""The distance to the training images, against its definition, and its limit."""

import numpy as np
import pytest
import torch
from conftest import small_config

from diffagiqa import Scorer
from diffagiqa.backbones.base import Prompts
from diffagiqa.model.familiarity import Familiarity, describe

PAIRS = [
    (torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(seed)), "a fox")
    for seed in (1, 2)
]


def prompts_of(scorer: Scorer) -> Prompts:
    return Prompts.stack(scorer.prompts([prompt for _, prompt in PAIRS]))


def sample(count: int, seed: int) -> torch.Tensor:
    """Correlated numbers, (count, 12), of uneven scale."""
    mixing = torch.randn(12, 12, generator=torch.Generator().manual_seed(0))
    normal = torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))
    return normal @ mixing * torch.logspace(-2, 2, 12) + 5


def test_the_distance_is_that_of_probabilistic_pca():
    data = sample(500, 1)
    part = Familiarity(["maps"], 12, directions=4)
    part.learn(data, sample(100, 2))
    mean, unit = data.double().mean(0).numpy(), data.double().std(0).numpy() + 1e-3
    standard = (data.double().numpy() - mean) / unit
    values, vectors = np.linalg.eigh(standard.T @ standard / len(data))
    rest = values[:8].mean()
    covariance = vectors[:, 8:] @ np.diag(values[8:]) @ vectors[:, 8:].T + rest * np.eye(12)
    points = (sample(50, 3).double().numpy() - mean) / unit
    expected = np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points) / 12
    np.testing.assert_allclose(part.distance(sample(50, 3)).numpy(), expected, rtol=1e-3)


def test_one_in_a_hundred_like_them_lies_above_one():
    part = Familiarity(["maps"], 12, directions=4)
    part.learn(sample(2000, 1), sample(1000, 2))
    above = (part.distance(sample(4000, 3)) / part.limit > 1).float().mean()
    assert 0.002 < above < 0.03  # 1 %; 40 of 4000, and the limit rests on 10 of 1000
    strange = sample(100, 4).flip(1)
    assert (part.distance(strange) / part.limit > 1).float().mean() > 0.95


def test_maps_are_described_by_means_and_deviations():
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(5))
    found = describe([maps]).numpy()
    expected = np.concatenate(
        [maps.numpy().mean((2, 3)), 0.5 * np.log(maps.numpy().var((2, 3)) + 1e-6)], axis=1
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    part = Familiarity(["b", "a"], 12)
    assert part({"a": maps, "b": maps + 1}).shape == (2,)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="too few"):
        Familiarity(["maps"], 12, directions=12).learn(sample(10, 1), sample(10, 2))


def test_a_model_says_how_unlike_its_training_images_an_image_is():
    config = small_config(
        familiar_features=("up_blocks.1.attentions.0",), familiar_channels=(128,), noise_draws=2
    )
    scorer = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    assert [score.unfamiliar for score in scorer.score_prepared(PAIRS)] != ["", ""]
    part = scorer.model.familiarity
    part.unit.fill_(1e6)  # every image is near
    assert [score.unfamiliar for score in scorer.score_prepared(PAIRS)] == ["", ""]
    output = scorer.runner(torch.stack([pixels for pixels, _ in PAIRS]), prompts_of(scorer))
    draws = scorer.runner.intermediates(
        torch.stack([pixels for pixels, _ in PAIRS]), prompts_of(scorer), part.names, "features"
    )["features"]
    each = [part({name: draw[name][:2] for name in part.names}) for draw in draws]
    torch.testing.assert_close(output.distance, torch.stack(each).mean(0))


def test_an_image_smaller_than_all_trained_on_is_unfamiliar():
    config = small_config(prompting="none", fit="native", image_size=192, smallest_size=160)
    scorer = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    images = [np.zeros((side, side, 3), np.uint8) for side in (192, 128)]
    large, small = (scorer(image, "a fox") for image in images)
    assert (large.unfamiliar, small.unfamiliar) == ("", "size")
