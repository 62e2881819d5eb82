"""AIGCIQA2023, AIGIQA-20K and PKU-AIGIQA-4K, as their authors distribute them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.databases.agiqa import without_number
from diffagiqa.data.databases.database import Source
from diffagiqa.data.databases.files import Folder, read_cells
from diffagiqa.data.databases.listing import (
    ALIGNMENT,
    AUTHENTICITY,
    PERCEPTION,
    Listing,
    read_rated,
)
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError

# AIGCIQA2023: images 0.png .. 2399.png lie in this order of generators, 100 prompts, 4 images.
GENERATORS_2023 = ("Controlnet", "DALLE", "Glide", "Lafite", "stable-diffusion", "Unidiffuser")
PROMPTS_2023, IMAGES_PER_PROMPT = 100, 4
MATRICES = ((PERCEPTION, 1), (AUTHENTICITY, 2), (ALIGNMENT, 3))
SPLIT_20K = {"train": "info_train.csv", "validation": "info_val.csv", "test": "info_test.csv"}


def read_aigciqa2023(folder: Folder) -> Listing:
    """``DATA/MOS/mosz{1,2,3}.mat`` (MOSz: quality, authenticity, correspondence) and the prompts' xlsx.

    Row i of a matrix, from 0, is image
    ``Image/allimg/<i>.png``, or ``Image/<generator>/<prompt>-<1..4>.png``, in the order of
    ``GENERATORS_2023`` and of the prompts, as ``pic-index.xlsx`` says, too, which is not read.
    ``AIGCIQA2023_Prompts.xlsx`` has no header and 100 rows: challenge, category, prompt.
    """
    import pandas as pd

    files = {task: folder.file(f"mosz{number}.mat") for task, number in MATRICES}
    missing = [f"mosz{number}.mat" for task, number in MATRICES if files[task] is None]
    sheet = folder.file("AIGCIQA2023_Prompts.xlsx", "prompts.xlsx", "AIGCIQA2023_Prompts.csv")
    missing += [] if sheet is not None else ["AIGCIQA2023_Prompts.xlsx"]
    if missing:
        raise DatabaseError(
            f"{folder.root} holds no {', '.join(missing)}; expected DATA/MOS/mosz1.mat, mosz2.mat and "
            "mosz3.mat, AIGCIQA2023_Prompts.xlsx, and the images in Image/allimg"
        )
    assert sheet is not None
    prompts = _prompts_2023(sheet)
    order = list(product(GENERATORS_2023, range(PROMPTS_2023), range(1, IMAGES_PER_PROMPT + 1)))
    table = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(len(order))],
            "prompt": [prompts[number] for _, number, _ in order],
            "generator": [generator for generator, _, _ in order],
            "elsewhere": [f"{generator}/{number:03d}-{k}.png" for generator, number, k in order],
        }
    )
    for task, file in files.items():
        assert file is not None
        table[task] = _matrix(file, len(order))
    return Listing(table)


def _prompts_2023(sheet: Path) -> list[str]:
    rows = read_cells(sheet)
    if len(rows) == PROMPTS_2023 + 1:  # a copy with a header
        del rows[0]
    if len(rows) != PROMPTS_2023:
        raise DatabaseError(
            f"{sheet} has {counted(len(rows), 'row')}; expected {PROMPTS_2023}: "
            "challenge, category, prompt"
        )
    last = max(i for row in rows for i, cell in enumerate(row) if cell)  # columns may be empty
    return [row[last] for row in rows]


def _matrix(file: Path, count: int) -> NDArray[np.float64]:
    """The ``count`` numbers of MOSz in a MATLAB file."""
    from scipy.io import loadmat

    try:
        content = loadmat(file)
    except Exception as error:  # loadmat raises whatever the bytes lead it to
        raise DatabaseError(
            f"{file} cannot be read as a MATLAB file ({error}); download it again"
        ) from None
    if "MOSz" not in content:
        names = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise DatabaseError(f"{file} holds {names}; expected a matrix called MOSz")
    try:
        values = np.asarray(content["MOSz"], dtype=np.float64).ravel()
    except (TypeError, ValueError):  # a struct, cells or text
        raise DatabaseError(f"MOSz in {file} holds no numbers; download it again") from None
    if np.isinf(values).any():
        raise DatabaseError(f"MOSz in {file} holds infinite values; download it again")
    if len(values) != count:
        raise DatabaseError(
            f"{file} holds {counted(len(values), 'value')}; expected {count}, one per image"
        )
    return values


def read_aigiqa_20k(folder: Folder) -> Listing:
    """``info_train.csv``, ``info_val.csv``, ``info_test.csv``: name, prompt, mos (0..5, one score).

    The official split, 14 000 / 2 000 / 4 000, has the same prompts on all sides. Files are
    ``<model>_<number>.<suffix>`` in ``train``, ``val`` and ``test``, or all in one folder. A part whose
    list is not there is noted; without any list there is an error. Its one score mixes quality with
    alignment, and stands for perception, as its users take it.
    """
    import pandas as pd

    files = {part: folder.file(name) for part, name in SPLIT_20K.items()}
    if not any(files.values()):
        folder.need(*SPLIT_20K.values())
    wanted = {"image": "name", "prompt": "prompt", PERCEPTION: "mos"}
    sheets, notes = [], []
    for part, file in files.items():
        if file is None:
            notes.append(f"{SPLIT_20K[part]} is not there, so the official {part} part is missing")
        else:
            sheets.append(read_rated(file, wanted, [PERCEPTION]).assign(part=part))
    table = pd.concat(sheets, ignore_index=True)
    table["generator"] = [without_number(str(name)) for name in table["image"]]
    return Listing(table, tuple(notes))


def read_pku_aigiqa_4k(folder: Folder) -> Listing:
    """``annotation.xlsx``: Image_prompt, Text_prompt, Generated_image, MOS_q, MOS_a, MOS_c (0..5).

    Quality, authenticity, correspondence. Images lie in ``All`` (or ``T2I`` and ``I2I``), named
    ``<model>_<prompt>_<nn>.jpg``. Rows that were made from an image have its name in ``Image_prompt``,
    and generators ending in "_i2i". The official split is that of the authors'
    loader, every fourth row for test; it has the same prompts on both sides, and is given for a whole
    copy only.
    """
    where = folder.need("annotation.xlsx", "annotation.csv", "annotations.csv")
    wanted = {
        "image": "Generated_image",
        "prompt": "Text_prompt",
        "image_prompt": "Image_prompt",
        PERCEPTION: "MOS_q",
        AUTHENTICITY: "MOS_a",
        ALIGNMENT: "MOS_c",
    }
    table = read_rated(where, wanted, [PERCEPTION, AUTHENTICITY, ALIGNMENT])
    from_image = table.pop("image_prompt").astype("string").fillna("").str.strip() != ""
    table["generator"] = table["image"].astype(str).str.partition("_")[0] + np.where(
        from_image, "_i2i", ""
    )
    if len(table) == PKU_AIGIQA_4K.expected["rows"]:
        table["part"] = np.where(np.arange(len(table)) % 4 == 3, "test", "train")
    return Listing(table)


AIGCIQA2023 = Source(
    name="aigciqa2023",
    title="AIGCIQA2023",
    read=read_aigciqa2023,
    scales={PERCEPTION: (0.0, 100.0), AUTHENTICITY: (0.0, 100.0), ALIGNMENT: (0.0, 100.0)},
    folders=("Image/allimg", "allimg", "Image", "images"),
    expected={"rows": 2400, "prompts": 100, "generators": 6},
    citation="Wang et al., AIGCIQA2023: A Large-scale Image Quality Assessment Database for AI "
    "Generated Images, CICAI 2023, arXiv:2307.00211",
    licence="not stated by its authors",
    home="https://github.com/wangjiarui153/AIGCIQA2023",
    rescaled=True,  # re-uploads have divided the 30 to 75 of its matrices by 20
)

AIGIQA_20K = Source(
    name="aigiqa-20k",
    title="AIGIQA-20K",
    read=read_aigiqa_20k,
    scales={PERCEPTION: (0.0, 5.0)},
    folders=("train", "val", "test", "all", "images", "image"),
    expected={"rows": 20_000, "generators": 15},
    citation="Li et al., AIGIQA-20K: A Large Database for AI-Generated Image Quality Assessment, "
    "CVPRW 2024, arXiv:2404.03407",
    licence="Apache-2.0 (as its ModelScope page says)",
    home="https://www.modelscope.cn/datasets/lcysyzxdxc/AIGCQA-30K-Image",
)

PKU_AIGIQA_4K = Source(
    name="pku-aigiqa-4k",
    title="PKU-AIGIQA-4K",
    read=read_pku_aigiqa_4k,
    scales={PERCEPTION: (0.0, 5.0), AUTHENTICITY: (0.0, 5.0), ALIGNMENT: (0.0, 5.0)},
    folders=("All", "T2I", "I2I", "images"),
    expected={"rows": 4000, "generators": 5},
    citation="Yuan et al., PKU-AIGIQA-4K: A Perceptual Quality Assessment Database for Both "
    "Text-to-Image and Image-to-Image AI-Generated Images, arXiv:2404.18409, 2024",
    licence="MIT for the repository; not stated for the images",
    home="https://github.com/jiquan123/AIGIQA4K",
)
