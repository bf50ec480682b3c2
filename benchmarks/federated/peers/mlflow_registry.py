"""MLflow's model registry on SQLite, for the history of a training, in its environment.

``python mlflow_registry.py DATABASE VERSIONS BACK_EVERY`` writes a history, reads it, and prints
milliseconds and bytes as JSON. Then an accuracy and a parent in the database are altered by SQL,
and the history is read again by MLflow's own client.
"""

# ruff: noqa: INP001 - a script, in an environment of its own
# mypy: ignore-errors

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import sys
import time
from pathlib import Path
from statistics import median

import mlflow
from mlflow import MlflowClient

MODEL = "benchmark"
CURRENT = "current"
ALTERED = 2
FALSE_ACCURACY = "999999"
FALSE_PARENT = "1"


def clocked(act):
    """What an act returns, and its milliseconds."""
    begun = time.perf_counter()
    result = act()
    return result, 1000 * (time.perf_counter() - begun)


def register(client, number, parent):
    """Register a version with what ours commits to, as tags."""
    digest = hashlib.sha256(f"weights {number}".encode()).hexdigest()
    tags = {
        "weights": digest,
        "parent": str(parent),
        "epoch": "0",
        "iteration": str(number),
        "object": digest,
        "updates": digest,
        "contributors": "ff",
    }
    return client.create_model_version(MODEL, source=f"file:///objects/{digest}", tags=tags)


def validate(client, number, accuracy):
    """Tag a version with its accuracy, and make it the current one."""
    client.set_model_version_tag(MODEL, str(number), "accuracy", str(accuracy))
    client.set_registered_model_alias(MODEL, CURRENT, str(number))


def roll_back(client, target):
    """Make an earlier version the current one."""
    client.set_registered_model_alias(MODEL, CURRENT, str(target))


def lineage(client):
    """The versions from the current one back to the first: number, accuracy, weights."""
    held = {one.version: one for one in pages(client)}
    line, at = [], str(client.get_model_version_by_alias(MODEL, CURRENT).version)
    while at != "0":
        one = held[at] if at in held else held[int(at)]
        line.append((at, one.tags["accuracy"], one.tags["weights"]))
        at = one.tags["parent"]
    return line


def pages(client):
    """All versions; the client gives so many at a time."""
    token = None
    while True:
        page = client.search_model_versions(f"name='{MODEL}'", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def main():
    """Write, read, alter, read again."""
    path, versions, back_every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    logging.disable(logging.INFO)
    uri = f"sqlite:///{path}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = MlflowClient()
    client.create_registered_model(MODEL)
    times = {"register": [], "validate": [], "rollback": []}
    empty = path.stat().st_size
    parent = 0
    for number in range(1, versions + 1):
        times["register"].append(clocked(lambda n=number, p=parent: register(client, n, p))[1])
        times["validate"].append(clocked(lambda n=number: validate(client, n, 900_000 + n))[1])
        parent = number
        if number % back_every == 0:
            parent = number - 1
            times["rollback"].append(clocked(lambda p=parent: roll_back(client, p))[1])
    reads = [clocked(lambda: lineage(client)) for _ in range(5)]
    line = reads[0][0]
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    noticed = altered_is_noticed(client, path)
    print(
        json.dumps(
            {
                "mlflow": mlflow.__version__,
                **{f"{name}_ms": median(found) for name, found in times.items()},
                "lineage_ms": min(taken for _, taken in reads),
                "lineage_versions": len(line),
                "bytes_per_version": (size - empty) / versions,
                "altered_row_noticed": noticed,
            }
        )
    )


def altered_is_noticed(client, path):
    """Alter two rows, and see whether reading says anything but what was altered."""
    update = "UPDATE model_version_tags SET value = ? WHERE key = ? AND version = ? AND name = ?"
    with sqlite3.connect(path) as database:
        for key, value in (("accuracy", FALSE_ACCURACY), ("parent", FALSE_PARENT)):
            changed = database.execute(update, (value, key, ALTERED, MODEL)).rowcount
            if changed != 1:
                raise SystemExit(f"{changed} rows were altered")
    try:
        one = client.get_model_version(MODEL, str(ALTERED))
        lineage(client)
    except Exception:  # noqa: BLE001 - whatever it says would be noticing
        return True
    return (one.tags["accuracy"], one.tags["parent"]) != (FALSE_ACCURACY, FALSE_PARENT)


if __name__ == "__main__":
    main()
