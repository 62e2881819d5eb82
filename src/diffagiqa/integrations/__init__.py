"""The score in the interfaces people already use; each module needs only its own library.

``create_metric``: a callable in the manner of pyiqa. ``Reward``: a reward function for diffusion
fine-tuning. ``add_scores``: columns for a pandas or polars frame. ``ScoreSteps``: with a
diffusers pipeline. ``torchmetrics_metric.DiffAGIQAMetric``: needs ``diffagiqa[metrics]``. ``comfyui``: a
folder of nodes.
"""

from diffagiqa.integrations.frames import add_scores
from diffagiqa.integrations.generation import ScoreSteps
from diffagiqa.integrations.named_metric import NamedMetric, create_metric
from diffagiqa.integrations.reward import Reward

__all__ = ["NamedMetric", "Reward", "ScoreSteps", "add_scores", "create_metric"]
