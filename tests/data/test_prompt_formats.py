"""The formats of generators, told from the text alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_files import INFOTEXT, KETTLE, SETTINGS, png

from diffagiqa.data.prompts import prompt_from_image_bytes, recognise

SDNEXT = (
    "Steps: 20, Size: 64x64, Seed: 5, CFG scale: 6, App: SD.Next, Operations: txt2img, Pipeline: X"
)
CIVITAI = (
    'Steps: 25, Sampler: Euler a, Seed: 1, Civitai resources: [{"type":"checkpoint","id":1}], '
    "Civitai metadata: {}"
)
EASY = f"Prompt: {KETTLE}\nNegative Prompt: fog\nSeed: 5\nStable Diffusion model: sd\nSteps: 25"


def found(text):
    prompt = recognise(text)
    return prompt and (prompt.prompt, prompt.format)


INFOTEXTS = {
    "whole": INFOTEXT,
    "windows_lines": INFOTEXT.replace("\n", "\r\n"),
    "one_line": INFOTEXT.replace("\n", " "),
    "no_negative": f"{KETTLE}\n{SETTINGS}",
    "no_settings": f"{KETTLE}\nNegative prompt: fog, text",
    "labels": f"Positive prompt: {KETTLE}\nNegative prompt: fog, text",
    "short_labels": f"positive: {KETTLE}\nnegative: fog, text",
    "few_settings": f"{KETTLE}\nSteps: 20, Sampler: Euler",
    "other_order": f"{KETTLE}\nSampler: Euler, Steps: 9, CFG scale: 7, Seed: 12",
    "long_negative": f"{KETTLE}\nNegative prompt: fog,\ntext, Steps of stone\n{SETTINGS}",
    "sdnext": f"{KETTLE}\nNegative prompt: fog\n{SDNEXT}",
    "sdnext_file": f"prompt: {KETTLE}\nNegative Prompt: fog\n{SDNEXT}",
    "civitai": f"{KETTLE}\nNegative prompt: fog\n{CIVITAI}",
    "something_behind": f'{INFOTEXT}, TI: "a: b, c: d"\nTemplate: {KETTLE}',
    "ending_in_nul": INFOTEXT + "\0",
}


@pytest.mark.parametrize("name", INFOTEXTS)
def test_infotext(name):
    assert found(INFOTEXTS[name]) == (KETTLE, "a1111")


def test_infotext_with_lines_and_without_words():
    assert found(f"a cat,\n\nred\n{SETTINGS}") == ("a cat,\n\nred", "a1111")
    assert found(f"Negative prompt: x\n{SETTINGS}") == ("", "a1111")
    assert found(f"steps: 3 up\n{SETTINGS}") == ("steps: 3 up", "a1111")
    assert found("A spiral staircase\nSteps: 12, Landings: 2") is None


@pytest.mark.parametrize(
    "prompt",
    [
        f"{KETTLE}\nModel: a woman, old\nSize: small\nSeed: of a poppy", '"Kettle" by a painter',
        "[1] kettle", '{"scene": "a kettle",\n "style": "photo"}', "{copper|iron} kettle",
        'a sign "Negative prompt: none"', "BREAK\na kettle <lora:x:0.8>",
    ],
)  # fmt: skip
def test_a_prompt_that_looks_like_something_else(prompt):
    behind = "\n".join(["Template: a", *"bcdefghijklm", "Negative Template: n"])
    text = f"{prompt}\nNegative prompt: fog\n{SETTINGS}\n{behind}"
    assert recognise(text)[:2] == (prompt, "a1111")


def test_a_negative_prompt_within_a_line_leaves_the_prompt_open():
    assert recognise(f"{KETTLE} Negative prompt: fog\n{SETTINGS}").ambiguous


V4 = {
    "caption": {
        "base_caption": "two kettles",
        "char_captions": [
            {"char_caption": "copper, dented", "centers": []},
            {"char_caption": "iron"},
        ],
    },
    "use_coords": False,
}
OBJECTS = {
    "swarmui": ({"sui_image_params": {"prompt": KETTLE, "negativeprompt": "fog"}}, "swarmui"),
    "invokeai": ({"positive_prompt": KETTLE, "negative_prompt": "fog", "seed": 1}, "invokeai"),
    "invokeai_2": (
        {"model_weights": "m", "image": {"prompt": [{"prompt": f"{KETTLE} [fog]", "weight": 1}]}},
        "invokeai",
    ),
    "invokeai_1": ({"model_weights": "m", "image": {"prompt": f"{KETTLE} [fog]"}}, "invokeai"),
    "novelai": ({"uc": "fog", "steps": 28, "prompt": KETTLE, "sampler": "k_euler"}, "novelai"),
    "fooocus": ({"metadata_scheme": "fooocus", "prompt": KETTLE, "negative_prompt": "fog"}, "fooocus"),
    "fooocus_mre": ({"prompt": KETTLE, "real_prompt": [f"{KETTLE}, sharp"]}, "fooocus"),
    "ruined_fooocus": ({"Negative": "fog", "Prompt": KETTLE, "software": "RuinedFooocus"}, "json"),
    "drawthings": ({"uc": "fog", "c": KETTLE, "v2": {"prompt": "?"}}, "drawthings"),
    "easydiffusion": ({"prompt": KETTLE, "num_inference_steps": 25}, "easydiffusion"),
    "civitai": ({"extra": {}, "extraMetadata": json.dumps({"prompt": KETTLE})}, "civitai"),
    "within_a_graph": ({"nodes": [], "links": [], "prompt": KETTLE}, "json"),
    "labels": ({"Negative Prompt": "fog", "Prompt": KETTLE, "Styles": "[]"}, "json"),
    "hidden": ({"Software": "NovelAI", "Comment": json.dumps({"prompt": KETTLE, "uc": ""})}, "novelai"),
    "infotext_within": ({"parameters": INFOTEXT}, "a1111"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_json(name):
    value, source = OBJECTS[name]
    text = json.dumps(value)
    assert found(text) == (KETTLE, source)
    assert found(json.dumps(text)) == (KETTLE, source)  # packed once more
    assert found(f"Comment: {text}\0\0") == (KETTLE, source)


def test_novelai_with_characters():
    text = json.dumps({"prompt": "two kettles", "uc": "fog", "v4_prompt": V4})
    assert found(text) == ("two kettles, copper, dented, iron", "novelai")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{KETTLE} --ar 3:2 --v 6.1", (KETTLE, "midjourney")),
        (f"https://s.mj.run/x1 {KETTLE} —ar 3:2 --no fog, text", (KETTLE, "midjourney")),
        (f"{KETTLE} Job ID: 0f0f0f0f-1111-4222-8333-abcdefabcdef", (KETTLE, "midjourney")),
        (EASY, (KETTLE, "easydiffusion")),
        (EASY.removeprefix("Prompt: "), (KETTLE, "easydiffusion")),
        ("\n".join(reversed(EASY.splitlines())), (KETTLE, "easydiffusion")),
        ("\n".join(EASY.splitlines()[2:]), ("", "easydiffusion")),
        (f"{KETTLE}, --niji", (KETTLE, "midjourney")),
        ('{"prompt": "{\\"scene\\": 1}", "uc": ""}', ('{"scene": 1}', "novelai")),
        (f'"{KETTLE} [fog]" -s 50 -S 1 -W 512 -H 512 -C 7.5 -A k_lms', (KETTLE, "invokeai")),
        (f"{KETTLE} [fog] -s 50 -S 1 -W 512", (KETTLE, "invokeai")),
        (
            f"{KETTLE}\n-fog, text\nSteps: 8, Sampler: DPM++, Guidance Scale: 4.0, Seed: 7",
            (KETTLE, "drawthings"),
        ),
    ],
)
def test_other_texts(text, expected):
    assert found(text) == expected


BOILERPLATE = [
    "OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "Created with GIMP", "Created with The GIMP",
    "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 82\n", "Lavc60.31.102", "Lavf58.45.100",
    "File written by Adobe Photoshop\xa8 4.0", "Screenshot", "LEAD Technologies Inc. V1.01", "AppleMark",
    "Optimized by JPEGmini 3.18.2.210033067-TBTBLN 0x4c3a1b2d", "Picasa", "DCIM\\100MEDIA\\DJI_0001.JPG",
    "Handmade Software, Inc. Image Alchemy v1.14", "edited with Snapseed, 2020", "ASCII\0\0\0",
    "Sunset over the bay, photo: A. Person, camera: X100, lens: 23 mm", "A prompt reply, and thanks",
    '{"sceneType": 3, "filter": "none", "mirror": true}', '{"app": "x", "data": {"prompt": 3}}',
    "[]", "{}", "Model: X100, Size: 4000x3000, ISO: 200", "Chair\nModel: A-1\nSize: 20x30\nColour: red",
    "from image/png to image/jpeg", "converted from image/png to image/jpeg",
    '<?xml version="1.0"?><note>hello</note>', "date:create 2024-01-01T00:00:00+00:00", "0123456789",
    "http://ns.adobe.com/xap/1.0/", "Title: A house, Artist: B, Year: 1999",
    "ffmpeg -i in.mp4 -vf scale=2", "Edited, Model: A7, Size: 3x2, Seed: none", "Signature: ab/c==",
    '{"data": {"product": "vicut"}, "params": "{\\"os\\": \\"android\\"}"}', "ImageJ=1.53c\nmax=255.0",
    "filter: 0; module: photo;\nhw-remosaic: false;\nAI_Scene: (-1, -1);", "Made with Google AI",
]  # fmt: skip


@pytest.mark.parametrize("text", BOILERPLATE)
def test_boilerplate_is_no_prompt(text):
    assert recognise(text) is None
    for key in ("Comment", "Description", "Software", "Title", "comment", "UserComment", "Author"):
        assert prompt_from_image_bytes(png(**{key: text})) == (None, "none")


PARTS = [
    "Steps: 2", "Seed: 1", "Size: 1x1", ", ", "\n", " ", '"', "Negative prompt:", "--ar 3:2", "{", "}",
    '"prompt": ', "[", "]", ":", "prompt:", "-s 1", "\\", "a cat", "Job ID: ", "Model: x", "\0",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(PARTS),
        max_size=25,
    ).map("".join)
)
def test_any_text_is_survived(text):
    prompt = recognise(text)
    assert prompt is None or isinstance(prompt.prompt, str)


LONG = [
    " " * 2_000_000, "a, " * 700_000, '{"a":' * 300_000, '"' * 1_000_000, "x: " * 700_000,
    "\n" * 1_000_000, "[" * 1_000_000, '"\\' * 500_000, "--ar " * 300_000, " -s 1" * 300_000,
    "Steps: 1\n" * 200_000, "_" * 1_000_000, "https://" * 200_000, "Negative prompt " * 100_000,
    'a: "' * 300_000,
]  # fmt: skip


@pytest.mark.parametrize("text", LONG, ids=lambda text: ascii(text[:8]))
@pytest.mark.timeout(60)
def test_long_texts_are_told_at_once(text):
    recognise(text)
    recognise(f"a cat\n{text}\nb")
