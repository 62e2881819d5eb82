"""Print the folder to link into ``ComfyUI/custom_nodes``."""

from pathlib import Path

print(Path(__file__).parent)
