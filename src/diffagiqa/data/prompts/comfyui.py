"""The positive prompt of a ComfyUI graph, in the form of its API or of its editor.

From the nodes that save images, links are followed back to the nearest sampler, which ran last, and from
its positive input to the words. There is no list of nodes: what an input is for is told from its name
and its value, so that node packs that nobody has heard of are read by the names that all packs use.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, NamedTuple

from diffagiqa.data.prompts.editor import Link, Node, api_nodes, editor_nodes

_MAX_NODES = 20_000
_MAX_DEPTH = 200  # links from a sampler to a text
_MAX_PIECES = 100  # texts joined
_MAX_CHARACTERS = 200_000  # of a joined text


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# Inputs, by their names.
_NEGATIVE = _names(r"negat|(^|[^a-z])neg([^a-z]|$)|uncond|unwanted")
_POSITIVE = _names(r"positiv|(^|[^a-z])pos([^a-z]|$)")
_ENTRY = _names(r"positiv|(^|[^a-z])pos([^a-z]|$)|^cond|conditioning|^guider|embeds")  # of samplers
_PROMPT = _names(r"prompt")
_VISUAL = _names(r"image|img|pixel|frame|video|latent|sample|picture|output")
_TEXT = _names(
    r"text|prompt|string|caption|tags|wildcard|phrase|sentence|words|value|clip_?[lghs]$|t5|bert|llama"
    r"|prefix|suffix|prepend|append"
)
_RESULT = _names(r"populated|result|processed|final|^output")
_NO_TEXT = _names(  # of another kind, or a setting
    r"^(opt_)?(model|clip|vae|unet|image|img|pixel|sample|sigma|audio|video)s?([_.].*|\d+)?$|noise"
    r"|latent|mask|control_?net|style_model|clip_vision|seed|sampler|scheduler|lora|encoder|embedding|ckpt"
    r"|name|path|file|mode|type|format|delimiter|separator|language|translat|system|instruct|count|size"
    r"|length|interpret|normal|weight|strength|font|colou?r|device|find|replace|pattern|regex|search|styles?$"
)
_NO_TEXT_TYPES = frozenset(  # of outputs, which the editor's form names
    (
        "IMAGE",
        "LATENT",
        "MODEL",
        "CLIP",
        "VAE",
        "MASK",
        "INT",
        "FLOAT",
        "BOOLEAN",
        "NOISE",
        "SAMPLER",
        "SIGMAS",
    )
)
_DELIMITER = _names(r"delimiter|separator|joiner|^sep$|glue")
_SELECTOR = _names(
    r"(select(ed|or)?(_?(index|input|line))?|index|idx|input|choice|choose|switch|which|channel|case|number"
    r"|boolean(_number)?|bool|condition|cond|toggle|option|pick|value)"
)
_TRUE, _FALSE = (
    _names(r"(^|_)(true|tt|yes|then|on)(_|$)"),
    _names(r"(^|_)(false|ff|no|else|off)(_|$)"),
)
# Nodes, by their class.
_CHANGES = _names(r"regex|extract|substring|split|random|shuffle|translat")  # what a text will be
_SAVES = _names(r"save|output|export|write")
_SHOWS = _names(r"show|display|preview|view")
_SWITCH = _names(r"switch")
_DETAILS = _names(r"detailer")
_WRITES = _names(  # texts that the file does not hold: language models, captions
    r"llm|ollama|gpt|claude|gemini|llava|qwen.?vl|vlm|chat|caption|florence|interrogat|tagger|img2txt"
    r"|image_?(to|2)_?(text|prompt)|textgenerat|generatetext"
)
_WRITES_INPUT = _names(r"system|instruct|temperature|top_[kp]$|max_(new_)?(tokens|length)|llm")
_UNRESOLVED = re.compile(r"__[\w/*-]+__|\{[^{}]*\|[^{}]*\}")  # wildcards


class GraphPrompt(NamedTuple):
    """The prompt, and whether the graph leaves open if it is this image's: several saved images with
    other prompts, a switch set elsewhere, wildcards, a text that a language model wrote at some time."""

    prompt: str
    ambiguous: bool


def is_graph(value: dict[str, Any]) -> bool:
    """Whether an object is a graph of either form."""
    if isinstance(value.get("nodes"), list):
        return True
    return any(isinstance(node, dict) and "class_type" in node for node in value.values())


def graph_prompt(graph: dict[str, Any]) -> GraphPrompt | None:
    """The prompt of a graph, or None where no text leads to a sampler; several are joined by commas.

    >>> graph_prompt({"3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},
    ...               "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}}).prompt
    'a cat'
    """
    nodes = (
        editor_nodes(graph, _MAX_NODES)
        if isinstance(graph.get("nodes"), list)
        else api_nodes(graph)
    )
    if len(nodes) > _MAX_NODES:
        return None
    return _Graph(nodes).prompt()


class _Graph:
    """One search; every link is followed once, and what is written of joined texts is bounded."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.ambiguous = False
        self.budget = 50 * _MAX_CHARACTERS
        self.known: dict[tuple[str, int, bool], list[str]] = {}
        self.path: set[str] = set()
        self.shown: dict[Link, str] = {}  # what nodes that show a text have kept of it
        for node in nodes.values():
            texts = [node.inputs[key] for key in node.inputs if _is_worded(node, key)]
            if texts and _SHOWS.search(node.kind):
                self.shown |= dict.fromkeys(node.links().values(), texts[0])

    def prompt(self) -> GraphPrompt | None:
        used = {link.node for node in self.nodes.values() for link in node.links().values()}
        saving = [name for name, node in self.nodes.items() if _SAVES.search(node.kind)]
        prompts: list[str] = []
        barren: set[str] = set()
        for number, end in enumerate([*saving, *(self.nodes.keys() - used - set(saving))]):
            if prompts and (number >= len(saving) or len(prompts) > 8):
                break
            words = self._from(end, barren)
            longest = max(words, key=len, default="")  # often with a short form for another encoder
            if words := [text for text in words if text is longest or text not in longest]:
                # Lumina's instruction to its language model ends so.
                prompts.append(", ".join(words).rpartition("<Prompt Start>")[2])
        if not prompts:
            return None
        several = len(set(prompts)) > 1 or _UNRESOLVED.search(prompts[0][:2_000])
        return GraphPrompt(prompts[0], self.ambiguous or bool(several))

    def _from(self, end: str, barren: set[str]) -> list[str]:
        """The words of the sampler nearest to a node; ``barren`` are nodes behind which there is none."""
        pending, seen = deque([(end, False)]), {end}
        aside: list[str] = []
        while pending:
            name, visual = pending.popleft()
            node = self.nodes[name]
            words = self._entry(node, visual)
            if words and not _DETAILS.search(node.kind):
                return words
            aside = aside or words  # of a node that works on a part of the image
            links = node.links()
            for key in sorted(links, key=lambda key: not _VISUAL.search(key)):
                target = links[key].node
                looked_at = target in seen or target in barren or _ENTRY.search(key)
                if not looked_at and not _NEGATIVE.search(key):
                    seen.add(target)
                    pending.append((target, bool(_VISUAL.search(key))))
        if not aside:
            barren |= seen
        return aside

    def _entry(self, node: Node, visual: bool) -> list[str]:
        """The words that a node on the way of the image takes in."""
        links = node.links()
        against = next((links[key] for key in links if _NEGATIVE.search(key)), None)
        keys = [key for key in node.inputs if not (_NEGATIVE.search(key) or _NO_TEXT.search(key))]
        for key in sorted(keys, key=lambda key: not _POSITIVE.search(key)):
            value, prompt = node.inputs[key], visual and _PROMPT.search(key)
            if isinstance(value, Link) and (prompt or _ENTRY.search(key)):
                crossed = against and against.node == value.node and against.slot < value.slot
                if words := self._words(value, positive=not crossed):
                    return words
            elif isinstance(value, str) and value.strip() and (prompt or _POSITIVE.search(key)):
                return [value]
        return []

    def _words(self, link: Link, positive: bool = True) -> list[str]:
        """The texts that reach a link, each once, in the order of the inputs."""
        node = self.nodes.get(link.node)
        if node is None or link.node in self.path or len(self.path) >= _MAX_DEPTH:
            return []
        if "ZeroOut" in node.kind or _NO_TEXT_TYPES.intersection(
            node.outputs[link.slot : link.slot + 1]
        ):
            return []
        if _writes(node):
            self.ambiguous |= link in self.shown
            return [self.shown[link]] if link in self.shown else []
        place = link.node, link.slot if link.slot < len(node.outputs[:20]) else 0, positive
        if place in self.known:
            return self.known[place]
        self.ambiguous |= bool(_CHANGES.search(node.kind))
        self.path.add(link.node)
        pieces: dict[str, None] = {}
        for key in self._carriers(node, link.slot, positive):
            value = node.inputs[key]
            pieces |= dict.fromkeys(
                self._words(value, positive) if isinstance(value, Link) else [value]
            )
            if len(pieces) > _MAX_PIECES:
                break
        self.path.discard(link.node)
        self.known[place] = self._edited(node, [piece for piece in pieces if piece.strip()])
        return self.known[place]

    def _carriers(self, node: Node, slot: int, positive: bool) -> list[str]:
        """The inputs whose text a node passes on."""
        wanted, other = (_POSITIVE, _NEGATIVE) if positive else (_NEGATIVE, _POSITIVE)
        keys = [
            key
            for key, value in node.inputs.items()
            if isinstance(value, (str, Link)) and not other.search(key) and not _NO_TEXT.search(key)
        ]
        links = [key for key in keys if isinstance(node.inputs[key], Link)]
        worded = [key for key in keys if _is_worded(node, key)]
        if polar := [key for key in keys if wanted.search(key)]:
            return polar
        if results := [key for key in worded if _RESULT.search(key)]:
            return results[:1]
        if worded and links and _SHOWS.search(node.kind):
            self.ambiguous |= any(_writes(self.nodes[node.inputs[key].node]) for key in links)
            return worded[:1]
        if (chosen := self._chosen(node, keys)) is not None:
            return chosen
        texts = [key for key in keys if _TEXT.search(key) and node.inputs[key] != ""]
        twins = [number for number, kind in enumerate(node.outputs[:20]) if kind == "CONDITIONING"]
        if not texts and slot in twins[:2] and len(twins) > 1 and len(worded) > 1:
            self.ambiguous = True  # values without names, the positive text before the negative
            return [worded[twins.index(slot)]]
        return sorted(texts or links + worded or keys[:1], key=_place)

    def _chosen(self, node: Node, keys: list[str]) -> list[str] | None:
        """The one input that a switch lets through, or None where the node is no switch."""
        selectors = [key for key in node.inputs if _SELECTOR.fullmatch(key)][:5]
        if _SWITCH.search(node.kind):  # in the editor's form, numbers may be all it says
            selectors += [
                k for k in node.inputs if k[0:1] == "#" and isinstance(node.inputs[k], int)
            ][:1]
        branches = [key for key in keys if key not in selectors]
        numbered = {number: key for key in branches if (number := _number(key)) is not None}
        true, false = ([key for key in branches if side.search(key)] for side in (_TRUE, _FALSE))
        if not (true and false) and len(numbered) < 2:
            return None
        setting = next(
            (s for k in selectors if (s := self._setting(node.inputs[k], branches)) is not None),
            None,
        )
        if setting is None and not _SWITCH.search(node.kind) and not (true and false):
            return None
        self.ambiguous |= setting is None and bool(selectors)
        if true and false:
            return (true if setting is None or setting else false)[:1]
        first, *_, last = sorted(numbered)
        if setting is None:
            return [numbered[first]]  # of those that are connected
        if isinstance(setting, bool) or any("bool" in key.casefold() for key in selectors):
            return [numbered[first if setting else last]]
        self.ambiguous |= setting not in numbered and setting != 0
        return [numbered.get(setting, numbered[first])]

    def _setting(self, value: Any, branches: list[str]) -> int | bool | None:
        """The number or truth value of a switch, also behind links; a name stands for its number."""
        for _ in range(20):
            if not isinstance(value, Link):
                break
            node = self.nodes.get(value.node)
            inputs = list(node.inputs.values())[:50] if node else []
            value = next((v for v in inputs if isinstance(v, int)), inputs[0] if inputs else None)
        if isinstance(value, str):
            if value.casefold() in ("true", "false"):
                return value.casefold() == "true"
            named = [key for key in branches if key.casefold() == value.strip().casefold()]
            return (
                _number(value.strip())
                if named or re.fullmatch(r"\w{,10}\s?\d{1,3}|[a-hA-H]", value)
                else None
            )
        return value if isinstance(value, int) else None

    def _edited(self, node: Node, pieces: list[str]) -> list[str]:
        """Joined by what the node says, with what it replaces."""
        texts = {key: value for key, value in node.inputs.items() if isinstance(value, str)}
        by = next((value for key, value in texts.items() if _DELIMITER.search(key)), None)
        old, new = (
            next((texts[k] for k in texts if re.match(p, k)), None)
            for p in ("find|search", "replace")
        )
        if by is not None and len(pieces) > 1:
            pieces = [by.replace("\\n", "\n").join(pieces)[:_MAX_CHARACTERS]]
            self.budget -= len(pieces[0])
        if old and new is not None and len(new) < 1_000:
            pieces = [piece[:_MAX_CHARACTERS].replace(old, new) for piece in pieces]
            self.budget -= sum(len(piece) for piece in pieces)
        return pieces if self.budget > 0 else []


def _is_worded(node: Node, key: str) -> bool:
    """Whether an input's value is words, not a setting."""
    value = node.inputs[key]
    if not isinstance(value, str) or _NO_TEXT.search(key):
        return False
    return bool(re.search(r"\S[\s,]+\S|[^\0-\x7f]", value))


def _writes(node: Node) -> bool:
    """Whether a node makes up its text when it runs."""
    if re.search("encode|conditioning", node.kind, re.IGNORECASE):
        return False
    return bool(_WRITES.search(node.kind)) or any(_WRITES_INPUT.search(key) for key in node.inputs)


def _number(key: str) -> int | None:
    """The number of an input among its like, or of its letter: 2 for text_2 and text_b."""
    if digits := re.search(r"\d{1,6}$", key):
        return int(digits[0])
    letter = re.search(r"(?:^|_|\s|text|string|input)([a-h])$", key, re.IGNORECASE)
    return ord(letter[1].lower()) - ord("a") + 1 if letter else None


def _place(key: str) -> tuple[int, int]:
    """Where an input's text stands among the others of its node."""
    before = re.search(r"prefix|prepend|before|(^|_)pre(_|$)|start", key, re.IGNORECASE)
    after = re.search(r"suffix|append|after|(^|_)post(_|$)|(^|_)app(_|$)|end$", key, re.IGNORECASE)
    return bool(after) - bool(before), _number(key) or 0
