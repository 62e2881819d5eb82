"""ComfyUI's graphs as its editor keeps them: links in a table, values without names, subgraphs."""

import json

import pytest
from prompt_files import png

from diffagiqa.data.prompts import prompt_from_image_bytes, recognise


def found(graph):
    prompt = recognise(json.dumps(graph))
    return prompt and prompt.prompt + (" ?" if prompt.ambiguous else "")


def editor(*nodes, links=(), **more):
    return {
        "nodes": list(nodes),
        "links": [[i, *link, "*"] for i, link in enumerate(links)],
        **more,
    }


def box(number, kind, *values, slots=(), outputs=(), **more):
    """A node of the editor; slots are (name, link), each of type *."""
    inputs = [{"name": name, "link": link, "type": "*"} for name, link in slots]
    kinds = [{"type": kind} for kind in outputs]
    return {"id": number, "type": kind, "inputs": inputs, "outputs": kinds,
            "widgets_values": list(values), **more}  # fmt: skip


SAMPLER = box(3, "KSampler", 1, "randomize", slots=[("negative", 1), ("positive", 0)])
SAVE = box(9, "SaveImage", "x", slots=[("images", 2)])
ENDS = [(6, 0, 3, 0), (7, 0, 3, 1), (3, 0, 9, 0)]
TEXTS = box(6, "CLIPTextEncode", "a cat"), box(7, "CLIPTextEncode", "fog, text")


def test_editor_graph_with_reroute_set_and_get():
    graph = editor(
        SAMPLER, SAVE, box(6, "Reroute", slots=[("", 3)]), box(7, "CLIPTextEncode", "fog, text"),
        box(10, "GetNode", "my text"), box(11, "SetNode", "my text", slots=[("STRING", 4)]),
        box(12, "CLIPTextEncode", "a cat"), "noise",
        links=[*ENDS, (10, 0, 6, 0), (12, 0, 11, 0)],
    )  # fmt: skip
    assert found(graph) == "a cat"
    assert prompt_from_image_bytes(png(workflow=json.dumps(graph))) == ("a cat", "png comfyui")


def test_editor_names_the_values_where_the_file_does():
    widgets = [{"name": n, "widget": {"name": n}} for n in ("seed", "negative", "positive")]
    loader = box(6, "Loader", 5, "fixed", "fog, text", "a cat")
    graph = editor(
        SAMPLER, SAVE, {**loader, "inputs": widgets}, links=[(6, 1, 3, 0), (6, 2, 3, 1), ENDS[2]]
    )
    assert found(graph) == "a cat"


def test_editor_loader_without_names():
    loader = box(
        6,
        "Loader",
        "m.safetensors",
        "a cat",
        "fog, text",
        outputs=["MODEL", "CONDITIONING", "CONDITIONING"],
    )
    graph = editor(SAMPLER, SAVE, loader, links=[(6, 1, 3, 0), (6, 2, 3, 1), ENDS[2]])
    assert found(graph) == "a cat ?"


@pytest.mark.parametrize(
    ("values", "outputs"),
    [
        (["m.safetensors", "Baked VAE", "a cat", "fog, text"], ["M", *["CONDITIONING"] * 2]),
        (["None", "512 x 768", "a cat", "fog, text"], ["M", "STRING", "STRING"]),
    ],
)
def test_editor_values_without_names_one_for_each_output(values, outputs):
    loader = box(6, "Loader", *values, outputs=outputs)
    graph = editor(SAMPLER, SAVE, loader, links=[(6, 1, 3, 0), (6, 2, 3, 1), ENDS[2]])
    assert found(graph) == "a cat ?"


@pytest.mark.parametrize(
    ("value", "prompt"), [("a cat on a mat", "a cat on a mat ?"), ("my cat at home.png", None)]
)
def test_editor_service_that_makes_an_image(value, prompt):
    system = "You are an engine that draws."
    service = box(3, "SomeImageApi", value, "auto", 7, "fixed", system, outputs=["IMAGE"])
    assert found(editor(service, SAVE, links=[(3, 0, 9, 0)] * 3)) == prompt


@pytest.mark.parametrize(("mode", "prompt"), [(0, "a dog"), (4, "a cat"), (2, None)])
def test_editor_bypassed_and_muted(mode, prompt):
    between = box(6, "Encode", "a dog", slots=[("conditioning", 3)], outputs=["*"], mode=mode)
    graph = editor(
        SAMPLER, SAVE, between, box(12, "CLIPTextEncode", "a cat"), links=[*ENDS, (12, 0, 6, 0)]
    )
    if mode == 0:
        between["inputs"] = []
    assert found(graph) == prompt


def subgraph(instance, inner, slots, outer=(), links=()):
    rows = enumerate([*ENDS[:2], (3, 0, -20, 0), *links])
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    part = {"id": "uuid", "inputs": [{"name": n, "type": t} for n, t in slots],
            "nodes": [inner, TEXTS[1], SAMPLER],
            "links": [dict(zip(names, (i, *row), strict=True)) for i, row in rows]}  # fmt: skip
    return editor(instance, SAVE, *outer, links=[(30, 0, 9, 0), (31, 0, 30, 0), (30, 0, 9, 0)],
                  definitions={"subgraphs": [part]})  # fmt: skip


TEXT = [("model", "MODEL"), ("text", "STRING")]
LINKED = [{"name": "text", "link": 3, "widget": {"name": "text"}}]


@pytest.mark.parametrize(
    ("instance", "outer", "prompt"),
    [
        (box(30, "uuid"), [], "stale"),
        (box(30, "uuid", "a cat"), [], "a cat"),
        (box(30, "uuid", "a cat", properties={"proxyWidgets": [["-1", "text"]]}), [], "a cat"),
        (box(30, "uuid", None, properties={"proxyWidgets": [["6", "text"]]}), [], "stale"),
        (box(30, "uuid", slots=[("text", 1)]), [box(31, "PrimitiveString", "a dog")], "a dog"),
    ],
)
def test_subgraph(instance, outer, prompt):
    inner = {**box(6, "CLIPTextEncode", "stale"), "inputs": LINKED}
    assert found(subgraph(instance, inner, TEXT, outer, [(-10, 1, 6, 0)])) == prompt


def test_group_within_group():
    inner = subgraph(box(30, "uuid"), box(6, "CLIPTextEncode", "a cat"), [])
    outer = {"id": "top", "nodes": [box(40, "uuid")], "links": [[0, 40, 0, -20, 0, "*"]]}
    inner["definitions"]["subgraphs"].append(outer)
    inner["nodes"][0] = box(30, "top")
    assert found(inner) == "a cat"
    outer["nodes"] = [box(40, "top")]  # one within itself
    assert found(inner) is None
