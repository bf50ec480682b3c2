"""Objects and their sidecars in a local folder: the store that needs nothing but a disk.

``<root>/<cid>`` is an object, ``<root>/<cid>.json`` its sidecar, ``<root>/.partial/`` what is being
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ml.artifact.file_reader import FileReader

from .cid import Cid
from .errors import InvalidCid, UnknownObject, WrongContent
from .folder import Folder
from .naming import Namer, Stored, name
from .pieces import Piece
from .store import Sidecars, Store

DEFAULT_ROOT: Final = Path("objects")
SIDECAR_SUFFIX: Final = ".json"


class LocalStore(Store):
    """Objects in a folder. Any number of processes may use it at once."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root
        self._folder = Folder(root)

    def __str__(self) -> str:
        return str(self.root)

    @property
    def sidecars(self) -> LocalSidecars:
        """The sidecars beside the objects."""
        return LocalSidecars(self.root)

    def put(self, pieces: Iterable[Piece]) -> Stored:
        """Write an object, and name it once it is on the disk.

        Raises:
            StorageError: the disk does not take it.
        """
        namer = Namer()
        with self._folder.new_file() as file:
            for piece in pieces:
                namer.update(piece)
                file.write(piece)
            stored = namer.finish()
            file.publish(str(stored.cid))
        return stored

    @contextmanager
    def open(self, cid: Cid) -> Iterator[Iterator[memoryview]]:
        """Give an object's bytes in order, unchecked.

        Raises:
            UnknownObject: it is not here.
            StorageError, UnreadableFile: the disk does not say, or does not give it.
        """
        if not self.has(cid):
            raise UnknownObject(f"there is no object {cid} in {self.root}")
        with FileReader(self.root / str(cid)) as reader:
            yield reader.pieces(0, reader.size)

    def has(self, cid: Cid) -> bool:
        """Tell whether there is a file of this name; raises `StorageError` if the disk does not."""
        return self._folder.changed_at(str(cid)) is not None

    def delete(self, cid: Cid) -> None:
        """Remove an object, if it is here; its sidecar stays."""
        self._folder.delete(str(cid))

    def names(self) -> Iterator[Cid]:
        """The objects that are here, in no order."""
        return _cids(self._folder.names())

    def changed_at(self, cid: Cid) -> float:
        """When an object or its sidecar was written last, in seconds since the epoch, or 0.

        Raises:
            StorageError: the disk does not tell.
        """
        times = map(self._folder.changed_at, (str(cid), _file_name(cid)))
        return max(time or 0.0 for time in times)

    def verify(self, cid: Cid) -> Stored:
        """Read an object whole; raises `UnknownObject` and `WrongContent`."""
        with self.open(cid) as pieces:
            stored = name(pieces)
        if stored.cid != cid:
            raise WrongContent(cid, stored.cid)
        return stored


class LocalSidecars(Sidecars):
    """Sidecars in a folder, beside objects or by themselves."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root
        self._folder = Folder(root)

    def __str__(self) -> str:
        return str(self.root)

    def read(self, cid: Cid) -> bytes:
        """Return a sidecar as it was written.

        Raises:
            UnknownObject: there is none.
            StorageError: the disk does not give it.
        """
        data = self._folder.read(_file_name(cid))
        if data is None:
            raise UnknownObject(f"there is no sidecar of {cid} in {self.root}")
        return data

    def write(self, cid: Cid, sidecar: bytes) -> None:
        """Keep a sidecar in place of the one from before.

        Raises:
            StorageError: the disk does not take it.
        """
        self.write_all({cid: sidecar})

    def write_all(self, sidecars: Mapping[Cid, bytes]) -> None:
        """Keep several; errors as `write`."""
        self._folder.write_all({_file_name(cid): text for cid, text in sidecars.items()})

    def update(self, cid: Cid, change: Callable[[bytes], bytes]) -> bool:
        """Replace a sidecar by what ``change`` makes of it, one process at a time."""
        with self._folder.updating():
            before = self.read(cid)
            after = change(before)
            if after != before:
                self.write(cid, after)
        return after != before

    def delete(self, cid: Cid) -> None:
        """Remove a sidecar, if there is one."""
        self._folder.delete(_file_name(cid))

    def names(self) -> Iterator[Cid]:
        """The objects whose sidecars are here, in no order."""
        names = self._folder.names()
        return _cids(n.removesuffix(SIDECAR_SUFFIX) for n in names if n.endswith(SIDECAR_SUFFIX))


def _file_name(cid: Cid) -> str:
    return f"{cid}{SIDECAR_SUFFIX}"


def _cids(names: Iterable[str]) -> Iterator[Cid]:
    """Those of the names that are CIDs: other files may lie in the folder."""
    for each in names:
        try:
            yield Cid.parse(each)
        except InvalidCid:
            continue
