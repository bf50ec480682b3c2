"""Stands in for a worker's process: ``python -m tests.federated.local.player SETTINGS``.

It tells its number for each message, and does what the message says.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing

from ml.federated.transport import child

QUEUE = "player"
TOLD = "told"


def main() -> int:
    with closing(child.to_parent()) as transport:
        return play(transport)


def play(transport: child.ParentTransport) -> int:
    while True:
        delivery = transport.receive([QUEUE], 60)
        if delivery is None:
            continue
        transport.publish(TOLD, str(os.getpid()).encode())
        match delivery.body.split():
            case [b"die"]:
                os.kill(os.getpid(), signal.SIGKILL)
            case [b"end", code]:
                delivery.acknowledge()
                return int(code)
        delivery.acknowledge()


if __name__ == "__main__":
    sys.exit(main())
