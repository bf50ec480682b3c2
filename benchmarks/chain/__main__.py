"""``python -m benchmarks.chain``: sending, then the event index; 1 if a target is missed."""

from __future__ import annotations

import sys

from benchmarks.chain import index, sending

if __name__ == "__main__":
    sys.exit(max(sending.run(), index.run()))
