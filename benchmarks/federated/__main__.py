"""``python -m benchmarks.federated``: all parts, one after another; 1 if a target is missed."""

from __future__ import annotations

import sys

from benchmarks.federated import diagnosis, paper, thesis

if __name__ == "__main__":
    sys.exit(max(paper.run(), thesis.run(), diagnosis.run()))
