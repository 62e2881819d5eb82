"""The prompt of an image: from a text file beside it, else from what its generator wrote into it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits
from diffagiqa.data.prompts.cleaning import MAX_PROMPT_CHARACTERS, clean_prompt
from diffagiqa.data.prompts.formats import Recognised, recognise
from diffagiqa.data.prompts.texts import Text, decode_text, hidden_texts, image_texts
from diffagiqa.data.samples import PromptSource, local_path, printable, read_location
from diffagiqa.data.web import is_web
from diffagiqa.errors import PromptError

_MAX_SIDECAR_BYTES = 4 * MAX_PROMPT_CHARACTERS  # UTF-8 takes up to four bytes per character
_BOXES = re.compile(rb"\s*(?:-?[\d.]+(?:e-?\d+)?\s+){4}[-\d.e\s]*")  # a detector's labels: numbers
# Where a text of no known format is a prompt; no camera and no editor writes there.
_PLAIN = ("png prompt", "png positive_prompt", "png parameters", "xmp aipromptinformation")


class Prompt(NamedTuple):
    """A prompt, cleaned, and its source: where it was found, in which format, and whether in doubt.

    The source is "sidecar", "sidecar a1111", "png comfyui", "exif fooocus ambiguous", and so on, or
    "none" with the text None.
    """

    text: str | None
    source: PromptSource


def find_prompt(
    image: str | os.PathLike[str] | None,
    data: bytes,
    sidecar: bool = True,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Prompt:
    """The prompt of an image, (None, "none") where there is none.

    Args:
        image: where the file lies, for the text file beside it; None for nowhere.
        data: the file's bytes.
        sidecar: whether to look beside the file.
        limits: of the image, whose pixels are read where they may hide a text.

    Raises:
        PromptError: the prompt is too long, or the text file is in no encoding that can be told.
    """
    beside = read_sidecar(os.fsdecode(image)) if sidecar and image is not None else None
    return beside or prompt_from_image_bytes(data, limits)


def read_sidecar(image: str) -> Prompt | None:
    """The prompt in ``cat.txt``, else ``cat.png.txt``, beside ``cat.png``; None where there is none.

    On this machine a ``.json`` with the same names counts, too, if it is of a known format.

    Raises:
        PromptError: as ``sidecar_prompt``, and where the file cannot be read.
    """
    try:
        path = local_path(image, PromptError)
    except PromptError:  # a web address or a member of a shard has nothing beside it
        return None
    if path is None and is_web(image):
        return None  # a request for a file that is most often not there
    name = path or image
    for candidate in (os.path.splitext(name)[0] + ".txt", name + ".txt"):
        if os.path.isfile(candidate) if path else _in_store(candidate):
            data = read_location(candidate, _MAX_SIDECAR_BYTES, PromptError)
            if not _BOXES.fullmatch(data):
                return sidecar_prompt(data, printable(candidate))
    for candidate in (os.path.splitext(path)[0] + ".json", path + ".json") if path else ():
        with contextlib.suppress(PromptError):  # too large to be one, or gone
            data = read_location(candidate, _MAX_SIDECAR_BYTES, PromptError)
            if stated := recognise(decode_text(data) or ""):
                return _prompt("sidecar", stated)
    return None


def _in_store(location: str) -> bool:
    import fsspec

    with contextlib.suppress(Exception):  # the store's fault shows when the image is read
        filesystem, path = fsspec.core.url_to_fs(location)
        return bool(filesystem.isfile(path))
    return False


def sidecar_prompt(data: bytes, shown: str) -> Prompt:
    """The prompt in a text file: one of the known formats, else the whole text.

    Args:
        data: the file's bytes.
        shown: its name, for errors.

    Raises:
        PromptError: it is too long or in no encoding that can be told.
    """
    text = decode_text(data)
    if text is None:
        raise PromptError(f"{shown} is in no encoding that can be told; save it as UTF-8.")
    stated = recognise(text)
    return _prompt("sidecar", stated) if stated else Prompt(clean_prompt(text), "sidecar")


def prompt_from_image_bytes(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Prompt:
    """The prompt in a file's metadata, else (None, "none"), also where metadata is broken.

    Raises:
        PromptError: it is too long.
    """
    for reader in (image_texts, hidden_texts):
        texts: list[Text] = []
        with contextlib.suppress(
            Exception
        ):  # what Pillow raises of broken files is not ours to say
            texts.extend(reader(data, limits))
        if (prompt := best_prompt(texts)) is not None:
            return prompt
    return Prompt(None, "none")


def best_prompt(texts: Iterable[Text]) -> Prompt | None:
    """The prompt in the texts of one file: what states it, else what leads to it, a graph.

    It is ambiguous where others of the same kind differ.
    """
    texts = list(texts)
    stated = [(text.container, prompt) for text in texts if (prompt := recognise(text.text))]
    if not stated:
        novelai = any(text.text.startswith("NovelAI") for text in texts)
        stated = [
            (text.container, Recognised(text.text, "novelai" if novelai else "plain"))
            for text in texts
            if text.text.lstrip()[:1] not in ("", "{", "[")  # a graph that leads nowhere
            and (
                f"{text.container} {text.name}".casefold() in _PLAIN
                or (novelai and text.name == "Description")
            )
        ]
    # An empty prompt beside another one is a saving node's that did not know better.
    stated.sort(key=lambda item: (item[1].prompt.strip() in ("", "unknown"), item[1].rank))
    if not stated:
        return None
    container, best = stated[0]
    words = " ".join(best.prompt.split())
    for _, rival in stated:
        other = " ".join(rival.prompt.split())
        if rival.rank == best.rank and other and other not in words and words not in other:
            best = best._replace(ambiguous=True)
    return _prompt(container, best)


def _prompt(container: str, stated: Recognised) -> Prompt:
    source = f"{container} {stated.format}{' ambiguous' * stated.ambiguous}"
    return Prompt(clean_prompt(stated.prompt), source)
