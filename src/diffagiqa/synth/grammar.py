"""The vocabulary of synthetic scenes: kinds, colours, materials, backgrounds, styles, light, relations.

Words only; what each word looks like stands in ``kinds``, ``textures``, ``backgrounds``, ``styles``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["all", "train", "test-prompts", "test-combinations"]
SPLITS: tuple[Split, ...] = ("all", "train", "test-prompts", "test-combinations")


@dataclass(frozen=True, slots=True)
class KindWords:
    """How a kind is spoken of.

    Attributes:
        plural: the plural noun.
        place: where it likes to be: "ground", "air" (may float) or "water".
        materials: materials that suit it; empty means all.
    """

    plural: str
    place: str = "ground"
    materials: tuple[str, ...] = ()


_LIVING = ("furry", "striped", "dotted", "knitted", "glass", "wooden", "metal")
_HARD = ("wooden", "metal", "glass", "striped", "dotted", "checkered", "marble", "glittery")

KINDS: dict[str, KindWords] = {
    "airplane": KindWords("airplanes", "air", _HARD),
    "apple": KindWords("apples", materials=(*_HARD, "knitted")),
    "ball": KindWords("balls"),
    "balloon": KindWords(
        "balloons", "air", ("striped", "dotted", "checkered", "metal", "glittery")
    ),
    "basket": KindWords("baskets", materials=("wooden", "striped", "checkered", "knitted")),
    "bell": KindWords("bells", "air", _HARD),
    "bird": KindWords("birds", "air", _LIVING),
    "boat": KindWords("boats", "water", _HARD),
    "book": KindWords("books", materials=("wooden", "striped", "dotted", "checkered", "glittery")),
    "bottle": KindWords("bottles", materials=_HARD),
    "bowl": KindWords("bowls", materials=_HARD),
    "box": KindWords("boxes", materials=_HARD),
    "bus": KindWords("buses", materials=_HARD),
    "butterfly": KindWords("butterflies", "air", ("striped", "dotted", "glass", "glittery")),
    "cactus": KindWords("cactuses", materials=("striped", "dotted", "knitted", "glass", "furry")),
    "cake": KindWords("cakes", materials=("striped", "dotted", "checkered", "marble", "glittery")),
    "car": KindWords("cars", materials=_HARD),
    "castle": KindWords("castles", materials=_HARD),
    "cat": KindWords("cats", materials=_LIVING),
    "chair": KindWords("chairs", materials=_HARD),
    "clock": KindWords("clocks", materials=_HARD),
    "crown": KindWords("crowns", materials=_HARD),
    "cup": KindWords("cups", materials=_HARD),
    "dog": KindWords("dogs", materials=_LIVING),
    "duck": KindWords("ducks", "water", _LIVING),
    "fish": KindWords(
        "fish", "water", ("striped", "dotted", "metal", "glass", "glittery", "knitted")
    ),
    "flower": KindWords("flowers", materials=("striped", "dotted", "glass", "metal", "knitted")),
    "guitar": KindWords("guitars", materials=_HARD),
    "hat": KindWords("hats", materials=("striped", "dotted", "checkered", "knitted", "furry")),
    "heart": KindWords("hearts", "air"),
    "hot air balloon": KindWords("hot air balloons", "air", ("striped", "dotted", "checkered")),
    "house": KindWords("houses", materials=_HARD),
    "ice cream": KindWords("ice creams", materials=("striped", "dotted", "marble", "glittery")),
    "key": KindWords("keys", materials=_HARD),
    "ladybug": KindWords("ladybugs", materials=("metal", "glass", "furry", "knitted", "glittery")),
    "lamp": KindWords("lamps", materials=_HARD),
    "lighthouse": KindWords("lighthouses", materials=_HARD),
    "mushroom": KindWords("mushrooms", materials=("wooden", "metal", "glass", "furry", "knitted")),
    "pear": KindWords("pears", materials=(*_HARD, "knitted")),
    "penguin": KindWords("penguins", materials=_LIVING),
    "pine tree": KindWords(
        "pine trees", materials=("wooden", "metal", "furry", "glittery", "knitted")
    ),
    "pumpkin": KindWords("pumpkins", materials=_HARD),
    "rabbit": KindWords("rabbits", materials=_LIVING),
    "robot": KindWords("robots", materials=_HARD),
    "rocket": KindWords("rockets", "air", _HARD),
    "snail": KindWords("snails", materials=("striped", "dotted", "glass", "marble", "wooden")),
    "star": KindWords("stars", "air"),
    "table": KindWords("tables", materials=_HARD),
    "teapot": KindWords("teapots", materials=_HARD),
    "teddy bear": KindWords("teddy bears", materials=("furry", "knitted", "striped", "dotted")),
    "train": KindWords("trains", materials=_HARD),
    "tree": KindWords("trees", materials=("furry", "dotted", "glass", "knitted", "glittery")),
    "turtle": KindWords("turtles", materials=("striped", "dotted", "metal", "wooden", "marble")),
    "umbrella": KindWords("umbrellas", materials=("striped", "dotted", "checkered", "glass")),
    "vase": KindWords("vases", materials=_HARD),
    "whale": KindWords("whales", "water", ("striped", "dotted", "metal", "knitted", "glass")),
}
SUPPORTS = ("table", "box", "book", "cake")  # flat tops: something may stand on them
CONTAINERS = ("basket", "bowl", "cup")  # something may be in them

COLOURS: dict[str, tuple[int, int, int]] = {  # sRGB of the unlit surface
    "red": (214, 32, 36),
    "orange": (244, 128, 18),
    "yellow": (250, 214, 38),
    "green": (40, 158, 56),
    "blue": (34, 84, 214),
    "purple": (124, 44, 170),
    "pink": (252, 136, 184),
    "brown": (122, 72, 34),
    "black": (38, 38, 42),
    "white": (244, 244, 240),
    "gray": (136, 138, 142),
    "turquoise": (32, 196, 196),
}
MATERIALS: dict[str, tuple[str, ...]] = {  # value in the graph -> adjectives
    "": (),
    "wooden": ("wooden",),
    "metal": ("metal", "shiny metal", "metallic"),
    "glass": ("glass", "transparent glass"),
    "furry": ("furry", "fluffy"),
    "striped": ("striped",),
    "dotted": ("polka dot", "dotted", "spotted"),
    "checkered": ("checkered",),
    "marble": ("marble",),
    "knitted": ("knitted", "woolen"),
    "glittery": ("glittery", "sparkling"),
}
SIZES: dict[str, tuple[str, ...]] = {
    "": (),
    "small": ("small", "tiny", "little"),
    "large": ("large", "big", "huge"),
}
SIZE_FACTORS = {"": 1.0, "small": 0.62, "large": 1.3}
COUNT_WORDS = {1: ("a",), 2: ("two",), 3: ("three",), 4: ("four",), 5: ("five",)}


@dataclass(frozen=True, slots=True)
class BackgroundWords:
    """How a background is spoken of, and what it does to the objects.

    Attributes:
        phrases: prepositional phrases.
        horizon: height of the horizon, as a share of the image from the top; 1 means none.
        grounded: objects stand on a ground and throw a shadow on it.
        clashes: colours of objects that could not be told from it.
    """

    phrases: tuple[str, ...]
    horizon: float
    grounded: bool
    clashes: tuple[str, ...] = ()


BACKGROUNDS: dict[str, BackgroundWords] = {
    "meadow": BackgroundWords(
        ("on the grass", "in a green meadow", "in a grassy field"), 0.5, True, ("green",)
    ),
    "desert": BackgroundWords(("in the desert", "on desert sand"), 0.5, True, ("orange", "yellow")),
    "snow": BackgroundWords(("in the snow", "in a snowy landscape"), 0.5, True, ("white",)),
    "beach": BackgroundWords(("on the beach", "at the seaside"), 0.55, True, ("yellow",)),
    "sea": BackgroundWords(("on the sea", "in the open sea"), 0.45, False, ("blue", "turquoise")),
    "underwater": BackgroundWords(
        ("under water", "deep in the ocean"), 1.0, False, ("blue", "turquoise")
    ),
    "sky": BackgroundWords(("in the sky", "among the clouds"), 1.0, False, ("blue", "white")),
    "space": BackgroundWords(
        ("in outer space", "among the stars in space"), 1.0, False, ("black", "purple")
    ),
    "night": BackgroundWords(
        ("at night under the moon", "under a starry night sky"), 0.6, True, ("black",)
    ),
    "sunset": BackgroundWords(
        ("at sunset", "in front of a sunset"), 0.58, True, ("orange", "brown", "pink")
    ),
    "room": BackgroundWords(("in a room", "in a living room"), 0.62, True, ("brown",)),
    "kitchen": BackgroundWords(
        ("in a kitchen", "on a kitchen counter"), 0.6, True, ("white", "gray")
    ),
    "city": BackgroundWords(("in the city", "on a city street"), 0.62, True, ("gray",)),
    "forest": BackgroundWords(
        ("in a forest", "in the woods"), 0.55, True, ("green", "brown", "black")
    ),
    "mountains": BackgroundWords(
        ("in the mountains", "in front of mountains"), 0.58, True, ("green", "gray")
    ),
    "studio": BackgroundWords(
        ("on a plain background", "in a photo studio"), 0.66, True, ("gray", "white")
    ),
}


@dataclass(frozen=True, slots=True)
class StyleWords:
    """How a rendering style is spoken of: before the scene, or after it."""

    before: tuple[str, ...]
    after: tuple[str, ...]


STYLES: dict[str, StyleWords] = {
    "photo": StyleWords(
        ("a photo of", "a realistic photograph of"), ("realistic style", "photorealistic", "photo")
    ),
    "cartoon": StyleWords(
        ("a cartoon of", "a cartoon drawing of"), ("cartoon style", "flat cartoon with outlines")
    ),
    "watercolor": StyleWords(
        ("a watercolor of", "a watercolor painting of"), ("watercolor style", "watercolor")
    ),
    "oil painting": StyleWords(
        ("an oil painting of",), ("oil painting style", "oil on canvas", "baroque oil painting")
    ),
    "pixel art": StyleWords(
        ("pixel art of", "a pixel art image of"), ("pixel art", "8-bit pixel art style")
    ),
    "pencil sketch": StyleWords(
        ("a pencil sketch of", "a colored pencil drawing of"), ("sketch style", "pencil sketch")
    ),
}
LIGHTS: dict[str, tuple[str, ...]] = {
    "neutral": (),
    "warm": ("in warm light", "with golden light"),
    "cold": ("in cold light", "with cold blue light"),
    "dusk": ("at dusk", "in dim evening light"),
}
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of", "on the left side of"),
    "right of": ("to the right of", "right of", "on the right side of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "in front of": ("in front of",),
    "behind": ("behind",),
    "on": ("on top of", "on"),
    "in": ("in", "inside"),
}
INVERSES = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
