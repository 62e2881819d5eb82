"""ComfyUI's graphs as nodes with named inputs, whether they come from its API or from its editor.

The editor's form has more: subgraphs, nodes that are muted or bypassed, values without names, and nodes
that hand a link on under a name (Set and Get). All of these become plain links here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_MAX_SUBGRAPHS = 8  # one in another
_MAX_NAME = 100  # characters
_MUTED, _BYPASSED = 2, 4
_WIDGETS = ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO")
_SEEDS = ("fixed", "increment", "decrement", "randomize")  # what comes behind the value of a seed
_LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot")


class Link(NamedTuple):
    """An output of a node."""

    node: str
    slot: int


@dataclass
class Node:
    """A node.

    Attributes:
        kind: its class.
        inputs: name -> value or Link; values without a name are called #0, #1, ...
        outputs: types of its outputs, where known.
    """

    kind: str
    inputs: dict[str, Any]
    outputs: tuple[str, ...] = ()
    bound: dict[str, Link] = field(default_factory=dict)  # of the editor, not yet followed

    def links(self) -> dict[str, Link]:
        """The inputs that are links."""
        return {name: value for name, value in self.inputs.items() if isinstance(value, Link)}


def api_nodes(graph: dict[str, Any]) -> dict[str, Node]:
    """The nodes of a graph in the API's form."""
    raw = {
        name: node for name, node in graph.items() if isinstance(_dict(node).get("inputs"), dict)
    }
    return {
        name: Node(
            str(node.get("class_type", ""))[:_MAX_NAME],
            {key[:_MAX_NAME]: _value(value, raw) for key, value in node["inputs"].items()},
        )
        for name, node in raw.items()
    }


def _value(value: Any, nodes: dict[str, Any]) -> Any:
    """A link to one of the nodes, lines of text as one text, anything else as it is."""
    if not isinstance(value, list):
        return value
    if len(value) == 2 and isinstance(value[1], int) and str(value[0]) in nodes:
        return Link(str(value[0]), value[1])
    return "\n".join(value) if value and all(isinstance(line, str) for line in value) else value


def editor_nodes(graph: dict[str, Any], limit: int) -> dict[str, Node]:
    """The nodes of a graph in the editor's form, subgraphs unfolded as far as ``limit`` nodes allow."""
    unfolded = _Unfolded(graph)
    pending, count = [(graph, "", 0)], 0
    while pending and (count := count + len(_dicts(pending[-1][0].get("nodes")))) <= limit:
        pending += unfolded.level(*pending.pop())
    return unfolded.linked()


class _Unfolded:
    """Nodes by their full number, and the links that stand for other links."""

    def __init__(self, graph: dict[str, Any]) -> None:
        listed = _dicts(_dict(graph.get("definitions")).get("subgraphs"))
        self.blueprints = {str(part.get("id")): part for part in listed}
        self.nodes: dict[str, Node] = {}
        self.aliases: dict[Link, Link] = {}
        self.setters: dict[str, Link] = {}
        self.getters: dict[Link, str] = {}

    def level(self, level: dict[str, Any], prefix: str, depth: int) -> list[tuple[Any, str, int]]:
        """Take in the nodes of one level, and say which levels are below."""
        below = []
        links = self._links(level.get("links"), prefix)
        for raw in _dicts(level.get("nodes")):
            name, kind = f"{prefix}{raw.get('id')}"[-1000:], str(raw.get("type", ""))[:_MAX_NAME]
            slots = _dicts(raw.get("inputs"))
            outputs = tuple(str(output.get("type")) for output in _dicts(raw.get("outputs")))
            bound = {_name(s): links[str(s["link"])] for s in slots if str(s.get("link")) in links}
            inputs = _widgets(raw, slots)
            label = str(next(iter(inputs.values()), ""))
            if raw.get("mode") == _BYPASSED:
                # What comes out is what comes in: at the same slot if of one type, else by the type.
                types = [(str(slot.get("type")), bound.get(_name(slot))) for slot in slots]
                through = {kind: link for kind, link in reversed(types) if link}
                for slot, output in enumerate(outputs):
                    same = next((ln for k, ln in types[slot : slot + 1] if k == output), None)
                    if link := same or through.get(output):
                        self.aliases[Link(name, slot)] = link
            elif raw.get("mode") == _MUTED:
                continue
            elif kind in self.blueprints:
                if depth < _MAX_SUBGRAPHS:
                    below.append((self.blueprints[kind], f"{name}:", depth + 1))
                    self._enter(raw, self.blueprints[kind], name, bound)
            elif re.search(r"(?i)(^|[\s_])set_?node$", kind):
                self.setters |= dict.fromkeys((label,), next(iter(bound.values()), Link("", 0)))
            elif re.search(r"(?i)(^|[\s_])get_?node$", kind):
                self.getters[Link(name, 0)] = label
            else:
                self.nodes[name] = Node(kind, inputs, outputs, bound)
        return below

    def _links(self, table: Any, prefix: str) -> dict[str, Link]:
        """Links of one level by number; those to the subgraph's own outputs (node -20) are aliases."""
        links = {}
        for row in table if isinstance(table, list) else []:
            row = [row.get(key) for key in _LINK] if isinstance(row, dict) else row
            if isinstance(row, list) and len(row) >= 5 and isinstance(row[2], int):
                link = links[str(row[0])] = Link(f"{prefix}{row[1]}", row[2])
                if row[3] == -20 and isinstance(row[4], int):
                    self.aliases[Link(prefix[:-1], row[4])] = link
        return links

    def _enter(self, raw: Any, blueprint: Any, name: str, bound: dict[str, Link]) -> None:
        """What reaches the inside of a subgraph (its node -10): links, and values set on the outside."""
        slots = _dicts(blueprint.get("inputs"))
        values = raw.get("widgets_values")
        values = values if isinstance(values, list) else []
        promoted = _dict(raw.get("properties")).get("proxyWidgets")
        keys = [_name(slot) for slot in slots if str(slot.get("type")) in _WIDGETS]
        if isinstance(promoted, list) and len(promoted) == len(values):  # [["-1", name], ...]
            keys = [
                str(p[1]) if isinstance(p, list) and p[:1] == ["-1"] and p[1:] else ""
                for p in promoted
            ]
        names = [_name(slot) for slot in slots]
        if not slots:
            names = keys = [f"#{number}" for number in range(len(values))]
        given = dict(zip(keys, values, strict=True)) if len(keys) == len(values) else {}
        for number, key in enumerate(names):
            inside = Link(f"{name}:-10", number)
            if key in bound:
                self.aliases[inside] = bound[key]
            elif isinstance(value := given.get(key), str):
                self.aliases[inside] = Link(f"{name}:-10:{number}", 0)
                self.nodes[self.aliases[inside].node] = Node("", {"value": value})

    def linked(self) -> dict[str, Node]:
        """The nodes, with the links that lead to one of them as inputs."""
        self.aliases |= {g: self.setters[k] for g, k in self.getters.items() if k in self.setters}
        for node in self.nodes.values():
            for name, link in node.bound.items():
                steps = 0
                while link in self.aliases and (steps := steps + 1) < 100:
                    link = self.aliases[link]
                if link.node in self.nodes:
                    node.inputs[name] = link
        return self.nodes


def _widgets(raw: dict[str, Any], slots: list[dict[str, Any]]) -> dict[str, Any]:
    """A node's own values, named where the file names all of them."""
    values = raw.get("widgets_values")
    if isinstance(values, dict):
        return {key[:_MAX_NAME]: value for key, value in values.items()}
    values = [_value(value, {}) for value in values] if isinstance(values, list) else []
    names = [_name(_dict(slot["widget"])) for slot in slots if "widget" in slot]
    if len(values) > len(names):
        values = [v for n, v in enumerate(values) if v not in _SEEDS or n == 0]
    if len(values) == len(names):
        return dict(zip(names, values, strict=True))
    return {f"#{number}": value for number, value in enumerate(values)}


def _name(slot: dict[str, Any]) -> str:
    return str(slot.get("name"))[:_MAX_NAME]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
