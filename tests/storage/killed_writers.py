"""Kills writers of stores, by ``kill -9``, and looks at what they leave each time.

Run as a program of its own, since it forks: ``python -m tests.storage.killed_writers HOW FOLDER``.
A writer is a forked child; it dies in the middle of whatever it does, and the parent then reads the
store as the next reader would. Prints, as JSON, what it saw; ends with a traceback if a file was
ever torn or lost.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import ml.files
from ml.storage import encrypted, folder, hot_versions, local_store, places, spool, version_store
from ml.storage.cid import LEAF_BYTES
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.hot_versions import HotVersions
from ml.storage.local_store import LocalStore
from ml.storage.naming import name
from ml.storage.places import Places
from ml.storage.sidecar import Payload
from ml.storage.upkeep import Condition, known, repair, repair_sidecars

from .versions import KEY, History, base, changed, kept

STORE = {module.__file__ for module in (ml.files, folder, local_store)}
VERSIONS = {module.__file__ for module in (encrypted, hot_versions, places, spool, version_store)}
ROUNDS = 25
TIMEOUT_S = 60

Writer: TypeAlias = Callable[[], None]
Trace: TypeAlias = Callable[[FrameType, str, Any], "Trace | None"]

OLD = [b"an old object", bytes(LEAF_BYTES), b"of more than one leaf"]
NEW = [b"a new object", bytes(LEAF_BYTES), b"of more than one leaf"]
OLD_NAME, NEW_NAME = name(OLD).cid, name(NEW).cid


def dying_at(line: int, files: set[str | None]) -> Trace:
    """A trace function that kills its own process at the so-many-th line of these files."""
    lines_left = line

    def trace(frame: FrameType, event: str, _argument: Any) -> Trace | None:
        nonlocal lines_left
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            lines_left -= 1
            if lines_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def fork(work: Writer) -> int:
    """Start a child that works and ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a child that lived on would be a second parent)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def was_killed(child: int) -> bool:
    """Wait for a child, and tell whether it was killed; it may not end badly in another way."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the writer ended with {code}"
    return code != 0


def at_each_line(
    prepare: Writer, work: Writer, look: Callable[[], str], files: set[str | None] = STORE
) -> Counter[str]:
    """Do the same work again and again, killed one line of the files later each time, until done.

    Returns:
        how often the store looked how afterwards
    """
    seen: Counter[str] = Counter()
    killed, line = True, 0
    while killed:
        line += 1
        prepare()

        def traced(line: int = line) -> None:
            sys.settrace(dying_at(line, files))
            work()

        killed = was_killed(fork(traced))
        seen[look()] += 1
    return seen


def verified(store: LocalStore) -> set[str]:
    """The objects that are there: each of them has to be whole."""
    return {str(store.verify(cid).cid) for cid in store.names()}


def puts(root: Path) -> Counter[str]:
    """A new object beside an old one."""
    store = LocalStore(root)
    store.put(OLD)

    def look() -> str:
        there = verified(store)
        assert str(OLD_NAME) in there
        assert there <= {str(OLD_NAME), str(NEW_NAME)}
        return "new" if str(NEW_NAME) in there else "old"

    return at_each_line(lambda: store.delete(NEW_NAME), lambda: drop(store.put(NEW)), look)


def replaces(root: Path) -> Counter[str]:
    """A sidecar in place of another."""
    sidecars = LocalStore(root).sidecars
    texts = {"old": b"old" * 10_000, "new": b"new" * 20_000}

    def look() -> str:
        (cid,) = sidecars.names()
        (which,) = [which for which, text in texts.items() if text == sidecars.read(cid)]
        return which

    return at_each_line(
        lambda: sidecars.write(OLD_NAME, texts["old"]),
        lambda: drop(sidecars.update(OLD_NAME, lambda _: texts["new"])),
        look,
    )


def encrypts(root: Path) -> Counter[str]:
    """An object and its sidecar, in two folders: never a sidecar without its object.

    What is in one folder only is in both after a repair.
    """
    both = Places([str(root / "one"), str(root / "two")])

    def clear() -> None:
        for store in both.folders:
            for cid in [*store.names(), *store.sidecars.names()]:
                store.delete(cid)
                store.sidecars.delete(cid)

    def look() -> str:
        for store in both.folders:
            assert {str(cid) for cid in store.sidecars.names()} <= verified(store)
        told = list(both.sidecars.names())
        mended = [*repair(both.stores, told), *repair_sidecars(both.folders, told)]
        assert all(each.condition in (Condition.WHOLE, Condition.REPAIRED) for each in mended)
        for store in both.folders:
            for cid in told:
                with open_decrypted(store, store.sidecars, cid, [KEY]) as pieces:
                    assert b"".join(map(bytes, pieces)) == b"".join(NEW)
        if told:
            return "new"
        return "nobody's" if known(both.stores, []) else "old"

    def work() -> None:
        put_encrypted(both.store, both.sidecars, NEW, [KEY], Payload("pt"))

    files = {module.__file__ for module in (encrypted, places, local_store)}
    return at_each_line(clear, work, look, files)


def keeps_versions(root: Path) -> Counter[str]:
    """A delta beside the whole file that it builds on."""
    history = two_versions(root)
    (old, _), version = history.named[0], history.versions.pop()
    del history.named[1:]
    before = set(history.store.names())

    def clear() -> None:
        for cid in {*history.store.names(), *history.store.sidecars.names()} - before:
            history.store.delete(cid)
            history.store.sidecars.delete(cid)

    def look() -> str:
        assert history.got(0, root / "got.safetensors") == history.versions[0].path.read_bytes()
        new = set(history.store.sidecars.names()) - before
        assert {str(cid) for cid in new | before} <= verified(history.store)
        return "new" if new else "old"

    def work() -> None:
        history.opened(KEY).put(version, [KEY], old, history.versions[0].path)

    return at_each_line(clear, work, look, VERSIONS)


def gets_versions(root: Path) -> Counter[str]:
    """A version's file in place of another, put together from a whole file and a delta."""
    history, target = two_versions(root), root / "got.safetensors"
    texts = {b"old": "old", history.versions[1].path.read_bytes(): "new"}

    def look() -> str:
        seen = texts[target.read_bytes()]
        assert texts[history.got(1, target)] == "new"
        left = {path.suffix for path in history.hot.root.glob("*") if path.name.startswith(".")}
        assert left == set()
        return seen

    def clear() -> None:
        target.write_bytes(b"old")
        for path in history.hot.root.glob("*"):
            path.unlink()

    def work() -> None:
        drop(history.got(1, target))

    return at_each_line(clear, work, look, {hot_versions.__file__, ml.files.__file__})


def two_versions(root: Path) -> History:
    history = History(LocalStore(root / "objects"), HotVersions(root / "hot", 1 << 20))
    first = kept(root, base(), "first")
    history.put(first, None)
    history.put(kept(root, changed(base()), "second"), first)
    assert history.kinds() == "SD"
    return history


def drop(_result: object) -> None:
    """A writer returns nothing."""


def at_random_moments(root: Path) -> Counter[str]:
    """Writers that put one object after the other, each killed from outside, whenever it is.

    What a writer was told is stored has to be there, and all that is there has to be whole.
    """
    store, seen = LocalStore(root), Counter[str]()
    for number in range(ROUNDS):
        reading, writing = os.pipe()

        def work(number: int = number, writing: int = writing) -> None:
            for count in itertools.count():
                pieces = [f"{number} {count}".encode(), bytes(LEAF_BYTES)] * 2
                os.write(writing, f"{store.put(pieces).cid}\n".encode())

        child = fork(work)
        os.close(writing)
        ready, _, _ = select.select([reading], [], [], TIMEOUT_S)
        assert ready, "the writer wrote nothing"
        time.sleep(random.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)
        with os.fdopen(reading) as lines:
            told = {line.strip() for line in lines if line.endswith("\n")}
        there = verified(store)
        assert told <= there
        seen["killed"] += 1
        seen["told of"] += len(told)
        for cid in list(store.names()):  # so that each round looks at its own
            store.delete(cid)
    return seen


HOW = {
    "puts": puts,
    "replaces": replaces,
    "encrypts": encrypts,
    "keeps versions": keeps_versions,
    "gets versions": gets_versions,
    "random": at_random_moments,
}

if __name__ == "__main__":
    print(json.dumps(HOW[sys.argv[1]](Path(sys.argv[2]))))
