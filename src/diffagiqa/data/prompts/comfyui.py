"""The positive prompt of a ComfyUI graph, in the form of its API or of its editor.

From the nodes that save images, links are followed back to the nearest sampler, which ran last, and from
its positive input to the words. There is no list of nodes: what an input is for is told from its name
and its value, so that node packs that nobody has heard of are read by the names that all packs use.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import Any

from diffagiqa.data.prompts.editor import Link, Node, api_nodes, editor_nodes

_MAX_NODES = 20_000
_MAX_DEPTH = 200  # links from a sampler to a text
_MAX_PIECES = 100  # texts joined
_MAX_CHARACTERS = 200_000  # of a joined text

_NAMES = {  # what inputs (small letters) and nodes (capitals) are for
    "negative": r"negat|(^|[^a-z])neg([^a-z]|$)|uncond|unwanted|(^|_)n_?prompt",
    "positive": r"positiv|(^|[^a-z])pos([^a-z]|$)",
    "entry": r"positiv|(^|[^a-z])pos([^a-z]|$)|^cond|conditioning|^guider|embeds",  # of samplers
    "prompt": r"prompt",
    "image": r"image|img|pixel|frame|video|latent|sample|picture|output",
    "text": r"text|prompt|string|caption|tags|wildcard|phrase|sentence|words|value|clip_?[lghs]$|t5"
    r"|prefix|suffix|prepend|append",
    "result": r"populated|result|processed|final|^output",
    "other": r"^(opt_)?(model|clip|vae|unet|image|img|pixel|sample|sigma|audio|video)s?([_.].*|\d+)?$"
    r"|noise|latent|mask|control_?net|style_model|clip_vision|seed|sampler|scheduler|lora|encoder"
    r"|embedding|ckpt|name|path|file|mode|type|format|delimiter|separator|language|translat|system|instruct|count"
    r"|size|length|interpret|normal|weight|strength|font|colou?r|device|find|replace|pattern|regex|search"
    r"|method|preset|action|operation|quality|ratio|resolution|styles?$"
    r"|^select[ _]?(to|lora|wildcard|style)|^values_|^expression$|(?<!de)script|code$"
    r"|label|dir$|folder",
    "delimiter": r"delimiter|separator|joiner|^sep$|glue",
    "selector": r"^((select|selected|selector)(_?(index|input|line))?|index|idx|input|choice|choose"
    r"|switch|which|channel|case|number|boolean(_number)?|bool|condition|cond|toggle|option|pick|value)$",
    "true": r"(^|_)(true|tt|yes|then)(_|$)",
    "false": r"(^|_)(false|ff|no|else)(_|$)",
    "before": r"prefix|prepend|before|(^|_)pre(_|$)|start",
    "after": r"suffix|append|after|(^|_)(post|app)(_|$)|end$",
    "written": r"system|instruct|temperature|top_[kp]$|max_(new_)?(tokens|length)|llm",
    "ENCODES": r"encode|conditioning",
    "JOINS": r"(?<!on)text|string|prompt|concat|join|combine|merge",
    "SAVES": r"save|output|export|write",
    "SHOWS": r"show|display|preview|view",
    "SWITCHES": r"switch",
    "DETAILS": r"detailer",  # a part of the image
    "CHANGES": r"regex|extract|substring|split|random|shuffle|translat|template|schedul|format"
    r"|eval|(?<!de)script|expression|python",
    "WRITES": r"llm|ollama|gpt|claude|gemini|llava|qwen.?vl|vlm|chat|caption|florence|interrogat|tagger"
    r"|img2txt|image_?(to|2)_?(text|prompt)|textgenerat|generatetext",  # what the file does not hold
}
_PATTERNS = {role: re.compile(pattern, re.IGNORECASE) for role, pattern in _NAMES.items()}
_NO_TEXT = frozenset(  # types of outputs
    "IMAGE LATENT MODEL CLIP VAE MASK INT FLOAT BOOLEAN NOISE SAMPLER SIGMAS".split(" ")  # noqa: SIM905
)
_SETTING = re.compile(  # values that are no words
    r"(?i)yes|no|none|true|false|(en|dis)abled?|baked vae|select the .*|\d+ ?[x\xd7] ?\d+.*"
    r"|.*\.(safetensors|ckpt|pth?|bin|gguf|ya?ml|json|txt|png|jpe?g|webp|gif|mp4)"
)
_UNRESOLVED = re.compile(r"__[\w/*-]+__|\{[^{}]*\|[^{}]*\}|\{\w+\}")  # wildcards, places to fill


@lru_cache(10_000)
def _is(role: str, name: str) -> bool:
    return bool(_PATTERNS[role].search(name))


def is_graph(value: dict[str, Any]) -> bool:
    """Whether an object is a graph of either form."""
    if isinstance(value.get("nodes"), list):
        return True
    return any(isinstance(node, dict) and "class_type" in node for node in value.values())


def graph_prompt(graph: dict[str, Any]) -> tuple[str, bool] | None:
    """The prompt of a graph, and whether the graph leaves open if it is this image's.

    None where no text leads to a sampler; several are joined by commas. Open is it with several saved
    images of other prompts, a switch set elsewhere, wildcards, a text that a language model wrote.

    >>> graph_prompt({"3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},
    ...               "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}})
    ('a cat', False)
    """
    edited = isinstance(graph.get("nodes"), list)
    nodes = editor_nodes(graph, _MAX_NODES) if edited else api_nodes(graph)
    return _Graph(nodes).prompt() if len(nodes) <= _MAX_NODES else None


class _Graph:
    """One search; every link is followed once, and what is written of joined texts is bounded."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.ambiguous = False
        self.budget = 50 * _MAX_CHARACTERS
        self.known: dict[tuple[str, int], list[str]] = {}
        self.path: set[str] = set()
        self.shown: dict[Link, str] = {}  # what nodes that show a text have kept of it
        for node in nodes.values():
            texts = [node.inputs[key] for key in node.inputs if _is_worded(node, key)]
            if texts and _is("SHOWS", node.kind):
                self.shown |= dict.fromkeys(node.links().values(), texts[0])
        self.used = {link for node in nodes.values() for link in node.links().values()}

    def prompt(self) -> tuple[str, bool] | None:
        used = {link.node for link in self.used}
        saving = [name for name, node in self.nodes.items() if _is("SAVES", node.kind)]
        used.update(saving)
        others = [name for name in self.nodes if name not in used]
        others.sort(key=lambda name: not any(_is("image", key) for key in self.nodes[name].links()))
        prompts: list[str] = []
        barren: set[str] = set()
        for number, end in enumerate(saving + others):
            if prompts and (number >= len(saving) or len(prompts) > 8):
                break
            words = self._from(end, barren)
            self.ambiguous |= bool(words and saving and number >= len(saving))  # it is not saved
            longest = max(words, key=len, default="")  # often with a short form for another encoder
            if words := [text for text in words if text is longest or text not in longest]:
                # Lumina's instruction to its language model ends so.
                prompts.append(", ".join(words).rpartition("<Prompt Start>")[2])
        if not prompts:
            return None
        several = len(set(prompts)) > 1 or _UNRESOLVED.search(prompts[0][:2_000])
        return prompts[0], self.ambiguous or bool(several)

    def _from(self, end: str, barren: set[str]) -> list[str]:
        """The words of the sampler nearest to a node; ``barren`` are nodes behind which there is none."""
        pending, seen = deque([(end, False)]), {end}
        aside: list[str] = []
        while pending:
            name, visual = pending.popleft()
            node = self.nodes[name]
            words = self._entry(node, visual)
            if words and not _is("DETAILS", node.kind) and not _is("SAVES", node.kind):
                return words
            aside = aside or words
            links = node.links()
            for key in sorted(links, key=lambda key: not _is("image", key)):
                target = links[key].node
                searched = target in seen or target in barren or _is("entry", key)
                if not searched and not _is("negative", key):
                    seen.add(target)
                    pending.append((target, _is("image", key)))
        if not aside:
            barren |= seen
        return aside

    def _entry(self, node: Node, visual: bool) -> list[str]:
        """The words that a node on the way of the image takes in."""
        keys = [key for key in node.inputs if not (_is("negative", key) or _is("other", key))]
        for key in sorted(keys, key=lambda key: not _is("positive", key)):
            value, prompt = node.inputs[key], visual and _is("prompt", key)
            if isinstance(value, Link) and (prompt or _is("entry", key)):
                if words := self._words(value):
                    return words
            elif isinstance(value, str) and value.strip() and (prompt or _is("positive", key)):
                return [value]
        sentences = [  # but those that instruct a language model
            value for key, value in node.inputs.items()
            if key[:1] == "#" and _is_worded(node, key) and len(value.split()) > 3
            and not value.startswith("You are a")
        ]  # fmt: skip
        self.ambiguous |= visual and len(sentences) == 1
        return sentences if visual and len(sentences) == 1 else []

    def _words(self, link: Link) -> list[str]:
        """The texts that reach a link, each once, in the order of the inputs."""
        node = self.nodes.get(link.node)
        if node is None or link.node in self.path or len(self.path) >= _MAX_DEPTH:
            return []
        if "ZeroOut" in node.kind or _NO_TEXT.intersection(node.outputs[link.slot : link.slot + 1]):
            return []
        if _writes(node):
            self.ambiguous = True
            return [self.shown[link]] if link in self.shown else []
        output = link.node, link.slot if link.slot < len(node.outputs[:20]) else 0
        if output in self.known:
            return self.known[output]
        self.ambiguous |= _is("CHANGES", node.kind)
        self.path.add(link.node)
        pieces: dict[str, None] = {}
        for key in self._carriers(node, link):
            value = node.inputs[key]
            pieces |= dict.fromkeys(self._words(value) if isinstance(value, Link) else [value])
            if len(pieces) > _MAX_PIECES:
                break
        self.path.discard(link.node)
        self.known[output] = self._edited(node, [piece for piece in pieces if piece.strip()])
        return self.known[output]

    def _carriers(self, node: Node, link: Link) -> list[str]:
        """The inputs whose text a node passes on: of two polarities the positive, of many the chosen."""
        keys = [
            key
            for key, value in node.inputs.items()
            if isinstance(value, (str, Link)) and not _is("negative", key) and not _is("other", key)
        ]
        links = [key for key in keys if isinstance(node.inputs[key], Link)]
        worded = [key for key in keys if _is_worded(node, key)]
        if positive := [key for key in keys if _is("positive", key)]:
            return positive
        if results := [key for key in worded if _is("result", key)]:
            return results[:1]
        if worded and links and _is("SHOWS", node.kind):
            self.ambiguous |= any(_writes(self.nodes[node.inputs[key].node]) for key in links)
            return worded[:1]
        if (chosen := self._chosen(node, keys)) is not None:
            return chosen
        texts = [key for key in keys if _is("text", key) and not _is_setting(node.inputs[key])]
        twins = self._twins(node, link)
        if (not texts or not links) and len(twins) > 1 and len(worded) > twins.index(link.slot):
            # A text for each output, the positive before the negative.
            self.ambiguous |= len(worded) > 1
            return [worded[twins.index(link.slot)]]
        if texts and _is("ENCODES", node.kind):
            texts = list(dict.fromkeys([*texts, *(key for key in worded if key[:1] != "#")]))
        if not texts:
            self.ambiguous |= len(worded) > 1 and not _is("ENCODES", node.kind)
            joins = links and _is("JOINS", node.kind)  # single words, too
            carry = {*links, *worded, *(key for key in keys if joins and key[:1] != "#")}
            texts = [key for key in keys if key in carry]
        if not texts and (_is("ENCODES", node.kind) or len(node.inputs) == 1):
            texts = keys[:1]  # a single word
        return sorted(texts, key=_order)

    def _twins(self, node: Node, link: Link) -> list[int]:
        """The outputs of a node that are alike: of this one's type, or seen in use on a node of texts."""
        kind = "".join(node.outputs[link.slot : link.slot + 1])
        if kind in ("CONDITIONING", "STRING"):
            return [n for n, other in enumerate(node.outputs[:20]) if other == kind]
        texts = not node.outputs and not node.links()
        several = texts and any(Link(link.node, n) in self.used for n in range(1, 9))
        return list(range(9)) if several and link.slot < 9 else [link.slot]

    def _chosen(self, node: Node, keys: list[str]) -> list[str] | None:
        """The one input that a switch lets through, or None where the node is no switch."""
        switch = _is("SWITCHES", node.kind)
        selectors = [key for key in node.inputs if _is("selector", key)][:5]
        if switch:  # in the editor's form, a number without a name may be all it says
            numbers = (k for k, v in node.inputs.items() if k[:1] == "#" and isinstance(v, int))
            selectors += list(numbers)[:1]
        branches = [key for key in keys if key not in selectors]
        numbered = {number: key for key in branches if (number := _number(key)) is not None}
        true, false = ([k for k in branches if _is(side, k)] for side in ("true", "false"))
        two = bool(true and false)
        if not two and len(numbered) < 2:
            return None
        settings = (self._setting(node.inputs[key], branches) for key in selectors)
        setting = next((value for value in settings if value is not None), None)
        if setting is None and not switch and not two:
            return None
        self.ambiguous |= setting is None and bool(selectors)
        if two:
            return (true if setting is None or setting else false)[:1]
        first, *_, last = sorted(numbered)
        if isinstance(setting, bool) or (setting == 0 and any("bool" in key for key in selectors)):
            return [numbered[first if setting else last]]
        if setting is None:
            return [numbered[first]]  # which is connected
        self.ambiguous |= setting not in (0, *numbered)
        return [numbered.get(setting, numbered[first])]

    def _setting(self, value: Any, branches: list[str]) -> int | None:
        """The number or truth value of a switch, also behind links; a name stands for its number."""
        for _ in range(20):
            if isinstance(value, Link):
                node = self.nodes.get(value.node)
                inputs = list(node.inputs.values())[:50] if node else []
                value = next((v for v in inputs if isinstance(v, int)), (inputs or [None])[0])
        if not isinstance(value, str):
            return value if isinstance(value, int) else None
        text = value.strip().casefold()
        if text in ("true", "false"):
            return text == "true"
        named = text in map(str.casefold, branches) or re.fullmatch(
            r"\w{,10}\s?\d{1,3}|[a-f]", text
        )
        return _number(text) if named else None

    def _edited(self, node: Node, pieces: list[str]) -> list[str]:
        """Joined by what the node says, with what it replaces."""
        texts = {key: value for key, value in node.inputs.items() if isinstance(value, str)}
        by = next((value for key, value in texts.items() if _is("delimiter", key)), None)
        if by is not None and len(pieces) > 1:
            said = {"\\n": "\n", "newline": "\n", "space": " ", "comma": ", ", "none": ""}
            pieces = [said.get(by, by).join(pieces)[:_MAX_CHARACTERS]]
            self.budget -= len(pieces[0])
        old, new = (
            next((v for k, v in texts.items() if re.match(p, k)), "")
            for p in ("find|search", "replace")
        )
        if old and len(new) < 1_000:
            pieces = [piece[:_MAX_CHARACTERS].replace(old, new) for piece in pieces]
            self.budget -= sum(map(len, pieces))
        return pieces if self.budget > 0 else []


def _is_worded(node: Node, key: str) -> bool:
    """Whether an input's value is words, not a setting."""
    value = node.inputs[key]
    if not isinstance(value, str) or _is("other", key) or _is_setting(value):
        return False
    return re.search(r"\S[\s,]+\S|[^\0-\x7f]", value) is not None


def _is_setting(value: Any) -> bool:
    return isinstance(value, str) and (not value or bool(_SETTING.fullmatch(value[:200].strip())))


def _writes(node: Node) -> bool:
    """Whether a node makes up its text when it runs."""
    if _is("ENCODES", node.kind):
        return False
    return _is("WRITES", node.kind) or any(_is("written", key) for key in node.inputs)


def _number(key: str) -> int | None:
    """The number of an input among its like, or of its letter: 2 for text_2 and text_b."""
    if digits := re.search(r"\d{1,6}$", key):
        return int(digits[0])
    letter = re.search(r"(?:^|_|\s|text|string|input)([a-f])$", key, re.IGNORECASE)
    return ord(letter[1].lower()) - ord("a") + 1 if letter else None


def _order(key: str) -> tuple[int, int]:
    """Where an input's text stands among the others of its node."""
    return _is("after", key) - _is("before", key), _number(key) or 0
