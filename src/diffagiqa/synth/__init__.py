"""Synthetic pictures: their scenes and captions, their defects, and their simulated observers."""

from diffagiqa.synth.captions import Caption, Claim, caption, describe, holds, violated
from diffagiqa.synth.render import Rendering, render, render_layers
from diffagiqa.synth.samples import MadeSample, made_sample
from diffagiqa.synth.scene import Entity, Relation, Scene, sample_scene

__all__ = [
    "Caption",
    "Claim",
    "Entity",
    "MadeSample",
    "Relation",
    "Rendering",
    "Scene",
    "caption",
    "describe",
    "holds",
    "made_sample",
    "render",
    "render_layers",
    "sample_scene",
    "violated",
]
