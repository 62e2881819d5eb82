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
    nodes = {}
    for name, node in graph.items():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            inputs = {
                str(key)[:_MAX_NAME]: _value(value, graph) for key, value in node["inputs"].items()
            }
            nodes[str(name)] = Node(str(node.get("class_type", ""))[:_MAX_NAME], inputs)
    return nodes


def _value(value: Any, graph: dict[str, Any]) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) == 2 and isinstance(value[1], int) and str(value[0]) in graph:
        return Link(str(value[0]), value[1])
    return "\n".join(value) if value and all(isinstance(line, str) for line in value) else value


def editor_nodes(graph: dict[str, Any], limit: int) -> dict[str, Node]:
    """The nodes of a graph in the editor's form, subgraphs unfolded, at most about ``limit``."""
    listed = _dicts(_dict(graph.get("definitions")).get("subgraphs"))
    blueprints = {str(part.get("id")): part for part in listed}
    nodes: dict[str, Node] = {}
    aliases: dict[Link, Link] = {}
    setters: dict[str, Link] = {}
    getters: list[tuple[str, str]] = []
    pending = [(graph, "", 0)]
    while pending and len(nodes) <= limit:
        level, prefix, depth = pending.pop()
        links = _links(level.get("links"), prefix, aliases)
        for raw in _dicts(level.get("nodes"))[: limit + 1]:
            name, kind = f"{prefix}{raw.get('id')}"[-1000:], str(raw.get("type", ""))[:_MAX_NAME]
            slots, outputs = _dicts(raw.get("inputs")), _dicts(raw.get("outputs"))
            bound = {_name(s): links[str(s["link"])] for s in slots if str(s.get("link")) in links}
            inputs = _widgets(raw, slots)
            if raw.get("mode") == _MUTED:
                continue
            if raw.get("mode") == _BYPASSED:
                for place, output in enumerate(outputs):
                    same = [
                        s
                        for s in slots[place : place + 1] + slots
                        if s.get("type") == output.get("type")
                    ]
                    through = [bound[n] for s in same if (n := _name(s)) in bound]
                    aliases |= {Link(name, place): link for link in through[:1]}
            elif kind in blueprints:
                if depth < _MAX_SUBGRAPHS:
                    pending.append((blueprints[kind], f"{name}:", depth + 1))
                    _enter(raw, blueprints[kind], name, bound, nodes, aliases)
            elif re.search(r"(?i)(^|[\s_])set_?node$", kind):
                setters |= {
                    str(value): link
                    for value in list(inputs.values())[:1]
                    for link in bound.values()
                }
            elif re.search(r"(?i)(^|[\s_])get_?node$", kind):
                getters += [(name, str(value)) for value in list(inputs.values())[:1]]
            else:
                kinds = tuple(str(output.get("type")) for output in outputs)
                nodes[name] = Node(kind, inputs, kinds, bound)
    aliases |= {Link(name, 0): setters[key] for name, key in getters if key in setters}
    for node in nodes.values():
        for name, link in node.bound.items():
            for _ in range(100):
                link = aliases.get(link, link)
            if link.node in nodes:
                node.inputs[name] = link
    return nodes


def _links(table: Any, prefix: str, aliases: dict[Link, Link]) -> dict[str, Link]:
    """Links of one level by number; those to the subgraph's own outputs become aliases."""
    links = {}
    for row in table if isinstance(table, list) else []:
        if isinstance(row, dict):
            row = [
                row.get(k) for k in ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            ]
        if isinstance(row, list) and len(row) >= 5 and isinstance(row[2], int):
            link = links[str(row[0])] = Link(f"{prefix}{row[1]}", row[2])
            if row[3] == -20 and isinstance(row[4], int):
                aliases[Link(prefix[:-1], row[4])] = link
    return links


def _enter(
    raw: dict[str, Any],
    blueprint: dict[str, Any],
    name: str,
    bound: dict[str, Link],
    nodes: dict[str, Node],
    aliases: dict[Link, Link],
) -> None:
    """What reaches the inside of a subgraph (its node -10): links, and values set on the outside."""
    slots = _dicts(blueprint.get("inputs"))
    values = raw.get("widgets_values")
    values = values if isinstance(values, list) else []
    promoted = _dict(raw.get("properties")).get("proxyWidgets")
    if isinstance(promoted, list) and len(promoted) == len(values):
        keys = [
            str(p[1]) if isinstance(p, list) and p[:1] == ["-1"] and len(p) == 2 else ""
            for p in promoted
        ]
    else:
        keys = [_name(slot) for slot in slots if str(slot.get("type")) in _WIDGETS]
    given = dict(zip(keys, values, strict=False)) if len(keys) == len(values) else {}
    names = [_name(slot) for slot in slots] or [f"#{n}" for n in range(len(values))]
    given = given or {f"#{n}": value for n, value in enumerate(values)}
    for place, key in enumerate(names):
        entry = Link(f"{name}:-10", place)
        if key in bound:
            aliases[entry] = bound[key]
        elif isinstance(value := given.get(key), str):
            aliases[entry] = Link(f"{name}:-10:{place}", 0)
            nodes[aliases[entry].node] = Node("", {"value": value})


def _widgets(raw: dict[str, Any], slots: list[dict[str, Any]]) -> dict[str, Any]:
    """A node's own values, named where the file names all of them."""
    values = raw.get("widgets_values")
    if isinstance(values, dict):
        return {str(key)[:_MAX_NAME]: value for key, value in values.items()}
    if not isinstance(values, list):
        return {}
    values = [_value(value, {}) for value in values]
    names = [_name(_dict(slot["widget"])) for slot in slots if "widget" in slot]
    named: dict[str, Any] = {}
    rest = list(values)
    for name in names:
        if rest:
            named[name] = rest.pop(0)
        if (
            "seed" in name
            and rest[:1]
            and rest[0] in ("fixed", "increment", "decrement", "randomize")
        ):
            rest.pop(0)
    if not rest and len(named) == len(names):
        return named
    return {f"#{place}": value for place, value in enumerate(values)}


def _name(slot: dict[str, Any]) -> str:
    return str(slot.get("name"))[:_MAX_NAME]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
