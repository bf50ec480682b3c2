"""What is killed at every step (`killing`): operations, and repairs of what they left."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import ape

from ml.chain.anvil import RpcClient
from ml.chain.batching import BatchRecorder
from ml.chain.commitment import details_fields, details_hash
from ml.chain.log_proofs import LogPlace
from ml.chain.log_records import RecordKind, Statement
from ml.chain.outbox.entry import State
from ml.chain.outbox.opening import Outbox, outbox_of
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.recording import record_once
from ml.chain.records import Evaluation
from ml.chain.registry import ModelRegistry
from tests.contracts.story import TEST_SET, Cast, Story, weights_of

NEVER_S = 3_600.0
REPORTED = "reported"
"""The sender got as far as telling its result: it does not have to run again."""

Work: TypeAlias = Callable[[Cast], None]


@dataclass(frozen=True)
class Scene:
    """What is killed, and where it leaves its traces."""

    contract: ModelRegistry | ProvenanceLog
    """What is written to."""
    sender: str
    work: Work
    begin: Work | None = None
    """What its process did before, and told nobody."""
    is_undone: bool = False
    """Whether a reorganisation undoes that."""
    is_mined: bool = True
    """Whether that is in a block, as is what follows it."""
    events: int = 1
    """How many there are of it in the end."""
    ends: tuple[str, ...] = (REPORTED, State.MINED)
    """How the first entry of the journal may stand then."""


def _story(cast: Cast) -> Story:
    return Story.begin(ModelRegistry(cast.deployer.deploy(ape.project.ModelRegistry)), cast)


def _registering(cast: Cast) -> Scene:
    story = _story(cast)
    due = story.due()

    def work(cast: Cast) -> None:
        registry = story.registry
        registry.register(story.id, 1, weights_of(1), due, "{}", sender=cast.trainer)
        assert registry.model(story.id).state.pending == 1

    return Scene(story.registry, cast.trainer.address, work)


def _validating(cast: Cast) -> Scene:
    story = _story(cast)
    story.register()
    said = story.evaluation()

    def work(cast: Cast) -> None:
        registry = story.registry
        verdict, _ = registry.validate(story.id, said, "{}", sender=cast.validator)
        assert verdict.name == "FIRST_BEST"

    return Scene(story.registry, cast.validator.address, work)


def _rolling_back(cast: Cast) -> Scene:
    story = _story(cast)
    story.play(90, 91)

    def work(cast: Cast) -> None:
        registry = story.registry
        registry.rollback(story.id, 1, "poisoned", sender=cast.operator)
        assert registry.model(story.id).state.current == 1

    return Scene(story.registry, cast.operator.address, work)


def _batching(cast: Cast) -> Scene:
    log = ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))
    place = LogPlace(log.chain_id, _genesis(log), log.address)
    said = [Statement(RecordKind.CLIENT_UPDATE, bytes(31) + bytes([number])) for number in (1, 2)]

    def work(cast: Cast) -> None:
        # where what goes to the journal goes, as fsck looks there
        path = Path(os.environ["MODELPROOF_OUTBOX"]) / "updates.sqlite"
        with BatchRecorder(log, place, cast.client, path, NEVER_S) as recorder:
            futures = [recorder.add(one) for one in said]
        for one, future in zip(said, futures, strict=True):
            proof = future.result(0).proof
            assert proof.statement == one
            assert log.verify_batched(proof.submitter, proof.batch, one, proof.siblings)

    return Scene(log, cast.client.address, work)


def _genesis(log: ProvenanceLog) -> str:
    return "0x" + bytes(log.contract.provider.get_block(0).hash or b"").hex()


def _restoring(cast: Cast) -> Scene:
    story = _story(cast)
    details = story.due()
    stated = details_hash(story.id, 1, cast.trainer.address, details, "")
    said = Evaluation(1, 900_000, 0, True, TEST_SET, weights_of(1), stated)

    orders = {
        cast.trainer: ("register", (story.id, 1, weights_of(1), details_fields(details), "")),
        cast.validator: ("validate", (story.id, astuple(said), "")),
    }

    def begin(cast: Cast) -> None:
        for sender, (function, arguments) in orders.items():
            queue = outbox_of(story.registry.contract.provider).queue(sender)
            queue.wait(queue.put([story.registry._order(function, arguments, sender)]))

    def work(cast: Cast) -> None:
        outbox = outbox_of(story.registry.contract.provider)
        outbox.keeper.restore()
        for entry in outbox.journal.entries():
            outbox.keyless_queue(entry.call.sender).wait([entry])
        assert story.state.current == 1

    return Scene(story.registry, cast.trainer.address, work, begin, is_undone=True, events=2)


def _waiting(cast: Cast) -> tuple[ProvenanceLog, Work]:
    """A log, and putting a record in it without waiting."""
    log = ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))
    order = log._order("append", (RecordKind.DATA, b"\x07" * 32, 1, ""), cast.client)

    def begin(cast: Cast) -> None:
        outbox_of(log.contract.provider).queue(cast.client).put([order])

    return log, begin


def _replacing(cast: Cast) -> Scene:
    log, begin = _waiting(cast)

    def work(cast: Cast) -> None:
        outbox = _that_mines(log)
        (entry,) = outbox.journal.entries()
        queue = outbox.queue(cast.client)
        if entry.is_open and len(entry.attempts) == 1:
            assert not queue._speed_up([entry])
        queue.wait([entry])

    return Scene(log, cast.client.address, work, begin, is_mined=False)


def _cancelling(cast: Cast) -> Scene:
    log, begin = _waiting(cast)

    def work(cast: Cast) -> None:
        outbox = _that_mines(log)
        entry, *instead = outbox.journal.entries()
        queue = outbox.queue(cast.client)
        if entry.is_open:
            assert queue.cancel(entry).state is State.DROPPED
        queue.settle()
        queue.wait(instead)

    ends = (State.DROPPED,)
    return Scene(log, cast.client.address, work, begin, is_mined=False, events=0, ends=ends)


def _that_mines(log: ProvenanceLog) -> Outbox:
    """The outbox; while it waits for something, blocks are mined."""
    outbox = outbox_of(log.contract.provider)
    port = urlsplit(log.contract.provider.uri).port
    mine = partial(RpcClient(port or 0).call, "anvil_mine", "0x1")
    outbox.keeper.settings = replace(outbox.keeper.settings, sleep=lambda _: mine())
    return outbox


def _appending(cast: Cast) -> Scene:
    log = ProvenanceLog(cast.deployer.deploy(ape.project.ProvenanceLog))

    def work(cast: Cast) -> None:
        entry = record_once(log, RecordKind.DATA, b"\x07" * 32, sender=cast.client)
        assert entry.record.index == 0

    return Scene(log, cast.client.address, work)


SCENES: dict[str, Callable[[Cast], Scene]] = {
    "register": _registering,
    "validate": _validating,
    "rollback": _rolling_back,
    "append": _appending,
    "batch": _batching,
    "restore": _restoring,
    "replace": _replacing,
    "cancel": _cancelling,
}
