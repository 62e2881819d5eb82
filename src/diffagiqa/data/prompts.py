"""The prompt behind a picture: from a text file beside it, or from what generators wrote into it.

Searched in this order; the first that names a prompt, even an empty one, wins:

1. ``sidecar``: ``cat.txt``, then ``cat.png.txt``, beside ``cat.png``;
2. ``a1111``: AUTOMATIC1111's text up to the negative prompt and the settings, as ``parameters`` of
   a PNG, EXIF UserComment of a JPEG or WebP, comment of a GIF;
3. ``invokeai``: ``invokeai_metadata``, ``sd-metadata`` and ``Dream`` texts;
4. ``comfyui``: the ``prompt`` graph, else the ``workflow``, see ``comfyui_prompt``;
5. ``exif``: a plain ``prompt`` or ``Description`` text, EXIF UserComment and ImageDescription, XMP
   ``dc:description``.

Metadata comes from strangers: sizes and depths are bounded, and what cannot be read is not there.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from diffagiqa import checks
from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits, open_pil, without_warnings
from diffagiqa.data.samples import PromptSource, local_path, printable, read_location
from diffagiqa.data.web import is_web
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, PromptError

MAX_PROMPT_CHARACTERS = 100_000
_MAX_SIDECAR_BYTES = 4 * MAX_PROMPT_CHARACTERS  # UTF-8 takes up to four bytes per character
_MAX_METADATA = 8_000_000  # characters of one file's texts; large ComfyUI workflows hold 1,000,000
_MAX_NODES = 20_000  # of a ComfyUI graph

_BLANK = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
# Each run of joiners is tried from its beginning alone: from every place, a long one would take minutes.
_JOINERS = re.compile(
    "(?<![^\x00-\x7f])[\u200c\u200d]+|(?<![\u200c\u200d])[\u200c\u200d]+(?![^\x00-\x7f])"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean_prompt(text: str) -> str:
    """The prompt as it is scored, shown and written: what a reader sees and nothing hidden.

    Line breaks and tabs become a space. Control characters, bidi overrides, embeddings and isolates
    (they make text show in another order), zero-width spaces and tag characters are removed. The
    zero-width joiners stay between characters outside ASCII, where scripts and emoji need them.
    Lone surrogates become U+FFFD. Spaces of any kind at the ends go. PromptError above
    MAX_PROMPT_CHARACTERS, and for what is no text, such as the NaN of an empty cell.

    >>> clean_prompt(" a\\tred\\x00 \\u202ecat\\n")
    'a red cat'
    """
    if not isinstance(text, str):
        raise PromptError(
            f'the prompt is {str(text)[:40]} of type {type(text).__name__}; give a text, "" for none'
        )
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"the prompt has {len(text):,} characters, and the limit is "
            f"{MAX_PROMPT_CHARACTERS:,}; shorten it."
        )
    text = _INVISIBLE.sub("", _BLANK.sub(" ", text))
    return _SURROGATE.sub("\ufffd", _JOINERS.sub("", text)).strip()


def one_each(prompts: str | Iterable[str], count: int) -> list[str]:
    """The prompts of ``count`` pictures: one text for all of them, or a list of one each.

    >>> one_each("a fox", 2)
    ['a fox', 'a fox']

    Raises:
        ConfigError: it is neither, or there are more or fewer.
    """
    if isinstance(prompts, str):
        return [prompts] * count
    texts = list(checks.several("prompts", prompts, "a text, or a list of one text per image"))
    if len(texts) != count:
        raise ConfigError(
            f"{counted(len(texts), 'prompt was', 'prompts were')} given for {counted(count, 'image')}; "
            "expected one for all or one each"
        )
    return texts


def find_prompt(
    image: str | os.PathLike[str] | None,
    data: bytes,
    sidecar: bool = True,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> tuple[str | None, PromptSource]:
    """The prompt of a picture and where it was found, (None, "none") where there is none.

    ``image`` is where the file lies, for the text file beside it, and ``data`` its bytes, whose
    metadata is read within ``limits``. PromptError where the prompt is too long or the text file is
    not UTF-8.
    """
    if sidecar and image is not None:
        text = read_sidecar(os.fsdecode(image))
        if text is not None:
            return text, "sidecar"
    return prompt_from_image_bytes(data, limits)


def read_sidecar(image: str) -> str | None:
    """The text file beside a picture, cleaned, or None where there is none."""
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
            return decode_text(data, printable(candidate))
    return None


def decode_text(data: bytes, shown: str) -> str:
    """A prompt held as a text file: UTF-8, or UTF-16 with a byte order mark."""
    encoding = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "UTF-8"
    try:
        return clean_prompt(data.decode(encoding))  # which removes a byte order mark
    except UnicodeDecodeError as fault:
        found = f"{shown} is not {encoding} text (byte {fault.start})"
        raise PromptError(f"{found}; save it as UTF-8.") from None


def _in_store(location: str) -> bool:
    import fsspec

    with contextlib.suppress(Exception):  # the store's fault shows when the picture is read
        filesystem, path = fsspec.core.url_to_fs(location)
        return bool(filesystem.isfile(path))
    return False


def prompt_from_image_bytes(
    data: bytes, limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[str | None, PromptSource]:
    """The prompt in a file's metadata, else (None, "none"), also where metadata is broken.

    PromptError where it is too long.
    """
    text: str | None = None
    source: PromptSource = "none"
    with contextlib.suppress(Exception), without_warnings():
        found = (entry for entry in _candidates(data, limits) if entry[0] is not None)
        text, source = next(found, (None, "none"))
    return text if text is None else clean_prompt(text), source


def _candidates(data: bytes, limits: ImageLimits) -> Iterator[tuple[str | None, PromptSource]]:
    texts = _texts(data, limits)
    written = [texts[name] for name in ("parameters", "UserComment", "comment") if name in texts]
    for text in written:
        yield a1111_prompt(text), "a1111"
    for name in ("invokeai_metadata", "sd-metadata", "Dream", "dream"):
        if name in texts:
            yield _invokeai_prompt(texts[name]), "invokeai"
    graphs = [texts[name] for name in ("prompt", "workflow") if name in texts]
    for text in graphs + written:
        yield comfyui_prompt(text), "comfyui"
    plain = [texts.get(name) for name in ("prompt", "Description")]
    for maybe in (*plain, *written, texts.get("ImageDescription"), texts.get("xmp")):
        yield maybe if maybe and maybe.lstrip()[:1] not in ("{", "[") else None, "exif"


def _texts(data: bytes, limits: ImageLimits) -> dict[str, str]:
    """Texts of a file by name: those of a PNG before its pixels, EXIF, comment, XMP description."""
    image = open_pil(data, limits=limits)  # Pillow unpacks at most 1 MB per text and 64 MB in all
    texts = {str(name): str(text) for name, text in image.info.items() if _is_text(text)}
    comment = image.info.get("comment")
    if isinstance(comment, bytes) and len(comment) <= _MAX_METADATA:
        texts["comment"] = comment.decode("utf-8", "replace")
    xmp = image.info.get("xmp") or texts.get("XML:com.adobe.xmp", "")
    if isinstance(xmp, bytes):
        xmp = xmp[:_MAX_METADATA].decode("utf-8", "replace")
    texts["xmp"] = _xmp_description(xmp) or ""
    with contextlib.suppress(Exception):  # broken EXIF raises many things; the rest still counts
        exif = image.getexif()
        for value in exif.values():  # ComfyUI puts its graphs into arbitrary tags of a WebP
            if _is_text(value) and (found := re.match(r"(?i)(prompt|workflow):\s*(?=\{)", value)):
                texts.setdefault(found[1].lower(), value[found.end() :])
        texts["ImageDescription"] = _exif_string(exif.get(0x010E))
        texts["UserComment"] = _user_comment(exif.get_ifd(0x8769).get(0x9286))
    return {name: text for name, text in texts.items() if text.strip("\0 ")}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_METADATA


def _exif_string(text: Any) -> str:
    """EXIF strings are read as Latin-1, and most writers today put UTF-8 there."""
    if not _is_text(text):
        return ""
    with contextlib.suppress(UnicodeError):
        return str(text.encode("latin-1").decode("utf-8"))
    return str(text)


def _user_comment(value: Any) -> str:
    if not isinstance(value, bytes):
        return _exif_string(value)
    code, body = value[:8], value[8 : 8 + _MAX_METADATA]
    if code == b"UNICODE\0":
        if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return body.decode("utf-16", "replace")
        # Neither the standard nor its writers agree on the byte order; settings in ASCII tell it.
        little = body[1::2].count(0) > body[0::2].count(0)
        return body.decode("utf-16-le" if little else "utf-16-be", "replace")
    return (body if code in (b"ASCII\0\0\0", bytes(8)) else value).decode("utf-8", "replace")


def _xmp_description(xmp: str) -> str | None:
    start = xmp.find("<dc:description")
    item = xmp.find("<rdf:li", start)
    begin, end = xmp.find(">", item) + 1, xmp.find("</rdf:li>", item)
    return html.unescape(xmp[begin:end]) if min(start, item, end) >= 0 < begin <= end else None


def _json_object(text: str) -> dict[str, Any] | None:
    if len(text) > _MAX_METADATA or not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def a1111_prompt(text: str) -> str | None:
    """The prompt in AUTOMATIC1111's text, or None where the text is something else.

    >>> a1111_prompt("a cat\\nNegative prompt: blurry\\nSteps: 20, Sampler: Euler a, Seed: 1")
    'a cat'
    """
    if (settings := _json_object(text)) is not None:  # Fooocus writes JSON under the same name
        prompt = settings.get("prompt")
        return prompt if isinstance(prompt, str) else None
    end = re.search(r"^(?:Negative prompt:|Steps: *\d)", text, re.MULTILINE)
    return text[: end.start()].rstrip() if end else None


def _invokeai_prompt(text: str) -> str | None:
    metadata = _json_object(text)
    if metadata is None and text[:1] not in ("{", "["):  # Dream: "a cat [blurry]" -s 50 -W 512
        found = re.match(r'\s*"(?P<quoted>[^"]*)"|(?P<plain>[^"]*?)(?: -[a-zA-Z]|$)', text)
        return _without_negative(found["quoted"] or found["plain"] or "") if found else None
    metadata = metadata or {}
    if isinstance(prompt := metadata.get("positive_prompt"), str):
        return prompt
    image = metadata.get("image")
    prompt = (image if isinstance(image, dict) else metadata).get("prompt")
    if isinstance(prompt, list) and prompt:  # [{"prompt": "a cat", "weight": 1.0}]
        prompt = prompt[0].get("prompt") if isinstance(prompt[0], dict) else prompt[0]
    return _without_negative(prompt) if isinstance(prompt, str) else None


def _without_negative(prompt: str) -> str:
    """Before version 3, InvokeAI kept the negative prompt in square brackets."""
    return re.sub(r" ?\[[^\[\]]*\]", "", prompt)


_TEXT_INPUTS = (
    "text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt", "positive_prompt",
    "text_positive", "positive", "value", "string", "string_a", "string_b", "text1", "text2",
    "text_a", "text_b", "populated_text",
)  # fmt: skip
_NOT_WORDING = (
    "negative", "model", "clip", "vae", "control_net", "image", "images", "pixels", "mask",
    "latent", "latent_image", "samples", "sigmas", "noise", "sampler", "clip_vision_output",
)  # fmt: skip


def comfyui_prompt(text: str) -> str | None:
    """The positive prompt of a ComfyUI graph, in the form of its API or of its editor.

    From the nodes that save a picture, the links are followed back to the nearest sampler, which is
    the one that ran last (the refiner, the second pass), and from its positive input through
    conditioning and text nodes to the words. Several texts are joined by commas.

    >>> comfyui_prompt('{"3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},'
    ...                ' "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}}')
    'a cat'
    """
    graph = _json_object(text)
    if graph is None:
        return None
    if isinstance(graph.get("prompt"), dict):
        graph = graph["prompt"]
    listed = graph.get("nodes")
    if len(listed if isinstance(listed, list) else graph) > _MAX_NODES:
        return None
    nodes = _editor_nodes(graph) if isinstance(listed, list) else _api_nodes(graph)
    # Kept over all searches, or a chain of samplers without words takes time in its square.
    barren: set[tuple[str, bool]] = set()
    used = {link[0] for _, inputs in nodes.values() for link in _links(inputs).values()}
    ends = sorted((n for n in nodes if n not in used), key=lambda n: "Save" not in nodes[n][0])
    pending, seen = deque(ends), set(ends)
    while pending:
        links = _links(nodes[pending.popleft()][1])
        for name in ("positive", "guider"):
            if name in links and (words := _wording(nodes, links[name], barren)):
                return ", ".join(dict.fromkeys(words))
        for name in sorted(links, key=lambda name: name not in ("images", "image", "samples")):
            target = links[name][0]
            if target in nodes and target not in seen:
                seen.add(target)
                pending.append(target)
    return None


Node = tuple[str, dict[str, Any]]  # class, inputs: a value, or a link [node, output]


def _api_nodes(graph: dict[str, Any]) -> dict[str, Node]:
    return {
        name: (str(node.get("class_type", "")), node["inputs"])
        for name, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }


def _editor_nodes(graph: dict[str, Any]) -> dict[str, Node]:
    """The editor's graph, whose links are a table and whose texts are unnamed, as the API's."""
    links, nodes = {}, {}
    table = graph.get("links")
    for link in table if isinstance(table, list) else []:  # [id, from, output, to, input, type]
        if isinstance(link, list) and len(link) >= 3:
            links[str(link[0])] = [str(link[1]), link[2]]
    for node in graph["nodes"]:
        if not isinstance(node, dict):
            continue
        kind, inputs = str(node.get("type", "")), dict[str, Any]()
        slots = node.get("inputs")
        for slot in slots if isinstance(slots, list) else []:
            if isinstance(slot, dict) and str(slot.get("link")) in links:
                inputs[str(slot.get("name"))] = links[str(slot["link"])]
        values = node.get("widgets_values")
        if re.search("TextEncode|Text|String|Primitive|Prompt", kind) and isinstance(values, list):
            words = [value for value in values if isinstance(value, str)]
            if words:
                inputs.setdefault("text", words[0])
        nodes[str(node.get("id"))] = (kind, inputs)
    return nodes


def _links(inputs: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    return {
        name: (str(value[0]), value[1])
        for name, value in inputs.items()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int))
    }


def _wording(
    nodes: dict[str, Node], link: tuple[str, Any], barren: set[tuple[str, bool]]
) -> list[str]:
    """Texts that reach a link, in the order of the inputs; each node is visited once.

    ``barren``: nodes, and whether by their second output, that no text reaches; where none is found,
    those visited join them.
    """
    words: list[str] = []
    pending: list[tuple[str, Any] | str] = [link]
    seen: set[str] = set()
    visited: set[tuple[str, bool]] = set()
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            words.append(item)
            continue
        name, output = item
        place = name, output == 1
        if name in seen or place in barren or name not in nodes:
            continue
        if nodes[name][0] == "ConditioningZeroOut":
            continue
        seen.add(name)
        visited.add(place)
        inputs = nodes[name][1]
        links = _links(inputs)
        texts: list[tuple[str, Any] | str] = [
            links.get(key) or inputs[key]
            for key in _TEXT_INPUTS
            if (key in links and key != "positive") or isinstance(inputs.get(key), str)
        ]
        if not texts and output == 1 and {"positive", "negative"} <= links.keys():
            texts = [links["negative"]]  # such nodes hand both on: positive first, negative second
        elif not texts:
            texts = [target for key, target in links.items() if key not in _NOT_WORDING]
        pending += reversed([text for text in texts if text])
    if not words:
        barren |= visited
    return words


# Commonest words, by which a language in Latin letters is told from English.
_ENGLISH = frozenset(
    ["the", "of", "and", "with", "at", "by", "for", "from", "into", "is", "are", "his"]
)
_OTHERS = frozenset(
    re.findall(
        r"\w+",
        """der die das und ein eine einem einer im mit auf steht le la les un une des du dans avec sur et
        el los las una con en del y sobre il di nella che um uma com os een het van met op och med""",
    )
)


def is_foreign(prompt: str) -> bool:
    """Whether a prompt is clearly not English: a fifth of its letters are not ASCII, or three of its
    words are other languages' commonest or hold such letters, and none is of English's commonest.

    >>> is_foreign("a red fox in the snow"), is_foreign("雪の中の赤い狐"), is_foreign("")
    (False, True, False)
    >>> is_foreign("ein roter Fuchs im Schnee, Ölgemälde"), is_foreign("a café in São Paulo by night")
    (True, False)
    """
    letters = [letter for letter in prompt if letter.isalpha()]
    if sum(not letter.isascii() for letter in letters) > len(letters) / 5:
        return True
    words = re.findall(r"\w+", prompt.casefold())
    others = sum(word in _OTHERS or not word.isascii() for word in words)
    return others >= 3 and not _ENGLISH.intersection(words)
