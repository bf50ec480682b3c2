"""Waiting for messages through a broker's absence."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from . import Delivery, Transport, TransportError, TransportGone

_log = logging.getLogger(__name__)


def receive(
    transport: Transport, queues: Sequence[str], timeout_s: float, again_s: float
) -> Delivery | None:
    """The next message; None if none came in time, or the broker cannot be reached for now.

    Args:
        transport: where it comes from.
        queues: of which it may be.
        timeout_s: how long to wait for it.
        again_s: how long to wait after the broker was not there.

    Raises:
        TransportGone: waiting is of no use any more.
    """
    try:
        return transport.receive(queues, timeout_s)
    except TransportGone:
        raise
    except TransportError as error:
        _log.warning("%s", error)
        time.sleep(again_s)
        return None
