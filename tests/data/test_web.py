"""Web addresses: only hosts that the user names, only https, no redirects."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest
from PIL import Image

from diffagiqa.data import samples, web
from diffagiqa.data.images import ImageLimits
from diffagiqa.data.tables import read_samples
from diffagiqa.errors import ImageError, TableError

HOST = "pictures.example"
LIMITS = ImageLimits(hosts=(HOST.upper(),))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the allowed host holds, by address."""
    held: dict[str, bytes] = {}

    def open_web(url: str, timeout: float = 1.0) -> io.BytesIO:
        if url not in held:
            raise OSError("HTTP Error 404: Not Found")
        return io.BytesIO(held[url])

    monkeypatch.setattr(samples, "open_web", open_web)
    return held


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    return stream.getvalue()


def test_a_table_and_its_pictures_on_an_allowed_host(store: dict[str, bytes]) -> None:
    table = f"https://{HOST}/a/table.csv"
    store[table] = b"image,prompt\ncat.png,a cat\nhttps://other.example/dog.png,a dog\n"
    store[f"https://{HOST}/a/cat.png"] = png()
    first, second = read_samples([table], limits=LIMITS)
    assert (first.location, first.prompt) == (f"https://{HOST}/a/cat.png", "a cat")
    assert samples.read_location(str(first.source), 10_000, ImageError, LIMITS.hosts) == png()
    with pytest.raises(ImageError, match="hosts named by --allow-host"):
        samples.read_location(str(second.source), 10_000, ImageError, LIMITS.hosts)
    with pytest.raises(ImageError, match="holds more than 10 bytes"):
        samples.read_location(str(first.source), 10, ImageError, LIMITS.hosts)


def test_a_picture_with_a_query_is_no_pattern(store: dict[str, bytes]) -> None:
    url = f"https://{HOST}/image?number=3"
    assert [sample.image for sample in read_samples([url])] == [url]


def test_what_is_not_there_is_said(store: dict[str, bytes]) -> None:
    with pytest.raises(TableError, match=r"cannot be opened \(HTTP Error 404"):
        samples.open_location(f"https://{HOST}/none.csv", hosts=LIMITS.hosts)


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a.png",
        f"https://{HOST}.evil/a.png",
        f"https://{HOST}:8443/a.png",
        f"https://user@{HOST}/a.png",
        "https://[/a.png",
    ],
)
def test_others_are_refused(store: dict[str, bytes], url: str) -> None:
    store[url] = png()
    with pytest.raises(ImageError, match="is a web address"):
        samples.read_location(url, 10_000, ImageError, LIMITS.hosts)


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/moved" else 200)
            self.send_header("Location", "/there")
            self.end_headers()
            self.wfile.write(b"bytes")

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


def test_redirects_are_not_followed(server: str, tmp_path: Path) -> None:
    with web.open_web(f"{server}/there") as stream:
        assert stream.read() == b"bytes"
    with pytest.raises(HTTPError, match="302"):
        web.open_web(f"{server}/moved")


def test_nothing_is_written_to_the_web() -> None:
    with pytest.raises(TableError, match="where nothing is written"):
        samples.filesystem_of(f"https://{HOST}/scores.csv")


@pytest.mark.parametrize("name", ["table.csv", "shard.tar"])
def test_a_list_on_the_web_is_refused_without_its_host(name: str) -> None:
    url = f"https://{HOST}/{name}"
    if name.endswith(".csv"):
        with pytest.raises(TableError, match="hosts named by --allow-host"):
            next(read_samples([url]))
    else:
        assert "hosts named by --allow-host" in str(next(read_samples([url])).error)
