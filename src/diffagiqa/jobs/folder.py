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
        try:
            self._filesystem, root = filesystem_of(location)
        except Exception as fault:
            raise self._fault("opened", fault) from fault
        self._root = root.rstrip("/")

    def path(self, name: str) -> str:
        """The full location of a file, to hand to a writer."""
        return os.path.join(self.local, name) if self.local else f"{self.location}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place as a whole, over an older one."""
        try:
            if self.local is None:
                self._filesystem.pipe_file(f"{self._root}/{name}", data)
                return
            path = os.path.join(self.local, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_file(path, data)
        except OSError as fault:
            raise self._fault("written", fault) from fault

    def make(self, name: str = "") -> None:
        """Make a local folder; stores know no folders."""
        if self.local is not None:
            try:
                os.makedirs(os.path.join(self.local, name), exist_ok=True)
            except OSError as fault:
                raise self._fault("made", fault) from fault

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None where there is none."""
        try:
            return bytes(self._filesystem.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as fault:
            raise self._fault("read", fault) from fault

    def names(self, name: str = "") -> list[str]:
        """Names in a folder, sorted; none where the folder does not exist."""
        try:
            self._filesystem.invalidate_cache()
            paths = self._filesystem.ls(f"{self._root}/{name}".rstrip("/"), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except Exception as fault:
            raise self._fault("listed", fault) from fault
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in paths)

    def remove(self, name: str) -> None:
        """Remove one file; nothing happens where it is gone already."""
        try:
            self._filesystem.rm_file(f"{self._root}/{name}")
        except FileNotFoundError:
            pass
        except Exception as fault:
            raise self._fault("tidied up", fault) from fault

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

        try:
            file = open(os.path.join(self.local, name), "wb")  # noqa: SIM115  # closed below
        except OSError as fault:
            raise self._fault("written", fault) from fault
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise TableError(
                    f"another run is writing to {printable(self.location)}; wait for it or stop it, "
                    "or give another --out."
                ) from None
            yield

    def _fault(self, what: str, fault: Exception) -> TableError:
        return TableError(
            f"{printable(self.location)} cannot be {what} ({reason_of(fault)}); "
            "check its name, its access and the space there."
        )
