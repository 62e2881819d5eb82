"""Locations, folders and tar shards."""

import dataclasses
import io
import os
import pickle
import random
import tarfile

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffagiqa.data.folders import find_files, passed_over, walk_images
from diffagiqa.data.samples import (
    Sample,
    local_path,
    open_location,
    read_location,
    read_shard,
)
from diffagiqa.errors import ImageError, TableError


def shard_of(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            if isinstance(data, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                data.name = name
                tar.addfile(data)
    return out.getvalue()


def entries(path, data, most=1000, text=100):
    path.write_bytes(data)
    return list(read_shard(str(path), most, text))


def test_sample_is_frozen_and_travels_to_workers():
    sample = Sample("cat.png", "a cat", "table", 3, {"perception": 4.1}, data=b"bytes")
    assert pickle.loads(pickle.dumps(sample)) == sample
    assert sample.source == b"bytes"
    assert dataclasses.replace(sample, data=None, location="in/cat.png").source == "in/cat.png"
    assert "bytes" not in repr(sample)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample.row = 4


def test_local_path(tmp_path):
    odd = tmp_path / "50% of a cat.png"
    odd.write_bytes(b"1")
    assert local_path(odd.as_uri()) == str(odd)
    assert local_path("file://localhost/cat.png") == "/cat.png"
    assert local_path("s3://bucket/cat.png") is None
    assert read_location(odd.as_uri(), 10) == b"1"


def test_a_file_may_look_like_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http::cat.png").write_bytes(b"1")
    assert read_location("http::cat.png", 10) == b"1"


def test_missing_client_of_a_store_is_named(monkeypatch):
    def refuse(*args, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(TableError, match=r"cannot be opened \(Install s3fs to access S3\)"):
        open_location("s3://bucket/table.csv")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cat.png")
    with pytest.raises(ImageError, match=r"cat\.png is not a file"):
        open_location(str(tmp_path / "cat.png"), ImageError)


# Folders


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def relative(root, files):
    return [os.path.relpath(file, root) for file in files]


def test_folder_order(tmp_path):
    tree(tmp_path, "b.PNG", "a.jpg", "z/1.webp", "z/deep/2.gif", "m/3.tiff", "notes.txt")
    tree(tmp_path, ".hidden/4.png", "._a.jpg", "scores.csv", "shard.tar")
    expected = ["a.jpg", "b.PNG", "m/3.tiff", "z/1.webp", "z/deep/2.gif"]
    assert relative(tmp_path, walk_images(str(tmp_path))) == expected
    assert relative(tmp_path, walk_images(str(tmp_path), recursive=False)) == expected[:2]
    assert relative(tmp_path, find_files(str(tmp_path))) == expected


def test_what_is_passed_over_is_counted(tmp_path):
    tree(
        tmp_path,
        "a.jfif",
        "b.JPE",
        "c.heic",
        "d.HEIC",
        "e",
        "in/f.csv",
        "in/g.txt",
        "a.xmp",
        ".h.heic",
    )
    assert relative(tmp_path, find_files(str(tmp_path))) == ["a.jfif", "b.JPE"]
    assert passed_over([str(tmp_path), "s.csv"]) == {".heic": 2, "": 1, ".csv": 1}
    assert passed_over([str(tmp_path)], recursive=False) == {".heic": 2, "": 1}
    assert passed_over([str(tmp_path)], out=f"{tmp_path}/in/f.csv") == {".heic": 2, "": 1}
    assert passed_over([f"{tmp_path}/*", f"{tmp_path}/e", "https://a.example/x"]) == {}
    for name in ("a.png", "b.heic", "in.d/c.tga"):
        with fsspec.open(f"memory://over.d/{name}", "wb") as file:
            file.write(b"1")
    assert passed_over(["memory://over.d"]) == {".heic": 1, ".tga": 1}
    assert passed_over(["memory://over.d/b.heic", "memory://none"]) == {}


@pytest.mark.timeout(10)
def test_loops_of_links_end(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    found = relative(tmp_path, walk_images(str(tmp_path)))
    assert found == ["a/1.png", "b/2.png", "b/dangling.png"]


def test_patterns(tmp_path):
    tree(tmp_path, "b.png", "a.png", "in/c.png", "x.csv", "folder.png/d.jpg")
    assert relative(tmp_path, find_files(f"{tmp_path}/*.png")) == ["a.png", "b.png"]
    assert relative(tmp_path, find_files(f"{tmp_path}/**/*.png")) == ["a.png", "b.png", "in/c.png"]
    tree(tmp_path, "[1].png", "1.png")
    assert relative(tmp_path, find_files(f"{tmp_path}/[1].png")) == ["[1].png"]


@pytest.mark.parametrize("item", ["{}", "{}/*.png"])
def test_nothing_found(tmp_path, item):
    with pytest.raises(TableError, match=r"holds no image; expected files in \.png, \.jpg"):
        list(find_files(item.format(tmp_path)))


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        TableError, match=r"cannot be listed \(Permission denied\); check its access"
    ):
        list(walk_images(str(tmp_path)))


def test_stores():
    at = "memory://v1.5/pictures.d"
    for name in ("b.png", "a.png", "in/c.jpg", "notes.txt", "odd"):
        with fsspec.open(f"{at}/{name}", "wb") as file:
            file.write(b"1")
    names = ["a.png", "b.png", "in/c.jpg"]
    assert [f.split("pictures.d/")[1] for f in find_files(at)] == names
    assert [f.split("pictures.d/")[1] for f in find_files(at, recursive=False)] == names[:2]
    assert [f.split("pictures.d/")[1] for f in find_files(f"{at}/*.png")] == names[:2]
    assert read_location(next(iter(find_files(at))), 9) == b"1"
    assert list(find_files(f"{at}/a.png")) == [f"{at}/a.png"]
    assert list(find_files(f"{at}/odd")) == ["memory:///v1.5/pictures.d/odd"]
    with pytest.raises(TableError, match="holds no image"):
        list(find_files("memory://empty"))


def test_a_pattern_in_a_store_matches_no_output():
    at = "memory://out.d"
    for name in ("a.png", "x.csv", "x.csv.job/_job/job.json", "x.csvs", "scores/part-00000.csv"):
        with fsspec.open(f"{at}/{name}", "wb") as file:
            file.write(b"1")

    def found(pattern, out):
        return [
            file.split("out.d/")[1] for file in find_files(f"{at}/{pattern}", out=f"{at}/{out}")
        ]

    assert found("*", "x.csv") == ["a.png", "scores", "x.csvs"]
    assert found("*/*", "x.csv") == ["scores/part-00000.csv"]
    assert found("*", "scores/") == ["a.png", "x.csv", "x.csv.job", "x.csvs"]
    with pytest.raises(TableError, match="holds no image"):
        found("*.csv", "x.csv")


def test_store_that_cannot_be_listed(monkeypatch):
    def refuse(*args):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(TableError, match=r"cannot be listed \(Install s3fs to access S3\); check"):
        list(find_files("s3://bucket/folder"))


# Shards


def test_shard(tmp_path):
    found = entries(
        tmp_path / "s.tar",
        shard_of(
            ("000.png", b"P0"),
            ("000.txt", b"a cat"),
            ("a/001.json", b"{}"),
            ("a/001.seen.JPG", b"P1"),
            ("b/001.webp", b"P2"),
            ("b/001.png", b"P3"),
            ("b/001.txt", b"7"),
            ("readme.md", b"#"),
        ),
    )
    assert [(e.name, e.data, e.texts, e.error) for e in found] == [
        ("000.png", b"P0", {"txt": b"a cat"}, None),
        ("a/001.seen.JPG", b"P1", {"json": b"{}"}, None),
        ("b/001.webp", b"P2", {}, None),
        ("b/001.png", b"P3", {"txt": b"7"}, None),
    ]


def test_hostile_members_stay_names(tmp_path):
    link, device = tarfile.TarInfo(), tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    data = shard_of(
        ("../../up.png", b"P"), ("link.png", link), ("zero.png", device), ("/abs.png", b"Q")
    )
    assert [(e.name, e.data) for e in entries(tmp_path / "s.tar", data)] == [
        ("../../up.png", b"P"),
        ("/abs.png", b"Q"),
    ]
    assert os.listdir(tmp_path) == ["s.tar"]


def test_members_over_the_limits(tmp_path):
    data = shard_of(("a.png", bytes(2000)), ("a.txt", b"x"), ("b.png", b"P"), ("b.txt", bytes(200)))
    big, long = entries(tmp_path / "s.tar", data)
    assert (big.name, big.data) == ("a.png", None)
    assert big.error == (
        "a.png holds 2,000 bytes, and the limit is 1,000; leave it out or raise the limit."
    )
    assert long.error.startswith("b.txt holds 200 bytes, and the limit is 100;")


def test_text_without_a_picture(tmp_path):
    (found,) = entries(tmp_path / "s.tar", shard_of(("a.txt", b"a cat")))
    assert found.error == "a has a text and no image; add one with its key."


def test_cut_shard_gives_what_came_before(tmp_path):
    data = shard_of(("a.png", b"P"), ("b.png", bytes(900)), ("c.png", b"Q"))
    *good, bad = entries(tmp_path / "s.tar", data[:1800])
    assert [e.name for e in good] == ["a.png"]
    assert "s.tar is damaged or cut short (" in bad.error
    assert bad.error.endswith("what follows was not read, copy the shard again.")


def test_missing_shard(tmp_path):
    (found,) = read_shard(str(tmp_path / "no.tar"), 10, 10)
    assert found.error.endswith("no.tar does not exist; check the path.")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_damaged_shards_never_raise(tmp_path, seed):
    rng = random.Random(seed)
    data = bytearray(shard_of(("a.png", b"P"), ("a.txt", b"x"), ("long" * 60 + ".png", b"Q")))
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(rng.choice([512, len(data)]))] = rng.randrange(256)
    for entry in entries(tmp_path / "s.tar", bytes(data[: rng.randint(0, len(data))])):
        assert entry.data is not None or entry.error


def test_memory_stays_flat_over_many_members(tmp_path):
    import tracemalloc

    path = tmp_path / "s.tar"
    path.write_bytes(shard_of(*((f"{i:05}.png", b"P") for i in range(4000))))
    tracemalloc.start()
    assert sum(1 for _ in read_shard(str(path), 10, 10)) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
