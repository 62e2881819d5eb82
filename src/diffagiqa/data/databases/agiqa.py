"""AGIQA-1K and AGIQA-3K, as github.com/lcysyzxdxc distributes them."""

from __future__ import annotations

import os

from diffagiqa.data.databases.database import Source
from diffagiqa.data.databases.files import Folder
from diffagiqa.data.databases.listing import ALIGNMENT, PERCEPTION, Listing, read_rated

TRAIN_FILES = ("train.csv", "agiqa1k_train.csv")
TEST_FILES = ("val.csv", "agiqa1k_val.csv")
WORKBOOK = "AIGC_MOS_Zscore.xlsx"


def read_agiqa_1k(folder: Folder) -> Listing:
    """``AIGC_MOS_Zscore.xlsx``, or the ``train.csv`` and ``val.csv`` that Diff-AGIQA was tested with.

    Both have columns Image, Prompt, MOS (0..5); images in ``file/``, named
    ``<deepai|dreamStudio>_<object>_<action>_<place>_<style>.jpg``. Where the two CSV files are there,
    they are the table and the official split ("test" is their val part; 119 of its 198 prompts are in
    the train part too). The list repeats one image name; such rows are marked as duplicates.
    """
    import pandas as pd

    wanted = {"image": "Image", "prompt": "Prompt", PERCEPTION: "MOS"}
    train, test = folder.file(*TRAIN_FILES), folder.file(*TEST_FILES)
    if train is not None and test is not None:
        parts = {"train": train, "test": test}
        sheets = [
            read_rated(file, wanted, [PERCEPTION]).assign(part=part) for part, file in parts.items()
        ]
        table = pd.concat(sheets, ignore_index=True)
    else:
        table = read_rated(folder.need(WORKBOOK), wanted, [PERCEPTION])
    table["generator"] = table["image"].astype(str).str.split("_").str[0]
    return Listing(table)


def read_agiqa_3k(folder: Folder) -> Listing:
    """``data.csv``: name, prompt, mos_quality, mos_align (0..5), and more that is not read.

    Files are ``<model>_<setting>_<number>.jpg``; the number (000..299) is the prompt's: every prompt has
    one number and every number one prompt. The generator is the model with its setting
    (``sd1.5_lowcorr``): ten of them.
    """
    wanted = {
        "image": "name",
        "prompt": "prompt",
        PERCEPTION: "mos_quality",
        ALIGNMENT: "mos_align",
    }
    table = read_rated(folder.need("data.csv"), wanted, [PERCEPTION, ALIGNMENT])
    table["generator"] = [without_number(str(name)) for name in table["image"]]
    return Listing(table)


def without_number(image: str) -> str:
    """What an image's name says of its generator: all but folder, number and suffix.

    >>> without_number("sd1.5_lowcorr_004.jpg")
    'sd1.5_lowcorr'
    """
    return os.path.splitext(os.path.basename(image))[0].rpartition("_")[0] or "unknown"


AGIQA_1K = Source(
    name="agiqa-1k",
    title="AGIQA-1K",
    read=read_agiqa_1k,
    scales={PERCEPTION: (0.0, 5.0)},
    folders=("file", "images", "image"),
    expected={"rows": 1080, "prompts": 720, "generators": 2},
    citation="Zhang et al., A Perceptual Quality Assessment Exploration for AIGC Images, "
    "arXiv:2303.12618, 2023",
    licence="MIT",
    home="https://github.com/lcysyzxdxc/AGIQA-1k-Database",
)

AGIQA_3K = Source(
    name="agiqa-3k",
    title="AGIQA-3K",
    read=read_agiqa_3k,
    scales={PERCEPTION: (0.0, 5.0), ALIGNMENT: (0.0, 5.0)},
    folders=("images", "image", "file"),
    expected={"rows": 2982, "prompts": 300, "generators": 10},
    citation="Li et al., AGIQA-3K: An Open Database for AI-Generated Image Quality Assessment, "
    "IEEE TCSVT 2023, arXiv:2306.04717",
    licence="MIT",
    home="https://github.com/lcysyzxdxc/AGIQA-3k-Database",
)
