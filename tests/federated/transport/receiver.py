"""A process that receives: ``python -m tests.federated.transport.receiver QUEUE REPLIES [URL]``.

It tells REPLIES its number and each message that comes. What begins with "hold" it then keeps; what
is anything else it acknowledges. Without a URL, its parent's queues are used.
"""

from __future__ import annotations

import os
import sys
import time

from ml.federated.transport import TransportError
from ml.federated.transport.broker import connect
from ml.federated.transport.child import is_child, to_parent


def main(queue: str, replies: str, url: str = "") -> None:
    transport = to_parent() if is_child() else connect(url)
    while True:
        delivery = transport.receive([queue], 600)
        if delivery is not None:
            transport.publish(replies, f"{os.getpid()} {delivery.body.decode()}".encode())
            if delivery.body.startswith(b"hold"):
                time.sleep(600)
            delivery.acknowledge()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TransportError as error:
        sys.exit(str(error))
