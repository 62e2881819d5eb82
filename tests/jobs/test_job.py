"""Every row exactly once: whatever operation fails, however often, and whoever shares the work."""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import json
import os
import tracemalloc
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scale_made import FACTS, ArithmeticEngine, make_pictures, make_table, read_rows, run

from diffagiqa.data.results import RowWriter
from diffagiqa.errors import ConfigError, TableError
from diffagiqa.jobs.chunks import Layout, Share
from diffagiqa.jobs.folder import OutputFolder
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.job import run_job
from diffagiqa.jobs.journal import Journal
from diffagiqa.jobs.model_spec import ModelFacts
from diffagiqa.jobs.stop import Stopped, StopRequest
from diffagiqa.report import read_run


class PowerCut(BaseException):
    """Nothing catches it, and after it no file operation takes place."""


class Disk:
    """Lets so many file operations pass and then fails every one, as a machine without power."""

    NAMES = ("replace", "remove", "unlink", "rmdir", "fsync", "makedirs", "mkdir")

    def __init__(self, patch: pytest.MonkeyPatch, fault: BaseException | None = None) -> None:
        self.left = 10**9
        self.fault = fault or PowerCut()
        for name in self.NAMES:
            patch.setattr(os, name, self._counted(getattr(os, name)))
        patch.setattr(builtins, "open", self._counted(builtins.open))

    def _counted(self, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.left <= 0:
                raise self.fault
            self.left -= 1
            return function(*args, **kwargs)

        return call


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return make_table(tmp_path / "table.jsonl", 30)


@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl"])
def test_all_rows_once_in_every_format(table: Path, tmp_path: Path, format: str) -> None:
    totals = run(table, tmp_path / "out", format=format)
    rows = read_rows(tmp_path / "out")
    assert [int(row["row"]) for row in rows] == list(range(30))
    assert sorted(p.name for p in (tmp_path / "out").glob("part*")) == [
        f"part-{i:05d}.{format}" for i in range(3)
    ]
    assert (totals.rows, totals.failed, totals.chunks) == (30, 4, 8)
    assert float(rows[2]["perception"]) == 1 / 5
    assert rows[6]["error"] == "the seventh row, on purpose."
    assert rows[6]["perception"] is None
    mean = sum(1 / (i + 3) for i in range(30) if i % 7 != 6) / 26
    assert totals.mean("perception") == pytest.approx(mean)
    assert totals.errors == {"the seventh row, on purpose.": 4}


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_power_cut_at_any_file_operation_loses_and_doubles_nothing(
    tmp_path: Path, step: int
) -> None:
    table = make_table(tmp_path / "table.jsonl", 18)
    run(table, tmp_path / "whole")
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("part*")}
    for operation in itertools.count(0, step):
        out = tmp_path / f"cut{operation}"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            disk.left = operation
            try:
                run(table, out)
                cut = False
            except PowerCut:
                cut = True
            disk.left = 10**9
        run(table, out)
        found = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
        assert found == whole, f"cut before operation {operation}"
        assert not [p for p in (out / "_job").iterdir() if p.is_dir()]
        if not cut:
            break
    assert operation > 50  # the cut did come at every operation of a run


def test_a_full_disk_at_any_file_operation_is_one_sentence(tmp_path: Path) -> None:
    table = make_table(tmp_path / "table.jsonl", 14)
    run(table, tmp_path / "whole", format="csv")
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("part*")}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    said = 0
    for operation in range(0, 60, 4):
        out = tmp_path / f"full{operation}"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, full)
            disk.left = operation
            try:
                run(table, out, format="csv")
            except TableError as fault:
                said += "No space left on device" in str(fault)
            finally:
                disk.left = 10**9
        run(table, out, format="csv")
        assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == whole
    assert said > 7


class FullFile(io.BytesIO):
    """A file on a disk with room for ten bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_disk_that_fills_between_two_rows(tmp_path: Path, suffix: str) -> None:
    def fill() -> None:
        with RowWriter(tmp_path / f"r{suffix}", {"row": int}) as rows:
            rows._file = FullFile()
            if rows._parquet is not None:
                rows._parquet = rows._parquet_writer()
            for row in range(5000):
                rows.write({"row": row})

    sentence = r"r\.\w+ cannot be written \(No space left on device\); check"
    with pytest.raises(TableError, match=sentence):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_power_cuts_one_after_the_other(table: Path, tmp_path: Path) -> None:
    whole = run(table, tmp_path / "whole")
    cuts = 0
    while True:
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            disk.left = 30
            try:
                totals = run(table, tmp_path / "out")
                break
            except PowerCut:
                cuts += 1
                disk.left = 10**9
    assert cuts > 3
    assert totals == whole
    assert read_rows(tmp_path / "out") == read_rows(tmp_path / "whole")


def test_chunks_that_end_out_of_order_are_written_in_order(tmp_path: Path) -> None:
    columns = {"row": int, "perception": float}
    journal = Journal(OutputFolder(str(tmp_path)), columns, Layout(1, 2, 6, "jsonl"))
    journal.begin({"shards": 1})
    for chunk in (2, 0, 1):
        rows = [{"row": 2 * chunk + i, "perception": 0.5} for i in range(2)]
        journal.put(chunk, f"{chunk:024x}", rows, "cpu float32")
    assert journal.finish(3).rows == 6
    text = (tmp_path / "part-00000.jsonl").read_text()
    assert [json.loads(line)["row"] for line in text.splitlines()] == list(range(6))


def test_shares_that_start_together_compute_on_the_same(tmp_path: Path) -> None:
    """Whichever ends its first chunk first decides; neither knew of the other when it began."""
    columns = {"row": int, "perception": float}
    shares = [
        Journal(OutputFolder(str(tmp_path)), columns, Layout(1, 1, 2, "jsonl", Share(index, 2)))
        for index in range(2)
    ]
    for journal in shares:
        journal.begin({"shards": 2})
    shares[1].put(1, f"{1:024x}", [{"row": 1, "perception": 0.5}], "cuda bfloat16")
    with pytest.raises(ConfigError, match="started on cuda bfloat16 and this run computes on cpu"):
        shares[0].put(0, f"{0:024x}", [{"row": 0, "perception": 0.5}], "cpu float32")


def test_a_finished_part_counts_once_in_whatever_order_its_chunks_are_checked(
    tmp_path: Path,
) -> None:
    columns = {"row": int, "perception": float}
    for again in (False, True):
        journal = Journal(OutputFolder(str(tmp_path)), columns, Layout(1, 1, 2, "jsonl"))
        journal.begin({"shards": 1})
        for chunk in (0, 2, 1, 3):
            row = {"row": chunk, "perception": 0.5}
            if again:
                journal.check(chunk, f"{chunk:024x}")
            else:
                journal.put(chunk, f"{chunk:024x}", [row], "cpu float32")
        assert journal.finish(4).rows == 4


def test_a_finished_job_scores_nothing_again(table: Path, tmp_path: Path) -> None:
    first = run(table, tmp_path / "out")
    seen: list[tuple[int, int]] = []
    again = run(table, tmp_path / "out", on_rows=lambda done, reused: seen.append((done, reused)))
    assert again == first
    assert sum(done for done, _ in seen) == sum(reused for _, reused in seen) == 30


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shares_together_are_the_whole(table: Path, tmp_path: Path, count: int) -> None:
    run(table, tmp_path / "whole")
    for index in reversed(range(count)):
        run(table, tmp_path / "out", share=Share(index, count))
    assert read_rows(tmp_path / "out") == read_rows(tmp_path / "whole")


def test_more_shares_than_chunks_leaves_some_without_rows(table: Path, tmp_path: Path) -> None:
    for index in range(9):
        totals = run(table, tmp_path / "out", share=Share(index, 9))
        assert totals.rows == (4 if index < 7 else 2 if index == 7 else 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": ModelFacts(FACTS.config, "f" * 16, 0)}, 'with model "0123456789abcdef"'),
        (
            {"facts": ModelFacts(FACTS.config, FACTS.fingerprint, 7)},
            "seed 0, and this command has 7",
        ),
        ({"prompt": "another"}, 'prompt null, and this command has "another"'),
        ({"batch_size": 4}, "batch_size 2, and this command has 4"),
        ({"format": "csv"}, 'format "jsonl"'),
        ({"share": Share(0, 2)}, "shards 1, and this command has 2"),
    ],
)
def test_another_command_is_refused_unless_restart(
    table: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    run(table, tmp_path / "out")
    with pytest.raises(ConfigError, match=message):
        run(table, tmp_path / "out", **change)
    run(table, tmp_path / "out", restart=True, **change)
    assert len(read_rows(tmp_path / "out")) == (16 if "share" in change else 30)


def test_restart_of_one_share_leaves_the_others(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "whole")
    for index in range(3):
        run(table, tmp_path / "out", share=Share(index, 3))
    reused: list[int] = []
    run(table, tmp_path / "out", share=Share(1, 3), restart=True,
        on_rows=lambda _, r: reused.append(r))  # fmt: skip
    assert sum(reused) == 0
    assert read_rows(tmp_path / "out") == read_rows(tmp_path / "whole")


def test_a_chunk_that_another_program_removed_is_noticed(table: Path, tmp_path: Path) -> None:
    def remove(done: int, reused: int) -> None:
        for file in (tmp_path / "out/_job").glob("part-*/chunk-*"):
            file.unlink()

    with pytest.raises(TableError, match="was removed by another program"):
        run(table, tmp_path / "out", on_rows=remove)


def test_restart_removes_no_file_of_others(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    mine = tmp_path / "out" / "notes.txt"
    mine.write_text("not of the job")
    with pytest.raises(ConfigError, match=r"holds notes\.txt and no job of ours"):
        run(table, tmp_path / "out", restart=True)
    assert mine.read_text() == "not of the job"


def test_changed_inputs_are_refused(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    text = table.read_text()
    table.write_text(text.replace("prompt 17", "another"))
    with pytest.raises(ConfigError, match=r"inputs changed since .* \(rows from 16\)"):
        run(table, tmp_path / "out")
    table.write_text(text)
    make_table(table, 29)
    with pytest.raises(ConfigError, match=r"rows from 28"):
        run(table, tmp_path / "out")
    make_table(table, 24)
    with pytest.raises(ConfigError, match="holds more rows than the inputs have now"):
        run(table, tmp_path / "out")


def test_changed_prompts_beside_pictures_are_refused(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "in", 10)
    run(pictures, tmp_path / "out")
    assert read_rows(tmp_path / "out")[3]["prompt_source"] == "sidecar"
    run(pictures, tmp_path / "out")
    text = (pictures / "007.txt").read_text()
    (pictures / "007.txt").write_text("another")
    with pytest.raises(ConfigError, match=r"inputs changed since .* \(rows from 4\)"):
        run(pictures, tmp_path / "out")
    (pictures / "007.txt").write_text(text)
    (pictures / "008.txt").write_text("a new one")
    with pytest.raises(ConfigError, match=r"inputs changed since .* \(rows from 8\)"):
        run(pictures, tmp_path / "out")
    (pictures / "008.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match=r"inputs changed since"):
        run(pictures, tmp_path / "out")


def test_a_command_that_scored_nothing_is_no_job(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(TableError, match="does not exist"):
        run(tmp_path / "tabel.jsonl", out)
    assert run(table, out).rows == 30
    again = tmp_path / "again"
    with pytest.raises(RuntimeError):
        run(table, again, on_rows=_after(1))
    with pytest.raises(ConfigError, match="was started with inputs"):  # one chunk is there
        run(tmp_path / "tabel.jsonl", again)
    shares = tmp_path / "shares"
    with pytest.raises(TableError, match="does not exist"):
        run(tmp_path / "tabel.jsonl", shares, share=Share(0, 2))
    with pytest.raises(ConfigError, match="was started with inputs"):  # share 1 may be at work
        run(table, shares, share=Share(0, 2))


def test_what_has_not_ended_is_said(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        run(table, out, on_rows=_after(1))
    with pytest.raises(TableError, match="out holds no rows yet: its job has not ended; run the"):
        read_run(out)
    with pytest.raises(RuntimeError):
        run(table, out, on_rows=_after(4))
    with pytest.warns(UserWarning, match="out holds 12 rows: its job has not ended; run the same"):
        read_run(out)
    run(table, out)
    shares = tmp_path / "shares"
    run(table, shares, share=Share(0, 3))
    sentence = r"holds 12 rows: shares 1 and 2 of 3 have not ended; run their commands"
    with pytest.warns(UserWarning, match=sentence):
        read_run(shares)
    run(table, shares, share=Share(1, 3))
    with pytest.warns(
        UserWarning, match=r"holds 22 rows: share 2 of 3 has not ended; run its command"
    ):
        read_run(shares)
    run(table, shares, share=Share(2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_run(shares).rows) == len(read_run(out).rows) == 30
    with pytest.raises(RuntimeError):
        run(table, shares, share=Share(2, 3), restart=True, on_rows=_after(1))
    with pytest.warns(UserWarning, match=r"share 2 of 3 has not ended"):
        read_run(shares)


def test_fewer_inputs_are_refused_before_the_end_too(table: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(table, tmp_path / "out", on_rows=_after(2))
    make_table(table, 4)
    with pytest.raises(ConfigError, match="holds more rows than the inputs have now"):
        run(table, tmp_path / "out")


def test_other_arithmetic_is_refused(table: Path, tmp_path: Path) -> None:
    class Low(ArithmeticEngine):
        kind = "cuda bfloat16"

    stopped = pytest.raises(RuntimeError)

    def stop_later(done: int, reused: int) -> None:
        raise RuntimeError

    with stopped:
        run(table, tmp_path / "out", on_rows=stop_later)
    with pytest.raises(ConfigError, match="started on cpu float32 and this run computes on cuda"):
        run(table, tmp_path / "out", Low())


def test_a_second_run_at_the_same_time_is_refused(table: Path, tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path / "out"))
    folder.make("_job")
    with folder.locked("_job/lock0"), pytest.raises(TableError, match="another run is writing"):
        run(table, tmp_path / "out")
    run(table, tmp_path / "out")


def test_damaged_journal_is_one_sentence(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    (tmp_path / "out/_job/part-00001.json").write_text("{")
    with pytest.raises(TableError, match=r"part-00001\.json in .* is damaged.*--restart"):
        run(table, tmp_path / "out")
    assert run(table, tmp_path / "out", restart=True).rows == 30


def test_a_store_is_an_output_too(table: Path, tmp_path: Path) -> None:
    import fsspec

    out = f"memory://{tmp_path.name}/out"
    run(table, tmp_path / "whole")
    with pytest.raises(RuntimeError):
        run(table, out, on_rows=_after(5))
    assert run(table, out).rows == 30
    store = fsspec.filesystem("memory")
    for part in (tmp_path / "whole").glob("part*"):
        assert store.cat_file(f"/{tmp_path.name}/out/{part.name}") == part.read_bytes()


def _after(calls: int) -> Any:
    counter = itertools.count(1)

    def stop(done: int, reused: int) -> None:
        if next(counter) == calls:
            raise RuntimeError

    return stop


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_one_file_goes_on_and_appears_whole(table: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"scores{suffix}"
    (tmp_path / f".{out.name}.0a1b2c3d.part").write_text("left by a kill")
    options: dict[str, Any] = {
        "layout": Layout(2, 4, 12),
        "facts": FACTS,
        "stop": StopRequest(),
    }
    inputs = Inputs((str(table),))
    with pytest.raises(RuntimeError):
        run_job(ArithmeticEngine(), inputs, str(out), **options, on_rows=_after(5))
    assert not out.exists()
    reused: list[int] = []
    totals = run_job(
        ArithmeticEngine(), inputs, str(out), **options, on_rows=lambda _, r: reused.append(r)
    )
    assert (totals.rows, sum(reused)) == (30, 20)
    assert [int(row["row"]) for row in read_rows(out)] == list(range(30))
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, table.name]
    with pytest.raises(ConfigError, match="is one file; give --shard a folder"):
        run_job(
            ArithmeticEngine(), inputs, str(out), **options | {"layout": Layout(share=Share(0, 2))}
        )


@pytest.mark.parametrize("name", ["x::y", "x::y.csv", "out/x::y.parquet", "out/x::y"])
def test_a_name_that_looks_like_a_chained_url_is_a_path(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    if "." in name:
        options: dict[str, Any] = {"layout": Layout(2, 4, 12), "facts": FACTS}
        run_job(ArithmeticEngine(), Inputs((str(table),)), name, **options, stop=StopRequest())
    else:
        run(table, name)
    assert len(read_rows(tmp_path / name)) == 30
    assert len(read_run(name).rows) == 30


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_scored(
    table: Path, tmp_path: Path
) -> None:
    scored: list[int] = []
    options: dict[str, Any] = {"layout": Layout(2, 4, 8), "facts": FACTS, "stop": StopRequest()}
    options["on_rows"] = lambda done, _: scored.append(done)
    score_to = partial(run_job, ArithmeticEngine(), Inputs((str(table),)), **options)
    with pytest.raises(ConfigError, match="has over 240 bytes; give --out a shorter one"):
        score_to(str(tmp_path / f"{'狐' * 79}.csv"))
    assert not scored
    longest = tmp_path / f"{'狐' * 78}12.csv"  # 240 bytes
    score_to(str(longest))
    assert scored
    assert len(read_rows(longest)) == sum(scored)


def test_no_second_run_comes_between_the_last_row_and_the_file(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.csv"
    options: dict[str, Any] = {
        "layout": Layout(2, 4, 12), "facts": FACTS, "stop": StopRequest(),
    }  # fmt: skip
    second = partial(run_job, ArithmeticEngine(), Inputs((str(table),)), str(out), **options)
    remove = Journal.remove

    def race(journal: Journal) -> None:
        with pytest.raises(TableError, match="another run is writing"):
            second()
        remove(journal)

    monkeypatch.setattr(Journal, "remove", race)
    assert second().rows == 30
    assert len(read_rows(out)) == 30


def test_a_journal_that_lost_rows_replaces_no_file(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.csv"
    out.write_text("before")
    monkeypatch.setattr(Journal, "rows", lambda self: iter(()))
    with pytest.raises(TableError, match=r"is left as it was: .* has 0 rows, expected 30; give"):
        run_job(
            ArithmeticEngine(), Inputs((str(table),)), str(out), layout=Layout(2, 4, 12),
            facts=FACTS, stop=StopRequest(),
        )  # fmt: skip
    assert out.read_text() == "before"


def test_an_input_is_never_overwritten(table: Path, tmp_path: Path) -> None:
    text = table.read_text()
    (tmp_path / "link.jsonl").symlink_to(table)
    options: dict[str, Any] = {
        "layout": Layout(2, 4, 12), "facts": FACTS, "stop": StopRequest()
    }  # fmt: skip
    for out, inputs in (
        (str(table), Inputs((str(table),))),
        (f"{tmp_path}/./table.jsonl", Inputs((f"file://{table}",))),
        (str(tmp_path / "link.jsonl"), Inputs((str(table),))),
        (str(table), Inputs((str(tmp_path),), prompts_file=str(table))),
        ("memory://jobs/t.jsonl", Inputs(("memory://jobs/t.jsonl",))),
    ):
        with pytest.raises(ConfigError, match="is an input of this command and would be overwr"):
            run_job(ArithmeticEngine(), inputs, out, **options)
    assert table.read_text() == text
    assert not list(tmp_path.glob("*.job"))
    run(table, tmp_path / "out", format="csv")
    part = tmp_path / "out/part-00000.csv"
    for name, out in ((table, table), (part, tmp_path / "out")):
        with pytest.raises(ConfigError, match=f"{name.name} is an input of this command and would"):
            run(name, out, restart=True)
    assert part.exists()


@pytest.mark.parametrize("pattern", ["*", "**/*", "**/.*"])
def test_a_pattern_matches_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "y.csv.png", ".b.png"):
        Path(name).touch()
    inputs = Inputs((pattern,), out="x.csv")
    options: dict[str, Any] = {"layout": Layout(2, 4, 12), "facts": FACTS, "stop": StopRequest()}
    for _ in range(2):
        with pytest.raises(RuntimeError):
            run_job(ArithmeticEngine(), inputs, "x.csv", **options, on_rows=_after(1))
        Path(".x.csv.0a1b2c3d.part").touch()
        run_job(ArithmeticEngine(), inputs, "x.csv", **options)
    expected = {".b.png"} if "." in pattern else {"a.png", "y.csv.png"}
    assert {row["image"] for row in read_rows(Path("x.csv"))} == expected


def test_a_stop_request_keeps_what_is_done(table: Path, tmp_path: Path) -> None:
    class Interrupted(ArithmeticEngine):
        def results(self, inputs: Any, layout: Any, done: Any, stop: Any) -> Any:
            for count, result in enumerate(super().results(inputs, layout, done, stop)):
                if count == 3:
                    os.kill(os.getpid(), 15)
                    stop.check()
                yield result

    with StopRequest() as stop, pytest.raises(Stopped, match="SIGTERM"):
        run(table, tmp_path / "out", Interrupted(), stop=stop)
    reused: list[int] = []
    run(table, tmp_path / "out", on_rows=lambda _, r: reused.append(r))
    assert sum(reused) == 12


def test_memory_is_flat(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 4_000):
        table = make_table(tmp_path / f"{count}.jsonl", count)
        tracemalloc.start()
        run(table, tmp_path / f"out{count}", chunk_rows=100, part_rows=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 200_000


def test_job_file_says_what_is_scored(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    job = json.loads((tmp_path / "out/_job/job.json").read_text())
    assert job["inputs"] == [str(table)]
    assert (job["model"], job["seed"]) == (FACTS.fingerprint, 0)


@pytest.mark.parametrize("text", ["3", "3/3", "-1/2", "a/b", "1/", "²/3"])
def test_wrong_shares(text: str) -> None:
    with pytest.raises(ConfigError, match="expected i/n"):
        Share.parse(text)


def test_wrong_layouts(tmp_path: Path, table: Path) -> None:
    with pytest.raises(ConfigError, match="do not grow"):
        Layout(batch_size=8, chunk_rows=4)
    with pytest.raises(ConfigError, match="format is 'xlsx'"):
        run(table, tmp_path / "out", format="xlsx")
