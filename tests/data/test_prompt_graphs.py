"""ComfyUI's graphs: the words that reach the sampler, whatever the nodes between are called."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_files import KETTLE, png, with_exif

from diffagiqa.data.prompts import prompt_from_image_bytes, recognise


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def encode(text, **more):
    return node("CLIPTextEncode", text=text, clip=["1", 1], **more)


BASE = {
    "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
    "3": node("KSampler", model=["1", 0], positive=["6", 0], negative=["7", 0], seed=1),
    "6": encode("a cat"),
    "7": encode("fog, text"),
    "8": node("VAEDecode", samples=["3", 0], vae=["1", 2]),
    "9": node("SaveImage", images=["8", 0], filename_prefix="an image"),
}
SAME = {"prompt": "a cat"}
GRAPHS = {
    "plain": ({}, "a cat"),
    "through_controlnet": (
        {
            "3": node("KSampler", positive=["5", 0], negative=["5", 1]),
            "5": node("ControlNetApplyAdvanced", negative=["7", 0], positive=["6", 0], image=["4", 0]),
            "4": node("LoadImage", image="edges of a house.png"),
        },
        "a cat",
    ),
    "negative_output_first": (
        {
            "3": node("KSampler", positive=["5", 1], negative=["5", 0]),
            "5": node("Foo Loader", negative=["7", 0], positive=["6", 0]),
        },
        "a cat",
    ),
    "other_names_of_the_negative": (
        {
            "3": node("KSampler", positive=["5", 1], negative=["5", 2]),
            "5": node("Foo Loader", n_prompt="fog, text", prompt="a cat"),
        },
        "a cat",
    ),
    "delimiter_by_name": (
        {"6": encode(["20", 0]), "20": node("Concat", a="a cat", b=["21", 0], delimiter="space"),
         "21": node("S", string="on a mat")},
        "a cat on a mat",
    ),
    "one_word_of_two": (
        {"6": encode(["20", 0]), "20": node("JoinFoo", a="cat", b=["21", 0]), "21": node("S", s="mat")},
        "cat, mat",
    ),
    "short_and_long_encoder": (
        {"6": node("CLIPTextEncodeFoo", clip_l="a cat", qwen25_7b="a cat on a mat, at dawn")},
        "a cat on a mat, at dawn",
    ),
    "string_node": ({"6": encode(["20", 0]), "20": node("StringMultiline", value="a dog")}, "a dog"),
    "joined": (
        {
            "6": encode(["20", 0]),
            "20": node("Concat", string_b="on a mat", delimiter=" ", string_a=["21", 0]),
            "21": node("PrimitiveString", value="a dog"),
        },
        "a dog on a mat",
    ),
    "joined_by_a_line_break": (
        {"6": encode(["20", 0]), "20": node("J", text2="red fur", text1="a dog", separator="\\n")},
        "a dog red fur",
    ),
    "before_and_after": (
        {"6": encode(["20", 0]), "20": node("Styler", suffix="8k", text="a dog", prefix="photo of")},
        "photo of, a dog, 8k",
    ),
    "replaced": (
        {"6": encode(["20", 0]), "20": node("StringReplace", string="a X", find="X", replace="dog")},
        "a dog",
    ),
    "combined": (
        {
            "3": node("KSampler", positive=["5", 0]),
            "5": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["10", 0]),
            "10": encode("in the rain"),
        },
        "a cat, in the rain",
    ),
    "two_encoders_one_text": (
        {"6": node("CLIPTextEncodeSDXL", text_g="a fox", text_l="a fox", width=1024)},
        "a fox",
    ),
    "two_encoders_two_texts": (
        {"6": node("CLIPTextEncodeFlux", clip_l="a fox", t5xxl="a fox in the snow", guidance=3.5)},
        "a fox in the snow",
    ),
    "unknown_encoder": (
        {"6": node("EncodeFoo", gemma9="a fox at dawn", quality_mode="very good", clip=["1", 1])},
        "a fox at dawn",
    ),
    "unknown_encoder_one_word": ({"6": node("EncodeFoo", gemma9="kettle", clip=["1", 1])}, "kettle"),
    "guider": (
        {
            "3": node("SamplerCustomAdvanced", guider=["30", 0]),
            "30": node("BasicGuider", conditioning=["31", 0]),
            "31": node("FluxGuidance", conditioning=["6", 0]),
        },
        "a cat",
    ),
    "video_sampler": (
        {
            "3": node("WanVideoSampler", text_embeds=["30", 0], image_embeds=["31", 0]),
            "30": node("WanVideoTextEncode", negative_prompt="fog", positive_prompt="a dog runs"),
        },
        "a dog runs",
    ),
    "loader_with_texts": (
        {
            "3": node("KSampler (Efficient)", positive=["40", 1], negative=["40", 2]),
            "40": node("Efficient Loader", negative="ugly", positive="a bird", ckpt_name="m"),
        },
        "a bird",
    ),
    "loader_with_links": (
        {
            "3": node("KSampler (Efficient)", positive=["40", 1], negative=["40", 2]),
            "40": node("Loader", negative=["7", 0], positive=["6", 0], lora_name="a b"),
        },
        "a cat",
    ),
    "pipe": (
        {
            "3": node("easy kSampler", pipe=["41", 0], image_output="Save"),
            "41": node("easy preSampling", pipe=["40", 0], sampler_name="euler a"),
            "40": node("easy loader", negative="fog", positive="a bird", lora_name="x y"),
        },
        "a bird",
    ),
    "pipe_with_links": (
        {
            "3": node("ttN pipeKSampler", pipe=["40", 0]),
            "40": node("ToBasicPipe", model=["1", 0], negative=["7", 0], positive=["6", 0]),
        },
        "a cat",
    ),
    "positive_settings_are_no_text": (
        {
            "3": node("KSampler", positive=["40", 1]),
            "40": node(
                "ttN pipeLoader",
                positive_token_normalization="length and mean",
                positive="a bird",
                negative="",
            ),
        },
        "a bird",
    ),
    "styler_with_both": (
        {
            "6": encode(["40", 0]),
            "40": node("Styler", text_negative="fog", text_positive="a bird", style="base, soft"),
        },
        "a bird",
    ),
    "last_sampler_wins": (
        {
            "3": node("KSampler", positive=["50", 0], latent_image=["51", 0]),
            "50": encode("a sharp cat"),
            "51": node("KSampler", positive=["6", 0]),
        },
        "a sharp cat",
    ),
    "detailer_is_no_sampler_of_the_image": (
        {
            "9": node("SaveImage", images=["70", 0]),
            "70": node("FaceDetailer", image=["8", 0], positive=["71", 0], negative=["7", 0]),
            "71": encode("a face, detailed"),
        },
        "a cat",
    ),
    "preview_of_another_sampler_is_ignored": (
        {
            "0": node("PreviewImage", images=["60", 0]),
            "60": node("VAEDecode", samples=["61", 0]),
            "61": node("KSampler", positive=["62", 0]),
            "62": encode("a test"),
        },
        "a cat",
    ),
    "service_without_sampler": (
        {
            "9": node("SaveImage", images=["60", 0]),
            "60": node("SomeImageApi", prompt="a sea of ice", system_prompt="You are a painter", n=1),
        },
        "a sea of ice",
    ),
    "words_on_the_image_are_no_prompt": (
        {"9": node("SaveImage", images=["60", 0]), "60": node("Text", image=["8", 0], text="SALE now")},
        "a cat",
    ),
    "unknown_nodes_pass_it_on": (
        {"6": encode(["20", 0]), "20": node("Foo", anything=["21", 0]), "21": node("Bar", x=["22", 0]),
         "22": node("Baz", words="a dog on a sofa")},
        "a dog on a sofa",
    ),
    "wildcards_resolved": (
        {"6": node("ImpactWildcardEncode", wildcard_text="a {cat|dog}", populated_text="a dog",
                   **{"Select to add LoRA": "Select the LoRA to add to the text"})},
        "a dog",
    ),
    "choices_not_made": (
        {"6": encode(["20", 0]), "20": node("easy wildcards", text="a dog",
                                            select_wildcard="Select the Wildcard to add to the text")},
        "a dog",
    ),
    "context": (
        {"3": node("KSampler", positive=["20", 4], negative=["20", 5]),
         "20": node("Context Big", base_ctx=["21", 0], seed=1),
         "21": node("Context", positive=["6", 0], negative=["7", 0])},
        "a cat",
    ),
    "shown_text": (
        {"6": encode(["20", 0]), "20": node("Show Text", text=["21", 0], text_0="a tree in May"),
         "21": node("Ollama", prompt="Write about a tree", system="x")},
        "a tree in May ?",
    ),
    "shown_aside": (
        {"6": encode(["21", 0]), "20": node("ShowAnything", anything=["21", 0], text=["a tree in May"]),
         "21": node("LLM Chat", prompt="Write about a tree")},
        "a tree in May ?",
    ),
    "written_by_a_model_and_not_kept": (
        {"6": encode(["21", 0]), "21": node("Foo", text="Write about a tree", temperature=0.7)}, None,
    ),
    "caption_of_an_image": (
        {"6": encode(["21", 0]), "21": node("Florence2Run", image=["4", 0], text_input="what is it")},
        None,
    ),
    "part_written_by_a_model": (
        {"6": encode(["20", 0]), "20": node("Concat", text_a="a cat", text_b=["21", 0]),
         "21": node("WD14Tagger", image=["4", 0])},
        "a cat ?",
    ),
    "text_for_each_output": (
        {"6": encode(["20", 1]), "20": node("Text String", text="a cat", text_b="a dog")}, "a dog ?",
    ),
    "settings_are_no_words": (
        {"6": encode(["20", 0]), "20": node("StringFoo", tidy_tags="yes", text_a="a cat", text_b="red")},
        "a cat, red",
    ),
    "words_of_the_saving_node": (
        {"9": node("Image Saver", images=["8", 0], positive="unknown", negative="x")}, "a cat",
    ),
    "saved_is_another_image": (
        {"9": node("SaveImage", images=["4", 0]), "4": node("LoadImage", image="x.png")}, "a cat ?",
    ),
    "text_from_a_file": (
        {"6": encode(["20", 0]), "20": node("LoadText", root_dir="input", file="a.txt")}, None,
    ),
    "made_of_choices": (
        {"6": encode(["20", 0]), "20": node("Builder", shot="from afar", who="a cat")},
        "from afar, a cat ?",
    ),
    "computed": (
        {"6": encode(["20", 0]), "20": node("Eval", expression="a + b", a=["21", 0], description="a dog"),
         "21": node("S", string="a cat")},
        "a dog, a cat ?",
    ),
    "schedule": ({"6": node("PromptSchedule", text='"0": "a cat"')}, '"0": "a cat" ?'),
    "cycle": ({"6": encode(["6", 0])}, None),
    "zeroed": ({"6": node("ConditioningZeroOut", conditioning=["7", 0])}, None),
    "dangling": ({"6": encode(["99", 0])}, None),
    "odd_values": ({"6": {"class_type": 3, "inputs": {"text": None, "x": [[], {}]}}, "z": 1}, None),
    "wildcards_unresolved": ({"6": encode("a __animal__")}, "a __animal__ ?"),
    "two_saved_images": (
        {
            "19": node("SaveImage", images=["18", 0]),
            "18": node("KSampler", positive=["16", 0]),
            "16": encode("a dog"),
        },
        "a cat ?",
    ),
}  # fmt: skip
A, B = ["16", 0], ["17", 0]
SWITCHES = {
    "number_from_one": (node("Impact Switch", select=2, input1=A, input2=B), "b b"),
    "number_from_nought": (node("Index Switch", index=1, value0=A, value1=B), "b b"),
    "capital": (node("CR Text Input Switch", Input=2, text1=A, text2=B), "b b"),
    "other_order": (node("Switch", input_2=B, input_1=A, select=1), "a a"),
    "name": (node("Pick", choice="text_b", text_a=A, text_b=B), "b b"),
    "truth": (node("ComfySwitchNode", switch=False, on_false=B, on_true=A), "b b"),
    "truth_in_other_order": (node("Foo", switch=True, on_false=B, on_true=A), "a a"),
    "truth_as_number": (node("Text Input Switch", boolean_number=0, text_a=A, text_b=B), "b b"),
    "if_else": (node("easy ifElse", boolean=True, on_true=A, on_false=B), "a a"),
    "impact": (node("ConditionalBranch", cond=False, tt_value=A, ff_value=B), "b b"),
    "first_connected": (node("Any Switch (rgthree)", any_02=A, any_05=B), "a a"),
    "linked_number": (node("Impact Switch", select=["30", 0], input1=A, input2=B), "b b"),
    "linked_twice": (node("Impact Switch", select=["31", 0], input1=A, input2=B), "b b"),
    "number_made_at_run_time": (node("Some Switch", select=["99", 0], input1=A, input2=B), "a a ?"),
    "no_switch": (node("Concat", inputcount=2, input1=A, input2=B), "a a, b b"),
}


def found(graph):
    prompt = recognise(json.dumps(graph))
    return prompt and prompt.prompt.replace("\n", " ") + (" ?" if prompt.ambiguous else "")


@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name):
    changes, prompt = GRAPHS[name]
    graph = {**BASE, **changes}
    assert found(graph) == prompt
    if name != "two_saved_images":
        assert found(dict(reversed(graph.items()))) == prompt


@pytest.mark.parametrize("name", SWITCHES)
def test_switch(name):
    """At the conditioning, and at the text before it."""
    switch, prompt = SWITCHES[name]
    rest = {"30": node("Int", value=2), "31": node("Reroute", x=["30", 0])}
    texts = {"16": encode("a a"), "17": encode("b b")}
    assert found({**BASE, **rest, **texts, "6": switch}) == prompt
    reverse = {**switch, "inputs": dict(reversed(switch["inputs"].items()))}
    assert found({**BASE, **rest, **texts, "6": reverse}) == prompt
    strings = {"16": node("Str", string="a a"), "17": node("Str", string="b b")}
    assert found({**BASE, **rest, **strings, "6": encode(["15", 0]), "15": switch}) == prompt


def test_graph_in_png_and_webp():
    graph = json.dumps(BASE)
    assert prompt_from_image_bytes(png(prompt=graph)) == ("a cat", "png comfyui")
    webp = with_exif("WEBP", tags={0x010F: "Workflow:{}", 0x0110: f"Prompt:{graph}"})
    assert prompt_from_image_bytes(webp) == ("a cat", "exif comfyui")
    assert prompt_from_image_bytes(png(prompt=graph.replace("}", "", 1))) == (None, "none")


@pytest.mark.parametrize("kind", ["KSampler", "Reroute", "ConditioningCombine", "Concat"])
def test_a_long_chain_is_searched_at_once(kind):
    graph = {
        str(i): node(kind, positive=[str(i + 1), i], text_a=[str(i + 1), 0]) for i in range(8_000)
    }
    began = time.process_time()
    assert found(graph) is None
    assert time.process_time() - began < 10  # from every sampler on, it took a minute


def test_texts_that_double_are_bounded():
    graph = {
        str(i): node("C", text_a=[str(i + 1), 0], text_b=[str(i + 1), 0], delimiter="xy ")
        for i in range(60)
    }
    graph["60"] = node("S", string="a cat")
    graph["k"] = node("KSampler", positive=["0", 0])
    for number in range(60):
        graph[f"t{number}"] = node("S", string=f"a {number}")
        graph[str(number)]["inputs"]["text_c"] = [f"t{number}", 0]
    assert len(found(graph) or "") <= 200_000


KEYS = [
    "inputs", "nodes", "links", "positive", "text", "6", "class_type", "id", "type", "widgets_values",
    "definitions", "subgraphs", "name", "link", "mode", "outputs", "properties", "proxyWidgets",
]  # fmt: skip
json_values = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["1", "6", "positive", "uuid"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["3", "6", "nodes", "links", "prompt", "definitions"]), json_values
    )
)
def test_any_json_graph_is_survived(graph):
    prompt, source = prompt_from_image_bytes(png(prompt=json.dumps(graph)))
    assert (prompt is None) == (source == "none")


def test_cases_use_the_sentence():
    assert found({**BASE, "6": encode(KETTLE)}) == KETTLE
