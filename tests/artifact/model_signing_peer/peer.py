"""Does with the real model_signing library what it is told: a task a line in, an error a line out.

Runs in an environment of its own; one process serves all tests, since to start it takes a second.
"""

# ruff: noqa: INP001 - a script, in an environment of its own

from __future__ import annotations

import json
import sys
from typing import Any

from model_signing import hashing, signing, verifying


def configured(task: dict[str, Any]) -> hashing.Config:
    config = hashing.Config()
    use = config.use_shard_serialization if "shard_size" in task else config.use_file_serialization
    named = {name: task[name] for name in ("hashing_algorithm", "shard_size") if name in task}
    use(**named)
    config.set_allow_symlinks(task.get("allow_symlinks", False))
    return config.set_ignored_paths(paths=task.get("ignore_paths", []))


def perform(task: dict[str, Any]) -> None:
    if task["do"] == "sign":
        signer = signing.Config().use_elliptic_key_signer(private_key=task["key"])
        signer.set_hashing_config(configured(task)).sign(task["model"], task["bundle"])
        return
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=task["key"])
    if task["do"] == "verify as told":  # and not as the bundle says
        verifier.set_hashing_config(configured(task))
    verifier.verify(task["model"], task["bundle"])


def main() -> None:
    for line in sys.stdin:
        error = ""
        try:
            perform(json.loads(line))
        except Exception as raised:  # noqa: BLE001 - the test says which ones it expects
            error = f"{type(raised).__name__}: {raised}"
        print(json.dumps(error), flush=True)


if __name__ == "__main__":
    main()
