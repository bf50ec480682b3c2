"""Moving ether through the journal."""

from __future__ import annotations

import ape
import pytest
from eth_utils.address import to_checksum_address

from ml.chain.outbox.chain import Chain
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.chain.transfers import transfer
from ml.errors import ModelproofError
from tests.contracts.story import Cast

RECEIVER = to_checksum_address("0x" + "7e" * 20)
WEI = 12_345


def balance() -> int:
    return int(ape.chain.get_balance(RECEIVER))


def test_ether_is_moved_once_though_the_process_is_killed(
    session: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    before = balance()
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            transfer(session.outbox, RECEIVER, WEI, sender=cast.stranger)
    receipt = transfer(session.outbox, RECEIVER, WEI, sender=cast.stranger)
    assert balance() == before + WEI
    assert [one.inclusion and one.inclusion.block for one in session.outbox.journal.entries()] == [
        receipt.block
    ]
    transfer(session.outbox, RECEIVER, WEI, sender=cast.stranger)  # meant again
    assert balance() == before + 2 * WEI


def test_receiver_that_takes_none_is_told_of_before_anything_is_sent(
    session: Session, registry: ModelRegistry, cast: Cast
) -> None:
    known = session.outbox.journal.entries()
    with pytest.raises(ModelproofError, match="does not take ether"):
        transfer(session.outbox, registry.address, WEI, sender=cast.stranger)
    assert session.outbox.journal.entries() == known
