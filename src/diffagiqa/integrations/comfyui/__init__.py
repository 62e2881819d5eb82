"""ComfyUI nodes: load a model, score a batch, keep the best images.

Link this folder into ``ComfyUI/custom_nodes`` with ``diffagiqa`` installed in ComfyUI's environment;
``python -m diffagiqa.integrations.comfyui`` prints the folder. Nothing of ComfyUI is imported.
"""

from diffagiqa.integrations.comfyui.nodes import (
    NODE_CLASS_MAPPINGS,
    NODE_DISPLAY_NAME_MAPPINGS,
)

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
