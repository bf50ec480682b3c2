"""Changing who can read many objects: sidecar by sidecar, so that a bad one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ml.errors import ModelproofError, NotVerified

from .cid import Cid
from .sidecar import Sidecar
from .store import Sidecars


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What became of one sidecar: changed, as it was, or refused with an error."""

    cid: Cid
    changed: bool
    refusal: ModelproofError | None = None

    @property
    def outcome(self) -> str:
        """It in a word or two."""
        if self.refusal:
            return "refused"
        return "changed" if self.changed else "as it was"


def rewrap(
    sidecars: Sidecars, cids: Iterable[Cid], change: Callable[[Sidecar], Sidecar]
) -> Iterator[Rewrapped]:
    """Change sidecars one after the other, as with `ml.storage.access`; objects stay as they are.

    Each is replaced whole. After a crash, some are changed and the rest are not: run it again.
    """
    for cid in cids:

        def changed(data: bytes, cid: Cid = cid) -> bytes:
            return change(Sidecar.read(data, cid)).to_json()

        try:
            yield Rewrapped(cid, sidecars.update(cid, changed))
        except ModelproofError as error:
            yield Rewrapped(cid, changed=False, refusal=error)


def rewrap_in_all(
    folders: Sequence[Sidecars], cids: Sequence[Cid] | None, change: Callable[[Sidecar], Sidecar]
) -> Iterator[tuple[Sidecars, Rewrapped]]:
    """Change the sidecars of some objects, or of all that there are, in each folder that has one.

    What no folder has is refused in each.
    """
    here = {folder: set(folder.names()) for folder in folders}
    anywhere = set().union(*here.values())
    for folder, names in here.items():
        chosen = sorted(names, key=str) if cids is None else cids
        for one in rewrap(folder, [c for c in chosen if c in names or c not in anywhere], change):
            yield folder, one


def failure(done: Sequence[Rewrapped], data: dict[str, object]) -> ModelproofError | None:
    """One error for all that were refused, or None; ``data`` is for programs.

    It is `NotVerified` if one of them is.
    """
    refusals = [one.refusal for one in done if one.refusal]
    if not refusals:
        return None
    worst = next((each for each in refusals if isinstance(each, NotVerified)), refusals[0])
    kind = NotVerified if isinstance(worst, NotVerified) else ModelproofError
    return kind(f"{len(refusals)} of {len(done)} sidecars stay as they were: {worst}", data=data)
