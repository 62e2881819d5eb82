"""Preferences as their authors distribute them, and in tables of one's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffagiqa.data.databases.database import Database, Source
from diffagiqa.data.databases.files import Folder, json_entries, table_rows
from diffagiqa.data.databases.listing import Listing, build, part_of
from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.data.samples import quoted, suffix
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError, TableError

TIES = ("tie", "tied", "equal", "draw", "both", "neither")
PAIR_COLUMNS = ("image_a", "image_b", "preferred")
RANK_COLUMNS = ("image", "rank")


class Choices:
    """Collects groups, and the distinct images in them as rows of a listing."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, str], int] = {}  # (image, prompt) -> row
        self.rows: list[tuple[Any, ...]] = []  # image, prompt, generator, path, part
        self.groups: list[PreferenceGroup] = []

    def add(
        self, where: str, prompt: Any, images: Sequence[Any], ranks: Sequence[Any], *,
        part: str = "", generators: Sequence[Any] = (), paths: Sequence[str | None] = (),
    ) -> None:  # fmt: skip
        """One group; ``where`` names its row in the sentence that refuses it."""
        try:
            if not isinstance(prompt, str) or not prompt.strip():
                raise TableError("it has no prompt; correct it, or download it again")
            if not all(isinstance(image, str) and image for image in images):
                raise TableError("an image has no name; correct it, or download it again")
            try:
                if any(isinstance(rank, bool) for rank in ranks):
                    raise ValueError("a truth value is no rank")
                order = tuple(float(rank) for rank in ranks)
            except (TypeError, ValueError):
                raise TableError(
                    f"its ranks are {list(ranks)}; give one number per image"
                ) from None
            rows = []
            for k, image in enumerate(images):
                row = self.numbers.setdefault((image, prompt), len(self.rows))
                if row == len(self.rows):
                    generator = generators[k] if generators else "unknown"
                    path = paths[k] if paths else None
                    self.rows.append((image, prompt, generator, path, part))
                elif self.rows[row][-1] != part:
                    raise TableError(f"{image} is in two parts of the split; leave it in one")
                rows.append(row)
            self.groups.append(PreferenceGroup(tuple(rows), order))
        except TableError as fault:
            raise DatabaseError(f"{where}: {fault}") from None

    def listing(self, notes: Sequence[str] = ()) -> Listing:
        import pandas as pd

        names = ["image", "prompt", "generator", "path", "part"]
        table = pd.DataFrame(self.rows, columns=names, dtype=object)
        named = table["part"] != ""
        if named.any() and not named.all():
            raise DatabaseError(
                "some rows name a part of the split and some do not; fill in all or none"
            )
        if not named.any():
            table = table.drop(columns="part")
        return Listing(table, tuple(notes), tuple(self.groups))


def read_hpdv2(folder: Folder) -> Listing:
    """``train.json``: prompt, file_path (2), human_preference (1 for the better); images in ``train/``.
    ``test.json``: prompt, image_path (n), rank (n, the lower the better); images in ``test/``.

    Either file may be missing, which is noted. Names of images are those of the files, after the part.
    """
    files = {"train": folder.file("train.json"), "test": folder.file("test.json")}
    if not any(files.values()):
        folder.need("train.json", "test.json")
    choices, notes = Choices(), []
    for part, file in files.items():
        if file is None:
            notes.append(f"{part}.json is not there, so the {part} part is missing")
            continue
        for number, entry in json_entries(file):
            where = f"{file} entry {number}"
            if "human_preference" in entry:
                names, given = entry.get("file_path"), entry["human_preference"]
                ranks = [-_number(value, where) for value in _several(given, where)]
            else:
                names = entry.get("image_path") or entry.get("file_path")
                ranks = _several(entry.get("rank"), where)
            names = _several(names, where)
            images = [f"{part}/{name}" if isinstance(name, str) else None for name in names]
            choices.add(where, entry.get("prompt"), images, ranks, part=part)
    return choices.listing(notes)


def read_image_reward(folder: Folder) -> Listing:
    """``{train,validation,test}.json`` (also ``*_train.json``): id, prompt, generations (n), ranking (n).

    Rank 1 is best and ties occur. On the hub the same is a Parquet table with a row per image: prompt_id,
    prompt, image_path, rank; ``metadata-{train,validation,test}.parquet``.
    """
    choices, notes = Choices(), []
    for part in ("train", "validation", "test"):
        files = [folder.root / name for name in folder.files
                 if Path(name).stem.lower().replace("-", "_").rpartition("_")[2] == part]  # fmt: skip
        lists = [file for file in files if file.suffix.lower() in (".json", ".jsonl")]
        tables = [file for file in files if file.suffix.lower() == ".parquet"]
        if not lists and not tables:
            notes.append(f"no list of the {part} part is there, so it is missing")
        for file in lists[:1]:
            for number, entry in json_entries(file):
                where = f"{file} entry {number}"
                images = _several(entry.get("generations"), where)
                ranks = _several(entry.get("ranking"), where)
                if any(isinstance(rank, (int, float)) and rank < 1 for rank in ranks):
                    raise DatabaseError(f"{where}: its ranking is {ranks}; expected ranks from 1")
                choices.add(where, entry.get("prompt"), images, ranks, part=part)
        alone = sum(_ranked_rows(choices, file, part) for file in tables if not lists)
        if alone:
            notes.append(
                f"{counted(alone, f'prompt of the {part} part has', 'prompts have')} one image"
            )
    if not choices.groups:
        raise DatabaseError(
            f"{folder.root} holds no list of ImageRewardDB; expected train.json, validation.json or "
            "test.json with generations and ranking, or metadata-*.parquet"
        )
    return choices.listing(notes)


def _ranked_rows(choices: Choices, file: Path, part: str) -> int:
    """A table with a row per image: rows of one prompt_id are a group. Returns how many have one row."""
    groups: dict[str, list[tuple[Any, Any, Any]]] = {}
    for row, record in table_rows(file):
        names = ("prompt_id", "prompt", "image_path", "rank")
        if missing := [name for name in names if record.get(name) in (None, "")]:
            raise DatabaseError(f"{file} row {row}: it has no {missing[0]}; download it again")
        groups.setdefault(str(record["prompt_id"]), []).append(
            (record["prompt"], record["image_path"], record["rank"])
        )
    for name, rows in groups.items():
        if len(rows) > 1:
            prompts, images, ranks = zip(*rows, strict=True)
            choices.add(f"{file}, prompt_id {name}", prompts[0], images, ranks, part=part)
    return sum(len(rows) == 1 for rows in groups.values())


def read_pick_a_pic(folder: Folder) -> Listing:
    """``{train,validation,test}-*.parquet``: caption, jpg_0, jpg_1 (bytes), label_0 (1, 0, 0.5: a tie).

    Images stay in the tables: their paths are cells, ``file::row/jpg_0``. ``image_0_uid`` and ``model_0``
    name an image and its generator where they are there. Rows without a label (``has_label`` false) are
    left out, and noted. Of the other parts (``validation_unique``, ``test_unique``), which repeat rows of
    these, none is read.
    """
    import pyarrow.parquet as parquet

    choices, unlabelled = Choices(), 0
    wanted = ("caption", "label_0", "has_label", "image_0_uid", "image_1_uid", "model_0", "model_1")
    for name in sorted(folder.files):
        part = os.path.basename(name).partition("-")[0]
        if suffix(name) != ".parquet" or part not in ("train", "validation", "test"):
            continue
        file = folder.root / name
        try:
            table = parquet.ParquetFile(file)
            known = set(table.schema_arrow.names)
            if missing := {"caption", "label_0", "jpg_0", "jpg_1"} - known:
                raise DatabaseError(f"{file} lacks {', '.join(sorted(missing))}; download it again")
            batches = table.iter_batches(4096, columns=[c for c in wanted if c in known])
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows):
                if row.get("has_label") is False:
                    unlabelled += 1
                    continue
                label = row["label_0"]
                if label not in (0, 0.5, 1):
                    raise DatabaseError(
                        f"{file} row {number + 1}: label_0 is {label!r}; expected 1, 0 or 0.5"
                    )
                cells = [f"{name}::{number}/jpg_{side}" for side in (0, 1)]
                images = [row.get(f"image_{side}_uid") or cells[side] for side in (0, 1)]
                generators = [row.get(f"model_{side}") or "unknown" for side in (0, 1)]
                choices.add(f"{file} row {number + 1}", row["caption"], images, (-label, label - 1),
                            part=part, generators=generators, paths=cells)  # fmt: skip
        except (OSError, ValueError) as fault:  # pyarrow's are of these
            raise DatabaseError(f"{file} cannot be read ({fault}); download it again") from None
    if not choices.groups:
        raise DatabaseError(
            f"{folder.root} holds no train-*.parquet, validation-*.parquet or test-*.parquet with "
            "labels; give the folder that Pick-a-Pic was downloaded to"
        )
    left_out = counted(unlabelled, "row without a label is", "rows without a label are")
    return choices.listing([f"{left_out} left out"] if unlabelled else [])


def read_preferences(
    path: str | os.PathLike[str], columns: Sequence[str] = (), *, prompt: str = "prompt",
    root: str | os.PathLike[str] | None = None,
) -> Database:  # fmt: skip
    """A table of one's own choices as a database, as it lies there; ``read_choices`` says what it holds.

    ``root``: folder of the images, by default that of the table.
    """
    where = Path(path)
    folder = Folder(root if root is not None else where.parent)
    return build(where.stem, folder, read_choices(where, columns, prompt=prompt), {})


def read_choices(
    path: str | os.PathLike[str], columns: Sequence[str] = (), *, prompt: str = "prompt"
) -> Listing:
    """A table of choices between two images of a prompt, or of ranked images.

    Args:
        path: the table: CSV, TSV, JSONL, JSON, Parquet or xlsx.
        columns: of the two images and of the choice: "a" or "b" (or the name of that image's column, or
            the image itself), or one of ``TIES``; by default ``PAIR_COLUMNS``. Or of an image and its
            rank (1 is best), by default ``RANK_COLUMNS``, for a table with a row per image; rows of one
            prompt are a group. Images of a Parquet table may be bytes.
        prompt: column of the prompts. Columns ``generator_a`` and ``generator_b`` (or ``generator``) are
            read where they are there (``model`` for ``generator``, too), and ``split``.

    Raises:
        DatabaseError: it is no such table; a row that cannot be understood is named.
    """
    where, choices = Path(path), Choices()
    ranked: dict[str, list[tuple[str, str | None, str, Any, str, str]]] = {}
    for number, record in table_rows(where):
        names = {str(column).strip().lower(): str(column) for column in record}
        if not columns:
            columns = RANK_COLUMNS if set(RANK_COLUMNS) <= set(names) else PAIR_COLUMNS
        row = {name: record[column] for name, column in names.items()}
        if missing := [column for column in (prompt, *columns) if column.lower() not in row]:
            raise DatabaseError(
                f"{where} lacks {', '.join(missing)}; it has columns {', '.join(map(str, record))}; name "
                "them by --pairs IMAGE_A,IMAGE_B,PREFERRED or --pairs IMAGE,RANK, and --prompt-column"
            )
        shown, text = f"{where} row {number}", row[prompt.lower()]
        part = _part(row.get("split"), shown)
        *image_columns, decision = (column.lower() for column in columns)
        images = [_image(row[c], f"{where.name}::{number - 1}/{names[c]}") for c in image_columns]
        made_by = [
            str(row.get(f"generator{end}") or row.get(f"model{end}") or "unknown")
            for end in (("_a", "_b") if len(images) == 2 else ("",))
        ]
        if len(images) == 1:
            ranked.setdefault(str(text), []).append(
                (*images[0], made_by[0], row[decision], part, shown)
            )
            continue
        sides = {s: (columns[i], images[i][0]) for i, s in enumerate("ab")}
        ranks = _choice(row[decision], sides, shown)
        choices.add(shown, text, [image for image, _ in images], ranks, part=part,
                    generators=made_by, paths=[path for _, path in images])  # fmt: skip
    for text, rows in ranked.items():
        names_, paths, generators, order, parts, shown_ = zip(*rows, strict=True)
        choices.add(f"{shown_[-1]}, of {quoted(text)}", text, names_, order, part=parts[0],
                    generators=generators, paths=paths)  # fmt: skip
    return choices.listing()


def holds_choices(path: str | os.PathLike[str], ranks: bool = True) -> bool:
    """Whether a table has ``PAIR_COLUMNS``, or ``RANK_COLUMNS`` and no MOS: no column need be named.

    ``ranks``: whether the latter counts, as it does not where columns of ratings are named. False where
    the table cannot be read: whoever reads it then says why.
    """
    try:
        _, record = next(table_rows(Path(path)))
    except (DatabaseError, StopIteration):
        return False
    names = {str(column).strip().lower() for column in record}
    ranked = ranks and set(RANK_COLUMNS) <= names and "mos" not in names
    return ranked or set(PAIR_COLUMNS) <= names


def _image(value: Any, cell: str) -> tuple[Any, str | None]:
    """The name of an image, and where it is if it lies in the table."""
    if isinstance(value, dict) and not value.get("bytes"):
        value = value.get("path")
    return (cell, cell) if isinstance(value, (bytes, dict)) else (value, None)


def _choice(value: Any, names: Mapping[str, tuple[str, Any]], where: str) -> tuple[float, float]:
    text = str(value if value is not None else "").strip()
    if text.lower() in TIES:
        return 1.0, 1.0
    for side, others in names.items():
        if text and (text.lower() == side or text in map(str, others)):
            return (1.0, 2.0) if side == "a" else (2.0, 1.0)
    raise DatabaseError(
        f"{where}: the choice is {quoted(text)}; expected a, b or tie, or the image's name"
    )


def _part(value: Any, where: str) -> str:
    text = str(value or "").strip()
    if (part := part_of(text) if text else "") is None:
        raise DatabaseError(
            f"{where}: split is {quoted(text.lower())}; expected train, validation or test"
        )
    return part


def _several(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise DatabaseError(
            f"{where}: expected a list of images and one of ranks; download it again"
        )
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or value not in (0, 1):
        raise DatabaseError(f"{where}: {value!r} is no preference; expected 0 or 1")
    return float(value)


HPDV2 = Source(
    name="hpdv2",
    title="Human Preference Dataset v2",
    read=read_hpdv2,
    citation="Wu et al., Human Preference Score v2: A Solid Benchmark for Evaluating Human Preferences "
    "of Text-to-Image Synthesis, arXiv:2306.09341, 2023",
    licence="Apache-2.0",
    home="https://huggingface.co/datasets/ymhao/HPDv2",
)

IMAGE_REWARD = Source(
    name="imagerewarddb",
    title="ImageRewardDB",
    read=read_image_reward,
    citation="Xu et al., ImageReward: Learning and Evaluating Human Preferences for Text-to-Image "
    "Generation, NeurIPS 2023, arXiv:2304.05977",
    licence="Apache-2.0",
    home="https://huggingface.co/datasets/THUDM/ImageRewardDB",
)

PICK_A_PIC = Source(
    name="pick-a-pic",
    title="Pick-a-Pic",
    read=read_pick_a_pic,
    folders=("data",),
    citation="Kirstain et al., Pick-a-Pic: An Open Dataset of User Preferences for Text-to-Image "
    "Generation, NeurIPS 2023, arXiv:2305.01569",
    licence="see its home page",
    home="https://huggingface.co/datasets/yuvalkirstain/pickapic_v1",
)
