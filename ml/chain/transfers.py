"""Moving ether, through the journal: once, whatever happens to the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml.chain.outbox.entry import Call
from ml.chain.outbox.queue import Order
from ml.chain.outbox.trials import Reverts
from ml.chain.records import Receipt
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.outbox.opening import Outbox


def transfer(outbox: Outbox, receiver: str, amount: int, *, sender: AccountAPI) -> Receipt:
    """Move ether, and wait until that is mined and confirmed as the network asks.

    What an earlier run left behind that was to do the same is finished, and not sent again.

    Args:
        outbox: of the chain
        receiver: an address
        amount: wei
        sender: whose ether it is

    Raises:
        ModelproofError: the sender has too little, or the receiver is a contract that takes none.
        TooDear, NotMined, NotSent, NoAnswer: see the queue.
    """
    queue = outbox.queue(sender)
    call = Call(str(sender.address), receiver, b"", amount, label="transfer")
    try:
        (done,) = queue.wait(queue.put([Order(call)]))
    except Reverts as error:
        raise ModelproofError(f"{receiver} does not take ether ({error}).") from error
    queue.deliver([done])
    found = done.inclusion
    if found is None or not done.has_succeeded:
        raise ModelproofError(f"{receiver} did not take the ether: nothing was moved.")
    return Receipt(found.transaction, found.block, found.gas_used)
