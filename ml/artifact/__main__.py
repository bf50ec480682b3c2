"""Identities, manifests and proofs on the command line: ``python -m ml.artifact --help``."""

from __future__ import annotations

import os
import sys

from .command_line import main

if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # Python would take as long to clear up as to digest 30 MB
