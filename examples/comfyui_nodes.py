"""Run the graph of comfyui_workflow.json without ComfyUI; two drawn images stand for its file."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diffagiqa.assets import demo_images
from diffagiqa.integrations.comfyui import NODE_CLASS_MAPPINGS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="")
options = parser.parse_args()

graph = json.loads((Path(__file__).parent / "comfyui_workflow.json").read_text(encoding="utf-8"))
arrays = [np.array(Image.open(image.path).convert("RGB")) for image in demo_images()[:2]]
images = torch.stack([torch.from_numpy(array) for array in arrays]) / 255  # (B, H, W, 3)


def result(number: str) -> tuple:
    """What a node gives; those it takes from run first. A link is [number of a node, output]."""
    name, inputs = graph[number]["class_type"], graph[number]["inputs"]
    if name == "LoadImage":
        return (images,)
    given = {k: result(v[0])[v[1]] if isinstance(v, list) else v for k, v in inputs.items()}
    if name == "DiffAGIQALoadModel" and options.model:
        given["model"] = options.model
    if name == "PreviewImage":
        return (given["images"],)
    node = NODE_CLASS_MAPPINGS[name]
    found = getattr(node(), node.FUNCTION)(**given)
    return found["result"] if isinstance(found, dict) else found


print(result("3")[2])
print("the best image has the shape", tuple(result("5")[0].shape))
