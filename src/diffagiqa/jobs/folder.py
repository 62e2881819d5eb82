"""A job's output folder, local or in a store: files that are there whole or not at all, and a lock."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from diffagiqa.data.atomic import write_file
from diffagiqa.data.samples import filesystem_of, local_path, printable, reason_of
from diffagiqa.errors import TableError


class OutputFolder:
    """Reads, lists and writes the files of one folder by their names relative to it.

    A local ``write`` survives a power cut (``data.atomic``). Stores make an object visible when it is
    complete.
    """

    def __init__(self, location: str) -> None:
        local = local_path(location)
        self.location = location.rstrip("/") or location
        self.local = os.path.abspath(local) if local is not None else None
        with self._doing("opened"):
            self._filesystem, root = filesystem_of(location)
        self._root = root.rstrip("/")

    def path(self, name: str) -> str:
        """The full location of a file, to hand to a writer."""
        return os.path.join(self.local, name) if self.local else f"{self.location}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place as a whole, over an older one."""
        with self._doing("written"):
            if self.local is None:
                self._filesystem.pipe_file(f"{self._root}/{name}", data)
                return
            path = os.path.join(self.local, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_file(path, data)

    def make(self, name: str = "") -> None:
        """Make a local folder; stores know no folders."""
        if self.local is not None:
            with self._doing("made"):
                os.makedirs(os.path.join(self.local, name), exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None where there is none."""
        with self._doing("read"), contextlib.suppress(FileNotFoundError):
            return bytes(self._filesystem.cat_file(f"{self._root}/{name}"))
        return None

    def names(self, name: str = "") -> list[str]:
        """Names in a folder, sorted; none where the folder does not exist."""
        paths: list[str] = []
        with self._doing("listed"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._filesystem.invalidate_cache()
            paths = self._filesystem.ls(f"{self._root}/{name}".rstrip("/"), detail=False)
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in paths)

    def remove(self, name: str) -> None:
        """Remove one file; nothing happens where it is gone already."""
        with self._doing("tidied up"), contextlib.suppress(FileNotFoundError):
            self._filesystem.rm_file(f"{self._root}/{name}")

    def remove_folder(self, name: str) -> None:
        """Remove a folder of plain files that this program made."""
        for file in self.names(name):
            self.remove(f"{name}/{file}")
        with contextlib.suppress(OSError):
            if self.local is not None:
                os.rmdir(os.path.join(self.local, name))

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a local folder for one process; the system lets go when the process ends, however.

        Stores have no locks: there, the user starts one run per share.
        """
        if self.local is None or os.name == "nt":
            yield
            return
        import fcntl

        with self._doing("written"):
            file = open(os.path.join(self.local, name), "wb")  # noqa: SIM115  # closed below
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise TableError(
                    f"another run is writing to {printable(self.location)}; wait for it or stop it, "
                    "or give another --out."
                ) from None
            yield

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Whatever a disk or a store raises, as one sentence."""
        try:
            yield
        except Exception as fault:
            raise TableError(
                f"{printable(self.location)} cannot be {what} ({reason_of(fault)}); "
                "check its name, its access and the space there."
            ) from fault
