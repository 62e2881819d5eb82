"""Prompts: cleaning, text files beside pictures, and the metadata generators write."""

import io
import json
import random
import time
import zlib

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from diffagiqa.data.images import ImageLimits
from diffagiqa.data.prompts import (
    MAX_PROMPT_CHARACTERS,
    a1111_prompt,
    clean_prompt,
    comfyui_prompt,
    decode_text,
    find_prompt,
    is_foreign,
    prompt_from_image_bytes,
)
from diffagiqa.errors import PromptError

A1111 = "a cat, (red:1.2)\non a mat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1"


def png(**texts):
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("__", "-"), text)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def with_exif(kind="JPEG", comment=None, tags=None, **options):
    exif = Image.Exif()
    for tag, value in (tags or {}).items():
        exif[tag] = value
    if comment is not None:
        exif[0x8769] = {0x9286: comment}
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind, exif=exif, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        (" a  cat\r\n\ton a mat ", "a  cat on a mat"),
        ("\xa0a\xa0cat\u3000", "a\xa0cat"),
        ("a\0 c\x1ba\x7ft", "a cat"),
        ("\ufeffa \u202ecat\u202c \u2066x\u2069", "a cat x"),
        ("a\u200db \u200dc", "ab c"),
        ("👩\u200d🎨 می\u200cخو", "👩\u200d🎨 می\u200cخو"),
        ("une fée 猫 кот قط", "une fée 猫 кот قط"),
        ("bad \udcff", "bad \ufffd"),
        ("cat\U000e0061\U000e0062", "cat"),
    ],
)
def test_clean_prompt(text, clean):
    assert clean_prompt(text) == clean


def test_a_prompt_of_joiners_is_cleaned_at_once():
    inside, end = "é" + "\u200d" * 40_000 + "é", "é" + "\u200d" * 40_000
    began = time.process_time()
    assert (clean_prompt(inside), clean_prompt(end)) == (inside, "é")
    assert time.process_time() - began < 2  # from every joiner on, it took 15 seconds


def test_a_graph_without_words_is_searched_at_once():
    """Samplers in a row, each of which takes its prompt from the next."""
    graph = {
        str(i): {"class_type": "KSampler", "inputs": {"positive": [str(i + 1), 0]}}
        for i in range(8_000)
    }
    began = time.process_time()
    assert comfyui_prompt(json.dumps(graph)) is None
    assert time.process_time() - began < 4  # from every sampler on, it took a minute


def test_a_dead_end_does_not_hide_what_another_output_leads_to():
    """A node that hands positive and negative on, without words on one side, has them on the other."""
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "model": ["2", 0]}},
        "2": {"class_type": "KSampler", "inputs": {"positive": ["3", 1]}},
        "3": {"class_type": "ControlNet", "inputs": {"positive": ["4", 0], "negative": ["5", 0]}},
        "4": {"class_type": "ConditioningZeroOut", "inputs": {}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    }
    assert comfyui_prompt(json.dumps(graph)) == "a cat"


def test_clean_prompt_refuses_endless_text():
    assert len(clean_prompt("x" * MAX_PROMPT_CHARACTERS)) == MAX_PROMPT_CHARACTERS
    with pytest.raises(PromptError, match=r"has 100,001 characters.*limit is 100,000; shorten it"):
        clean_prompt("x" * 100_001)


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(), max_size=40) | st.text("a é\u200d\u200c\u202e\0\t\ud800", max_size=12)
)
def test_clean_prompt_settles_and_can_be_written(text):
    clean = clean_prompt(text)
    assert clean_prompt(clean) == clean
    clean.encode("utf-8")
    assert not any(ord(c) < 32 or c in "\u202a\u202e\u2066\u200b" for c in clean)


def test_a1111_png():
    assert prompt_from_image_bytes(png(parameters=A1111)) == (
        "a cat, (red:1.2) on a mat",
        "a1111",
    )


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a cat\nSteps: 20, Sampler: Euler", "a cat"),
        ("Negative prompt: x\nSteps: 20", ""),
        ("steps: 3 up\nSteps: 20", "steps: 3 up"),
        ("just words", None),
        ('{"prompt": "a cat", "fooocus_scheme": "v2"}', "a cat"),
        ('{"prompt": 3}', None),
    ],
)
def test_a1111_text(text, prompt):
    assert a1111_prompt(text) == prompt


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("code", "encoding"),
    [
        (b"UNICODE\0", "utf-16-be"),
        (b"UNICODE\0", "utf-16-le"),
        (b"UNICODE\0", "utf-16"),
        (b"ASCII\0\0\0", "utf-8"),
        (bytes(8), "utf-8"),
        (b"", "utf-8"),
    ],
)
def test_a1111_user_comment(kind, code, encoding):
    text = A1111.replace("cat", "猫")
    data = with_exif(kind, code + text.encode(encoding))
    assert prompt_from_image_bytes(data) == ("a 猫, (red:1.2) on a mat", "a1111")


def test_gif_comment():
    out = io.BytesIO()
    Image.new("P", (8, 8)).save(out, "GIF", comment=A1111.encode())
    assert prompt_from_image_bytes(out.getvalue()) == ("a cat, (red:1.2) on a mat", "a1111")


def encode(text, **more):
    return {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["1", 1], **more}}


BASE = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "3": {
        "class_type": "KSampler",
        "inputs": {"model": ["1", 0], "positive": ["6", 0], "negative": ["7", 0], "seed": 1},
    },
    "6": encode("a cat"),
    "7": encode("blurry"),
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
}
GRAPHS = {
    "plain": ({}, "a cat"),
    "through_controlnet": (
        {
            "3": {"class_type": "KSampler", "inputs": {"positive": ["5", 0], "negative": ["5", 1]}},
            "5": {
                "class_type": "ControlNetApplyAdvanced",
                "inputs": {"positive": ["6", 0], "negative": ["7", 0], "image": ["4", 0]},
            },
            "4": {"class_type": "LoadImage", "inputs": {"image": "edges.png"}},
        },
        "a cat",
    ),
    "negative_output_used_as_positive": (
        {
            "3": {"class_type": "KSampler", "inputs": {"positive": ["5", 1], "negative": ["5", 0]}},
            "5": {
                "class_type": "ControlNetApplyAdvanced",
                "inputs": {"positive": ["6", 0], "negative": ["7", 0]},
            },
        },
        "blurry",
    ),
    "from_string_node": (
        {
            "6": encode(["20", 0]),
            "20": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a dog"}},
        },
        "a dog",
    ),
    "concatenated_strings": (
        {
            "6": encode(["20", 0]),
            "20": {
                "class_type": "StringConcatenate",
                "inputs": {"string_a": ["21", 0], "string_b": "on a mat", "delimiter": " "},
            },
            "21": {"class_type": "PrimitiveString", "inputs": {"value": "a dog"}},
        },
        "a dog, on a mat",
    ),
    "combined": (
        {
            "3": {"class_type": "KSampler", "inputs": {"positive": ["5", 0]}},
            "5": {
                "class_type": "ConditioningCombine",
                "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["10", 0]},
            },
            "10": encode("in the rain"),
        },
        "a cat, in the rain",
    ),
    "sdxl_same_text_twice": (
        {
            "6": {
                "class_type": "CLIPTextEncodeSDXL",
                "inputs": {"text_g": "a fox", "text_l": "a fox", "width": 1024},
            }
        },
        "a fox",
    ),
    "guider": (
        {
            "3": {"class_type": "SamplerCustomAdvanced", "inputs": {"guider": ["30", 0]}},
            "30": {"class_type": "BasicGuider", "inputs": {"conditioning": ["31", 0]}},
            "31": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0]}},
        },
        "a cat",
    ),
    "loader_with_texts": (
        {
            "3": {"class_type": "KSampler (Efficient)", "inputs": {"positive": ["40", 1]}},
            "40": {
                "class_type": "Efficient Loader",
                "inputs": {"positive": "a bird", "negative": "ugly"},
            },
        },
        "a bird",
    ),
    "last_sampler_wins": (
        {
            "3": {
                "class_type": "KSampler",
                "inputs": {"positive": ["50", 0], "latent_image": ["51", 0]},
            },
            "50": encode("a sharp cat"),
            "51": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},
        },
        "a sharp cat",
    ),
    "preview_of_another_sampler_is_ignored": (
        {
            "0": {"class_type": "PreviewImage", "inputs": {"images": ["60", 0]}},
            "60": {"class_type": "VAEDecode", "inputs": {"samples": ["61", 0]}},
            "61": {"class_type": "KSampler", "inputs": {"positive": ["62", 0]}},
            "62": encode("a test"),
        },
        "a cat",
    ),
    "cycle": ({"6": encode(["6", 0])}, None),
    "zeroed": ({"6": {"class_type": "ConditioningZeroOut", "inputs": {"c": ["7", 0]}}}, None),
    "dangling": ({"6": encode(["99", 0])}, None),
    "odd_values": ({"6": {"class_type": 3, "inputs": {"text": None, "x": [[], {}]}}, "z": 1}, None),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_comfyui_graph(name):
    changes, prompt = GRAPHS[name]
    assert comfyui_prompt(json.dumps({**BASE, **changes})) == prompt


def test_comfyui_png_and_webp():
    graph = json.dumps(BASE)
    assert prompt_from_image_bytes(png(prompt=graph)) == ("a cat", "comfyui")
    webp = with_exif("WEBP", tags={0x0110: f"prompt:{graph}"})
    assert prompt_from_image_bytes(webp) == ("a cat", "comfyui")
    assert prompt_from_image_bytes(png(prompt=graph.replace("}", "", 1))) == (None, "none")


def test_comfyui_workflow_when_there_is_no_prompt():
    workflow = {
        "nodes": [
            {
                "id": 3,
                "type": "KSampler",
                "inputs": [{"name": "positive", "link": 4}, {"name": "negative", "link": 6}],
                "widgets_values": [1, "randomize", 20, 8, "euler"],
            },
            {"id": 5, "type": "Reroute", "inputs": [{"name": "", "link": 5}]},
            {"id": 6, "type": "CLIPTextEncode", "inputs": [], "widgets_values": ["a cat"]},
            {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["blurry"]},
            {"id": 9, "type": "SaveImage", "inputs": [{"name": "images", "link": 9}]},
            "noise",
        ],
        "links": [
            [4, 5, 0, 3, 1, "CONDITIONING"],
            [5, 6, 0, 5, 0, "CONDITIONING"],
            [6, 7, 0, 3, 2, "CONDITIONING"],
            [9, 3, 0, 9, 0, "IMAGE"],
            "noise",
        ],
    }
    assert prompt_from_image_bytes(png(workflow=json.dumps(workflow))) == ("a cat", "comfyui")


@pytest.mark.parametrize(
    ("key", "text", "prompt"),
    [
        ("invokeai_metadata", '{"positive_prompt": "a cat", "negative_prompt": "x"}', "a cat"),
        (
            "sd__metadata",
            '{"image": {"prompt": [{"prompt": "a cat [ugly]", "weight": 1}]}}',
            "a cat",
        ),
        ("sd__metadata", '{"image": {"prompt": "a cat"}}', "a cat"),
        ("Dream", '"a cat [ugly], red" -s 50 -S 1 -W 512', "a cat, red"),
        ("dream", "a cat -s50", "a cat"),
    ],
)
def test_invokeai(key, text, prompt):
    assert prompt_from_image_bytes(png(**{key: text})) == (prompt, "invokeai")


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:description><rdf:Alt>'
    '<rdf:li xml:lang="x-default">a cat &amp; a dog</rdf:li></rdf:Alt></dc:description></x:xmpmeta>'
)


@pytest.mark.parametrize(
    ("data", "prompt"),
    [
        (png(Description="a cat"), "a cat"),
        (png(prompt="a cat"), "a cat"),
        (with_exif(tags={0x010E: "a cat"}), "a cat"),
        (with_exif(tags={0x010E: "une fée".encode()}), "une fée"),
        (with_exif(comment=b"ASCII\0\0\0a cat"), "a cat"),
        (with_exif(xmp=XMP.encode()), "a cat & a dog"),
    ],
)
def test_plain_descriptions(data, prompt):
    assert prompt_from_image_bytes(data) == (prompt, "exif")


def test_generators_come_before_plain_descriptions():
    assert prompt_from_image_bytes(png(Description="x", Dream='"a cat" -s 5', parameters=A1111))[
        1
    ] == ("a1111")


def chunk(kind, body):
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png_with(*chunks):
    plain = png()
    return plain[:33] + b"".join(chunks) + plain[33:]


DEEP = '{"a":' * 100_000
HOSTILE = {
    "nothing": b"",
    "not_a_picture": b"parameters\0a cat\nSteps: 3",
    "no_metadata": png(),
    "text_bomb": png_with(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(50_000_000), 9))),
    "deep_json": png(prompt=DEEP, workflow=DEEP, invokeai_metadata=DEEP, parameters=DEEP),
    "long_integer": png(prompt='{"a": ' + "9" * 10_000 + "}"),
    "lying_length": png_with(b"\xff\xff\xff\xfftEXtparameters\0a cat"),
    "broken_packing": png_with(chunk(b"zTXt", b"parameters\0\0not zlib")),
    "half_an_itxt": png_with(chunk(b"iTXt", b"parameters\0")),
    "too_many_nodes": png(
        prompt=json.dumps(
            {"k": {"class_type": "KSampler", "inputs": {"positive": ["t", 0]}}}
            | {"t": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}}
            | {str(i): {"class_type": "Note", "inputs": {}} for i in range(20_000)}
        )
    ),
    "brackets": png(sd__metadata="{" * 100_000, Dream="[" * 200_000),
    "xmp_without_end": with_exif(xmp=b"<dc:description>" * 2_000),
    "wide_cycle": png(
        prompt=json.dumps(
            {str(i): encode([str((i + 1) % 5000), 0], positive=[str(i), 0]) for i in range(5000)}
        )
    ),
    "broken_exif": with_exif()[:30] + b"\xff" * 20,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(10)
def test_hostile_metadata_counts_as_none(name):
    assert prompt_from_image_bytes(HOSTILE[name]) == (None, "none")


def test_a_prompt_in_metadata_that_is_too_long_is_an_error():
    """As it is in a table; it is not as if there were none."""
    data = png(parameters="x" * 100_001 + "\nSteps: 20, Sampler: Euler", Description="a cat")
    with pytest.raises(PromptError, match="the prompt has 100,001 characters, and the limit is"):
        prompt_from_image_bytes(data)


def test_metadata_is_read_within_the_limits_of_the_pixels(tmp_path):
    """A picture that a raised limit lets be scored keeps its prompt."""
    plain = png(parameters=A1111)
    header = (11_000).to_bytes(4, "big") * 2 + plain[24:29]  # of 121 million pixels
    data = plain[:8] + chunk(b"IHDR", header) + plain[33:]
    assert prompt_from_image_bytes(data) == (None, "none")
    raised = ImageLimits(max_pixels=130_000_000)
    assert find_prompt(tmp_path / "a.png", data, limits=raised)[1] == "a1111"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["png", "exif", "webp"]), st.integers(0, 2**32 - 1))
def test_flipped_bytes_never_raise(kind, seed):
    rng = random.Random(seed)
    data = bytearray(
        {
            "png": png(parameters=A1111, prompt=json.dumps(BASE)),
            "exif": with_exif("JPEG", b"UNICODE\0" + A1111.encode("utf-16-be")),
            "webp": with_exif("WEBP", tags={0x0110: "prompt:" + json.dumps(BASE)}),
        }[kind]
    )
    for _ in range(rng.randint(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    text, source = prompt_from_image_bytes(bytes(data[: rng.randint(1, len(data))]))
    assert (text is None) == (source == "none")


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["1", "6", "positive"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["inputs", "nodes", "links", "positive", "text", "6"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["3", "6", "nodes", "links", "prompt"]), json_values))
def test_any_json_graph_is_survived(graph):
    text = png(prompt=json.dumps(graph))
    prompt, source = prompt_from_image_bytes(text)
    assert (prompt is None) == (source == "none")


def test_sidecar(tmp_path):
    image = tmp_path / "cat.png"
    image.write_bytes(png(parameters=A1111))
    assert find_prompt(image, image.read_bytes())[1] == "a1111"
    (tmp_path / "cat.png.txt").write_text("second\n", encoding="utf-8")
    assert find_prompt(image, image.read_bytes()) == ("second", "sidecar")
    (tmp_path / "cat.txt").write_text("\ufefffirst 猫\n", encoding="utf-8")
    assert find_prompt(str(image), image.read_bytes()) == ("first 猫", "sidecar")
    assert find_prompt(image.as_uri(), image.read_bytes()) == ("first 猫", "sidecar")
    assert find_prompt(image, image.read_bytes(), sidecar=False)[1] == "a1111"
    assert find_prompt(None, image.read_bytes())[1] == "a1111"
    (tmp_path / "cat.txt").write_bytes(b"")
    assert find_prompt(image, image.read_bytes()) == ("", "sidecar")


def test_sidecar_in_a_store():
    with fsspec.open("memory://prompts/cat.txt", "wb") as file:
        file.write(b"a cat")
    assert find_prompt("memory://prompts/cat.png", png()) == ("a cat", "sidecar")
    assert find_prompt("memory://prompts/dog.png", png()) == (None, "none")


@pytest.mark.parametrize("image", ["https://example.org/cat.png", "shard.tar::cat.png"])
def test_nothing_lies_beside_what_is_no_file(image):
    assert find_prompt(image, png()) == (None, "none")


def test_sidecar_faults(tmp_path):
    (tmp_path / "cat.txt").write_bytes(b"caf\xe9")
    with pytest.raises(PromptError, match=r"cat\.txt is not UTF-8 text \(byte 3\); save it as UTF"):
        find_prompt(tmp_path / "cat.png", b"")
    (tmp_path / "cat.txt").write_bytes(b"x" * 400_001)
    with pytest.raises(PromptError, match=r"cat\.txt holds more than 400,000 bytes"):
        find_prompt(tmp_path / "cat.png", b"")


def test_text_files_of_other_encodings():
    assert decode_text("a 猫".encode("utf-16"), "x") == "a 猫"
    with pytest.raises(PromptError, match="x is not UTF-16 text"):
        decode_text(b"\xff\xfea", "x")


@pytest.mark.parametrize(
    ("prompt", "foreign"),
    [
        ("abcdefgh éé", False),  # two of ten letters are a fifth
        ("abcdefg éé", True),
        ("une fée bleue", False),  # two words of another language
        ("une belle fée bleue du nord", True),
        ("la vie et le cinema", True),
        ("la vie and le cinema", False),
    ],
)
def test_prompts_in_other_languages(prompt, foreign):
    assert is_foreign(prompt) == foreign
