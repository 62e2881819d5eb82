"""The format of a text, told from its content, and the positive prompt in it.

sd-parsers (PyPI, MIT) was tried in the place of this and of ``comfyui``: version 0.6 knows five
generators, PNG texts and one EXIF tag in one encoding, asks ComfyUI's files for both of their graphs,
and sets no bound to what it unpacks. Little would be left of it, so nothing is built on it.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from diffagiqa.data.prompts.comfyui import graph_prompt, is_graph


class Recognised(NamedTuple):
    """A prompt in a known format.

    Attributes:
        prompt: the positive prompt as its generator wrote it; may be empty.
        format: name of the format, as docs/inputs.md lists them.
        ambiguous: the text leaves open whether this is the prompt of this image.
        rank: 0 where the text states the prompt, 1 for a graph that leads to it, 2 for an editor's graph.
    """

    prompt: str
    format: str
    ambiguous: bool = False
    rank: int = 0


def recognise(text: str, depth: int = 3) -> Recognised | None:
    """The prompt in a text of a known format, or None; the text may hold another one, ``depth`` times.

    >>> recognise("a cat\\nNegative prompt: blurry\\nSteps: 20, Sampler: Euler a, Seed: 1")
    Recognised(prompt='a cat', format='a1111', ambiguous=False, rank=0)
    >>> recognise("OLYMPUS DIGITAL CAMERA")
    """
    text = text.strip("\0\ufeff \t\r\n")
    value, end = _json(text)
    if value is not None and ((inner := _from_json(value, depth)) or not text[end:].strip("\0 \n")):
        return inner
    return _infotext(text) or _command(text) or _midjourney(text)


def _json(text: str) -> tuple[Any, int]:
    """The JSON that a text begins with, also behind a word such as "Prompt:", and where it ends."""
    start = re.match(r"(?:[A-Za-z_ ]{1,20}:\s*)?(?=[\[{\"])", text)
    if not start or not re.search(r"[\]}\"]", text):
        return None, 0
    try:
        value, end = json.JSONDecoder().raw_decode(text, start.end())
    except (ValueError, RecursionError):
        return None, 0
    is_json = isinstance(value, (dict, list)) or _json(str(value))[0] is not None
    return (value, end) if is_json else (None, 0)


# --- AUTOMATIC1111's text, which most others write too

_NEGATIVE = re.compile(r"(?i)negative(?:[ _]?prompt)? *:")
_SAMPLING = frozenset(("steps", "sampler", "seed", "scheduler", "cfg scale", "guidance scale"))
_KNOWN = _SAMPLING | {"size", "model", "model hash", "schedule type", "clip skip", "version"}


def _settings(line: str) -> set[str]:
    """The names on a line of settings, in small letters; none for a line of anything else."""
    parts = re.sub(r'"(?:\\.|[^\\"])*"', "", line[:10_000]).split(",")
    pairs = [part.partition(":") for part in parts]
    names = {name.strip().casefold() for name, colon, _ in pairs if colon and len(name) <= 40}
    # Three, as AUTOMATIC1111 has it; two where there is nothing else ("Steps: 3 wide stone ones, mossy"
    # is a prompt); and a camera has a model and a size, too.
    short = re.match(r"\s*Steps: *\d+ *,", line) and len(names) == len(parts)
    known = pairs[0][1] and len(_KNOWN & names) >= 2 and _SAMPLING & names
    return names if known and (short or len(names) >= 3) else set()


def _infotext(text: str) -> Recognised | None:
    lines = text.splitlines()
    if len(lines) == 1:  # some sites turn line breaks into spaces
        lines = re.split(r"\s(?=Negative prompt: |Steps: \d+, [A-Z])", text)
    names: set[str] = set()
    end = None
    for number in reversed(range(max(0, len(lines) - 100), len(lines))):  # few write behind it
        if names := _settings(lines[number]):
            end = number
            break
    if end is None and (labelled := _labelled(lines)):
        return labelled
    body = lines[:end]
    negative = next((n for n, line in enumerate(body) if _NEGATIVE.match(line.strip())), None)
    if end is None and negative is None:
        return None
    source = "a1111"
    if "guidance scale" in names and negative is None:  # Draw Things: "-" before what is unwanted
        negative = next((n for n, line in enumerate(body) if n and line.startswith("-")), None)
        source = "drawthings"
    prompt = _unlabelled("\n".join(body[:negative]))
    lost_break = bool(_NEGATIVE.search(prompt))
    return Recognised(prompt, source, lost_break)


_LABEL = re.compile(r"(?i)([a-z][a-z ]{1,30}): ")
_LABELS = _KNOWN | {"width", "height", "stable diffusion model"}


def _labelled(lines: list[str]) -> Recognised | None:
    """One setting a line, with or without a label before the prompt: Easy Diffusion's text file."""
    labels = [label[1].casefold() if (label := _LABEL.match(line)) else "" for line in lines[:1000]]
    settings = [n for n, label in enumerate(labels) if label in _LABELS]
    if len({labels[n] for n in settings}) < 2 or not _SAMPLING.intersection(labels):
        return None
    start = labels.index("prompt") if "prompt" in labels else 0
    ends = [*settings, *(n for n, label in enumerate(labels) if label == "negative prompt")]
    end = min((n for n in ends if n > start or labels[start] != "prompt"), default=len(lines))
    return Recognised(_unlabelled("\n".join(lines[start:end])), "easydiffusion")


def _unlabelled(prompt: str) -> str:
    return re.sub(r"(?i)^(?:positive|(?:positive[ _]?)?prompt) *: *", "", prompt.strip())


# --- switches behind the prompt


def _command(text: str) -> Recognised | None:
    """InvokeAI's first format: "a cat [blurry]" -s 50 -S 1 -W 512."""
    switches = [switch.start() for switch in re.finditer(r"\s-[sSWHCA] ?\d", text)]
    quoted = text.startswith('"')
    if len(switches) < (2 if quoted else 3):
        return None
    prompt = text[1:].partition('"')[0] if quoted else text[: switches[0]]
    return Recognised(_without_negative(prompt), "invokeai")


def _without_negative(prompt: str) -> str:
    """Before version 3, InvokeAI kept the negative prompt in square brackets."""
    return re.sub(r" ?\[[^\[\]]*\]", "", prompt)


_DASH = "[\u2014\u2013]"  # phones make one of two
_SWITCH = re.compile(
    rf"\s(?:--[a-z]+\b|{_DASH}(?:ar|aspect|v|niji|s|stylize|style|c|chaos|q|no|iw|[sco]ref|seed|w|tile|p)\b)"
)
_OWN_SWITCH = re.compile(rf"\s(?:--|{_DASH})((?:ar|v|stylize|s|style|chaos|q)\s+\S|niji\b)")
_JOB = re.compile(r"Job ID: *[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _midjourney(text: str) -> Recognised | None:
    """Words, then switches, then the number of the job; addresses of images may stand before."""
    prompt, jobs = _JOB.subn("", text[:200_000])
    prompt, *switches = _SWITCH.split(" " + prompt, maxsplit=1)
    if not jobs and not (switches and _OWN_SWITCH.search(text)):
        return None
    return Recognised(re.sub(r"^(?:\s*<?https?://\S+)+", "", prompt).strip(" ,"), "midjourney")


# --- JSON

_NESTED = {"sui_image_params": "swarmui", "extraMetadata": "civitai", "image": "invokeai"}
_HOLDERS = (
    "parameters", "Comment", "UserComment", "metadata", "meta", "params", "generation_data", "prompt",
    "invokeai_metadata", "sd-metadata", "workflow", "extra_pnginfo", "extra_data", "extra", "Description",
)  # fmt: skip
_FORMATS = {  # a key that no other format has -> its name
    "v4_prompt": "novelai", "uc": "novelai", "positive_prompt": "invokeai",
    "metadata_scheme": "fooocus", "full_prompt": "fooocus", "real_prompt": "fooocus",
    "num_inference_steps": "easydiffusion",
}  # fmt: skip


def _from_json(value: Any, depth: int) -> Recognised | None:
    if isinstance(value, str):
        return recognise(value, depth - 1) if depth else None
    if not isinstance(value, dict):
        return None
    for key, name in _NESTED.items():  # whose content goes before what stands beside it
        if depth and key in value and (inner := _from_json(value[key], depth - 1)):
            prompt = _without_negative(inner.prompt) if name == "invokeai" else inner.prompt
            return inner._replace(prompt=prompt, format=name)
    if (stated := _stated(value)) is not None:
        names = (name for key, name in _FORMATS.items() if key in value)
        return Recognised(
            stated, "drawthings" if {"c", "uc"} <= value.keys() else next(names, "json")
        )
    if is_graph(value):
        if (followed := graph_prompt(value)) is None:
            return None
        prompt, is_open = followed
        return Recognised(prompt, "comfyui", is_open, rank=2 if "nodes" in value else 1)
    nested = (_from_json(value[key], depth - 1) for key in _HOLDERS if depth and key in value)
    return next((prompt for prompt in nested if prompt), None)


def _stated(value: dict[str, Any]) -> str | None:
    """The prompt that an object states under one of the names in use."""
    names = {re.sub(r"[\s_-]", "", str(key)).casefold(): key for key in reversed(value)}
    keys = ["positiveprompt", "prompt", "positive", *(["c"] if "uc" in value else [])]
    texts = (_joined(value[names[key]]) for key in keys if key in names)
    prompt = next((text for text in texts if text is not None), None)
    version4 = value.get("v4_prompt")
    caption = version4.get("caption") if isinstance(version4, dict) else None
    characters = caption.get("char_captions") if isinstance(caption, dict) else None
    if caption and isinstance(characters, list):
        prompt = _joined([caption.get("base_caption") or prompt or "", *characters]) or prompt
    return prompt


def _joined(value: Any) -> str | None:
    """A text, or a list of texts or of objects with one; None for anything else, and for JSON."""
    if isinstance(value, str):
        inner = _json(value.strip())[0]  # a graph, not a prompt in JSON
        return None if isinstance(inner, dict) and (is_graph(inner) or "prompt" in inner) else value
    if not isinstance(value, list) or not value:
        return None
    keys = ("prompt", "char_caption")
    parts = [
        next((part[key] for key in keys if key in part), None) if isinstance(part, dict) else part
        for part in value
    ]
    texts = [part for part in parts if isinstance(part, str)]
    return ", ".join(filter(str.strip, texts)) if len(texts) == len(parts) else None
