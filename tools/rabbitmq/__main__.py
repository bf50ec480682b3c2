"""Run a RabbitMQ broker until Ctrl-C: ``make rabbitmq``. It forgets its queues when it ends."""

from __future__ import annotations

import signal
import sys

from .install import InstallError
from .server import RabbitServer, ServerError


def main() -> int:
    """Print the broker's address, wait for Ctrl-C, and return the exit code."""
    try:
        with RabbitServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
            print(f"RabbitMQ is at {server.url}; Ctrl-C stops it", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except (InstallError, ServerError) as error:
        print(f"rabbitmq: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main())
