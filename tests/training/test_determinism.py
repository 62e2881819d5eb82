"""The dropout mask is a function of seed, step and layer, and of nothing else."""

from __future__ import annotations

import torch
from torch import nn

from diffagiqa.backbones.noise import draw_noise
from diffagiqa.training.determinism import SCORING_DRAWS, Step, seed_dropout, set_step


def test_noise_of_a_step_is_no_scoring_draw_and_each_pictures_own() -> None:
    (one,) = Step(seed=1, number=0, total=1, start=0, stop=1).noise((4, 2, 2), "mean").diffusion
    for draw in range(SCORING_DRAWS):
        assert not torch.equal(one, draw_noise(1, draw, (4, 2, 2), "mean").diffusion[0])
    whole = Step(seed=1, number=3, total=5, start=0, stop=5).noise((4, 2, 2), "sample")
    assert whole.posterior is not None
    assert len(whole.posterior.unique(dim=0)) == len(whole.diffusion.unique(dim=0)) == 5
    part = Step(seed=1, number=3, total=5, start=2, stop=4).noise((4, 2, 2), "sample")
    assert torch.equal(part.posterior, whole.posterior[2:4])  # type: ignore[arg-type]
    assert torch.equal(part.diffusion, whole.diffusion[2:4])


def test_both_passes_over_a_picture_lose_the_same_channels() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.Dropout(0.5)).train()
    seed_dropout(model)
    seen: list[torch.Tensor] = []
    model[1].register_forward_hook(lambda part, given, result: seen.append(result))
    ones = torch.ones(2 * 6, 20, 3, 3)
    set_step(model, Step(seed=1, number=4, total=6, start=0, stop=6))
    whole = model(ones)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0], seen[0][..., :1, :1].expand_as(seen[0]))  # whole channels
    assert torch.equal(whole[:6], whole[6:])
    assert not torch.equal(seen[0] * 2, whole)  # the second layer draws its own
    set_step(model, Step(seed=1, number=4, total=6, start=2, stop=5))
    assert torch.equal(model(ones[:6]), whole[:6][[2, 3, 4, 2, 3, 4]])  # a process's own rows
    set_step(model, Step(seed=1, number=5, total=6, start=0, stop=6))
    assert not torch.equal(model(ones), whole)
    assert torch.equal(model.eval()(ones), ones)
