"""Prompts: found beside and in image files, told from everything else, and cleaned.

``find`` collects the ``texts`` of a file, ``formats`` and ``comfyui`` recognise the prompt in one, and
``cleaning`` makes it what is scored.
"""

from diffagiqa.data.prompts.cleaning import (
    MAX_PROMPT_CHARACTERS,
    clean_prompt,
    prompt_per_image,
)
from diffagiqa.data.prompts.find import (
    Prompt,
    find_prompt,
    prompt_from_image_bytes,
    read_sidecar,
    sidecar_prompt,
)
from diffagiqa.data.prompts.formats import recognise
from diffagiqa.data.prompts.texts import decode_text

__all__ = [
    "MAX_PROMPT_CHARACTERS",
    "Prompt",
    "clean_prompt",
    "decode_text",
    "find_prompt",
    "prompt_from_image_bytes",
    "prompt_per_image",
    "read_sidecar",
    "recognise",
    "sidecar_prompt",
]
