"""Hostile inputs, end to end: nothing crashes, hangs, or writes outside the output."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import struct
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from seeds import seeds
from targets import LIMITS, TARGETS

from diffagiqa.convert import convert_released
from diffagiqa.data.images import decode_image
from diffagiqa.data.samples import Sample
from diffagiqa.errors import ConfigError, ImageError, WeightsError
from diffagiqa.jobs.chunks import Layout
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.job import ChunkResult, own_chunks, run_job
from diffagiqa.jobs.model_spec import ModelFacts
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.model.config import ModelConfig
from diffagiqa.pretrained import load_config, load_model
from diffagiqa.rows import PendingRows, decode_sample
from diffagiqa.scorer import Score, Scorer

CORPUS = Path(__file__).parent / "corpus"
MARK = "touched-by-hostile-input"


class Decoding:
    """A scorer without a network: it decodes like the real one and gives every picture 0.5."""

    limits = LIMITS
    batch_size, seed, fingerprint = 4, 0, "0" * 16
    prompts = SimpleNamespace(first=False)  # nothing to encode ahead
    config = ModelConfig()
    backbone = SimpleNamespace(word_positions=lambda prompt, spans, long: [[0]] * len(spans))

    def prepare(self, data: Any) -> Any:
        return torch.zeros(decode_image(data, self.limits).shape[-1])

    def launch(self, batch: Any) -> Any:
        scores = dict.fromkeys(self.config.task_names, 0.5)
        return lambda: [Score(scores, scores) for _ in batch]


class DecodingEngine:
    def results(
        self, inputs: Inputs, layout: Layout, done: Any, stop: StopRequest
    ) -> Iterator[Any]:
        scorer: Any = Decoding()
        for chunk, _ in own_chunks(inputs, layout, done):
            decoded = [decode_sample(scorer, sample) for sample in chunk.samples]
            rows = PendingRows(scorer, decoded, scorer.launch).result()
            yield ChunkResult(chunk.index, chunk.digest, len(rows), rows, "cpu float32")


def score_all(inputs: Path, out: Path) -> list[dict[str, Any]]:
    """The rows of a job over hostile inputs."""
    run_job(
        DecodingEngine(),
        Inputs((str(inputs),)),
        str(out),
        layout=Layout(4, 4, 8, "jsonl"),
        facts=ModelFacts(ModelConfig(), "0" * 16, 0),
        stop=StopRequest(),
    )
    files = sorted(out.glob("part*")) if out.is_dir() else [out]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def png_bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few kilobytes."""
    row = zlib.compress(bytes(1 + side // 8) * 64, 9)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG whose compressed text grows to a hundred megabytes."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    data = file.getvalue()
    body = b"zTXtparameters\0\0" + zlib.compress(bytes(100_000_000), 9)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def test_bombs_are_rows_with_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "pixels.png").write_bytes(png_bomb(60_000))
    (folder / "text.png").write_bytes(text_bomb())
    (folder / "frames.gif").write_bytes(_long_animation())
    began = time.process_time()
    rows = {Path(row["image"]).name: row for row in score_all(folder, tmp_path / "out")}
    assert time.process_time() - began < 60
    assert "pixels, and the limit is" in rows["pixels.png"]["error"]
    assert rows["frames.gif"]["error"] is None  # only its first frame is decoded
    assert rows["text.png"]["perception"] == 0.5 or rows["text.png"]["error"]


def _long_animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("P", (50, 50), i % 256) for i in range(300)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_traversal_in_tables_and_tars_reads_and_writes_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(outside)
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "table.csv").write_text(
        "image,prompt\n../secret.png,a\nx/../../secret.png,b\n\\..\\secret.png,c\n"
    )
    rows = score_all(inside / "table.csv", tmp_path / "out")
    assert ["leads out of the folder" in row["error"] for row in rows[:2]] == [True, True]
    assert all(row["error"] for row in rows)
    before = set(tmp_path.rglob("*"))
    with tarfile.open(inside / "shard.tar", "w") as tar:
        for name in ("../up.png", f"{tmp_path}/{MARK}.png", "a/../../b.png"):
            member = tarfile.TarInfo(name)
            data = outside.read_bytes()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    rows = score_all(inside / "shard.tar", tmp_path / "tar.jsonl")
    assert [row["error"] for row in rows] == [None] * 3
    new = set(tmp_path.rglob("*")) - before
    assert {p.name for p in new} == {"shard.tar", "tar.jsonl"}


def test_loops_of_links_end(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    os.symlink(folder, folder / "deep" / "up")
    os.symlink(folder / "self.png", folder / "self.png")
    os.symlink("/dev/zero", folder / "endless.png")
    os.mkfifo(folder / "pipe.png")
    rows = score_all(folder, tmp_path / "out")
    good = [row for row in rows if row["error"] is None]
    assert len(good) == 1
    assert sorted(Path(row["image"]).name for row in rows) == [
        "a.png", "endless.png", "pipe.png", "self.png"
    ]  # fmt: skip


FORMULAS = ["=cmd|'/c calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x")']


def test_formulas_do_not_reach_a_spreadsheet(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    names = [*FORMULAS, "\u202eqnp.exe", "a\x00b.png", "line\nbreak.png"]
    table.write_text("".join(json.dumps({"image": name, "prompt": name}) + "\n" for name in names))
    inputs = Inputs((str(table),))
    run_job(
        DecodingEngine(), inputs, str(tmp_path / "s.csv"), layout=Layout(4, 4, 8),
        facts=ModelFacts(ModelConfig(), "0" * 16, 0), stop=StopRequest(),
    )  # fmt: skip
    with (tmp_path / "s.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(names)
    for row in rows:
        for cell in row.values():
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not set(row["prompt"]) & set("\0\n\u202e")


def test_huge_prompts_are_rows_with_a_reason(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    table = tmp_path / "table.jsonl"
    prompts = ["x" * 100_001, "y" * 99_999, "\u202e" * 50, ""]
    table.write_text(
        "".join(json.dumps({"image": "a.png", "prompt": prompt}) + "\n" for prompt in prompts)
    )
    rows = score_all(table, tmp_path / "out")
    assert "characters, and the limit is 100,000" in rows[0]["error"]
    assert [row["error"] for row in rows[1:]] == [None] * 3
    assert rows[2]["prompt"] == ""


class Evil:
    def __reduce__(self) -> Any:
        return open, (MARK, "w")


def test_pickles_in_checkpoints_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in (
        ("plain.pth", pickle.dumps({"weights": Evil()})),
        ("bare.pth", pickle.dumps(Evil())),
    ):
        Path(name).write_bytes(data)
        with pytest.raises(WeightsError):
            convert_released(name, backbone="nowhere")
    torch.save({"state": Evil()}, "zip.pth")
    with pytest.raises(WeightsError):
        convert_released("zip.pth", backbone="nowhere")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(ModelConfig(feature_channels=(8,) * 5).to_json())
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError):
        load_model(folder)
    assert not (tmp_path / MARK).exists()


HOSTILE_CONFIGS = [
    "[" * 100_000,
    '{"image_size": 1e999}',
    '{"image_size": 999999999999}',
    '{"feature_channels": [65536, 65536, 65536, 65536, 99999999]}',
    '{"tasks": [{"name": "__class__.x"}]}',
    '{"tasks": [{"name": "a", "mos_min": NaN}]}',
    '{"tasks": []}',
    '{"tasks": [{}]}',
    '{"noise_draws": 1000000000}',
    '{"features": ["a", "a", "b", "c", "d"]}',
    '{"backbone": 7}',
    '{"pyramid_kernels": [2]}',
    '{"__init__": 1}',
    '"text"',
    "",
    '{"image_size": 512, "image_size": -1}',
    '{"head_dropout": [1.5, 0]}',
    '{"fit": "eval"}',
]


@pytest.mark.parametrize("text", HOSTILE_CONFIGS)
def test_hostile_config(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert len(str(caught.value)) < 2000


def test_config_that_leads_out_of_its_folder(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(ModelConfig(backbone="./../../etc").to_json())
    (model / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError):
        Scorer.from_pretrained(model)
    (model / "config.json").write_text("x" * 1_000_001)
    with pytest.raises(WeightsError, match="over 1 MB"):
        load_config(model)


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_seeds(name: str, data: st.DataObject) -> None:
    """Seeds cut, overwritten and doubled at places that hypothesis chooses."""
    bytes_ = bytearray(data.draw(st.sampled_from(seeds()[name])))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(bytes_)))
        change = data.draw(st.sampled_from(["put", "cut", "insert", "double"]))
        piece = data.draw(st.binary(max_size=8))
        if change == "put":
            bytes_[at : at + len(piece)] = piece
        elif change == "cut":
            del bytes_[at : at + data.draw(st.integers(0, 40))]
        elif change == "insert":
            bytes_[at:at] = piece
        else:
            bytes_[at:at] = bytes_[at : at + 40] * 2
    TARGETS[name](bytes(bytes_))


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


CASES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("case", CASES, ids=[f"{p.parent.name}-{p.name[:24]}" for p in CASES])
def test_what_fuzzing_has_found(case: Path) -> None:
    began = time.process_time()
    TARGETS[case.parent.name](case.read_bytes())
    assert time.process_time() - began < 30


def test_a_picture_that_is_no_picture_says_so() -> None:
    sample = Sample("x.png", None, "none", 0, data=b"\0" * 100)
    scorer: Any = Decoding()
    assert "not an image" in str(decode_sample(scorer, sample)[0].error)
    with pytest.raises(ImageError):
        decode_image(png_bomb(20_000), LIMITS)
