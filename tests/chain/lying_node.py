"""A node that lies about its logs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import ape

from ml.chain.logs import topic_of

from .proxy import NodeProxy

Log: TypeAlias = dict[str, Any]
Lie: TypeAlias = Callable[[list[Log]], Any]


class LyingNode(NodeProxy):
    """Passes every call on to the honest node at a port, and what that says of logs through a lie.

    ``with LyingNode(port) as liar: liar.lie = …``; what it was told itself is in ``liar.seen``.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.lie: Lie = list
        self.seen: list[list[Log]] = []

    def respond(self, body: bytes) -> bytes:
        asked, answer = json.loads(body), json.loads(self.forward(body))
        several = isinstance(asked, list)
        for question, told in zip(
            asked if several else [asked], answer if several else [answer], strict=True
        ):
            if question["method"] == "eth_getLogs" and "result" in told:
                self.seen.append(copy.deepcopy(told["result"]))
                told["result"] = self.lie(told["result"])
        return json.dumps(answer).encode()


# --- Lies -----------------------------------------------------------------------------------------


def without(event: str) -> Lie:
    """Leave the registry's events of a name out."""
    return lambda logs: [log for log in logs if not is_log_of(event, log)]


def with_text(old: str, new: str) -> Lie:
    """Change a text in the logs' data to another of the same length."""
    assert len(old.encode()) == len(new.encode())
    return _with_data(lambda data: data.replace(old.encode().hex(), new.encode().hex()))


def with_word(index: int, value: int) -> Lie:
    """Change one of the words in every log's data."""
    start, stop = 2 + 64 * index, 2 + 64 * (index + 1)
    return _with_data(lambda data: f"{data[:start]}{value:064x}{data[stop:]}")


def with_topic(index: int, value: bytes) -> Lie:
    """Change one of the topics of every log that has it."""

    def lie(logs: list[Log]) -> list[Log]:
        for log in logs:
            log["topics"][index : index + 1] = ["0x" + value.hex()]
        return logs

    return lie


def cut(length: int) -> Lie:
    """Cut every log's data off."""
    return _with_data(lambda data: data[:length])


def is_log_of(event: str, log: Log) -> bool:
    """Whether a log is one of the registry's events of a name."""
    known = {abi.name: abi for abi in ape.project.ModelRegistry.contract_type.events}
    return bool(log["topics"][0] == topic_of(known[event]))


def _with_data(change: Callable[[str], str]) -> Lie:
    return lambda logs: [{**log, "data": change(log["data"])} for log in logs]
