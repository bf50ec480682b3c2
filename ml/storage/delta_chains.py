"""Which versions need which objects: a delta is worth nothing without what it builds on.

A sidecar says that an object is a delta, and the chain says what the version's parent is; so no key
is needed to see what a lost object takes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ml.errors import ModelproofError

from .cid import Cid
from .deltas import FORMAT
from .encrypted import read_sidecar
from .recorded import possible_cids
from .sidecar import Sidecar
from .store import Sidecars


@dataclass(frozen=True, slots=True)
class NamedVersion:
    """A version and the objects that it names on chain."""

    name: str
    """What messages call it."""
    content: bytes | None
    """The digest in the CID of its object, if it has one."""
    metadata: Cid | None = None
    """The object with its training metadata, if it has one."""
    parent: NamedVersion | None = None

    @property
    def digests(self) -> list[bytes]:
        """Those in the CIDs of its own objects."""
        stated = [self.content] if self.content else []
        return [*stated, self.metadata.digest] if self.metadata else stated


Describe = Callable[[bytes], Sidecar | None]
"""The sidecar of the object with this digest in its CID, if there is one that is right."""


def described_by(sidecars: Sequence[Sidecars]) -> Describe:
    """Look objects up in several folders of sidecars."""

    def describe(digest: bytes) -> Sidecar | None:
        for cid in possible_cids(digest):
            for folder in sidecars:
                try:
                    return read_sidecar(folder, cid)
                except ModelproofError:  # not here, or damaged
                    continue
        return None

    return describe


def delta_chain(version: NamedVersion, describe: Describe) -> list[NamedVersion]:
    """A version, and those whose objects it is made of too, down to a whole one.

    It ends early where a sidecar is not to be had, or a parent has no object.
    """
    chain = []
    step: NamedVersion | None = version
    while step and step.content:
        chain.append(step)
        sidecar = describe(step.content)
        step = step.parent if sidecar and sidecar.payload.format == FORMAT else None
    return chain


def needed_by(versions: Iterable[NamedVersion], describe: Describe) -> dict[bytes, list[str]]:
    """Which versions cannot be had again without an object, by the digest in its CID."""
    names: dict[bytes, list[str]] = {}
    for version in versions:
        needed = {each.content: None for each in delta_chain(version, describe) if each.content}
        for digest in (*needed, *([version.metadata.digest] if version.metadata else ())):
            names.setdefault(digest, []).append(version.name)
    return names
