"""The page as a process: what it leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from diffagiqa import Scorer

pytest.importorskip("gradio")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGTERM")
def test_what_was_handed_in_goes_with_the_page(tmp_path: Path) -> None:
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "diffagiqa", "app", "--port", str(port)],
        env={**os.environ, "TMPDIR": str(tmp_path), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        answer = httpx.post(
            f"{address.rstrip('/')}/gradio_api/upload", files={"files": ("a.png", b"an image")}
        )
        kept = Path(answer.json()[0])
        assert kept.read_bytes() == b"an image"
        assert list(tmp_path.glob("diffagiqa-*/*"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert not kept.exists()
    assert not list(tmp_path.glob("diffagiqa-*"))


def test_an_address_of_another_machine_is_named(small_scorer: Scorer) -> None:
    from diffagiqa.app.page import launch
    from diffagiqa.errors import ConfigError

    with pytest.raises(ConfigError, match=r"^192\.0\.2\.77:8000 cannot be listened on"):
        launch(small_scorer, host="192.0.2.77", port=8000)
