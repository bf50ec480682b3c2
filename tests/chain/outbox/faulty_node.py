"""A node that answers badly: it drops, delays, repeats, truncates and falsifies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from tests.chain.proxy import NodeProxy

Fault: TypeAlias = Callable[["FaultyNode", bytes], bytes | None]
DELAY_S = 0.2


class FaultyNode(NodeProxy):
    """Passes requests on; the first few that ask for one method go through a fault.

    ``faulty.plan(fault, method)``; how often it struck is in ``faulty.struck``.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.plan(lambda node, body: node.forward(body), "nothing")

    def plan(self, fault: Fault, method: str, times: int = 3) -> None:
        self.fault, self.method, self.left, self.struck = fault, method, times, 0

    def respond(self, body: bytes) -> bytes | None:
        if self.left and f'"{self.method}"'.encode() in body:
            self.left -= 1
            self.struck += 1
            return self.fault(self, body)
        return self.forward(body)


# --- Faults ---------------------------------------------------------------------------------------


def drops_the_request(_: FaultyNode, __: bytes) -> None:
    """Hang up before anything was done."""


def drops_the_answer(node: FaultyNode, body: bytes) -> None:
    """Hang up after it was done."""
    node.forward(body)


def delays(node: FaultyNode, body: bytes) -> bytes:
    """Do it, and answer later."""
    answer = node.forward(body)
    time.sleep(DELAY_S)
    return answer


def repeats(node: FaultyNode, body: bytes) -> bytes:
    """Do it twice, and answer for the second time."""
    node.forward(body)
    return node.forward(body)


def truncates(node: FaultyNode, body: bytes) -> bytes:
    """Answer with the first half of the answer."""
    answer = node.forward(body)
    return answer[: len(answer) // 2]


def falsifies(change: Callable[[Any], Any]) -> Fault:
    """Do it, and answer something else to each question for the method."""

    def fault(node: FaultyNode, body: bytes) -> bytes:
        asked, answers = json.loads(body), json.loads(node.forward(body))
        many = answers if isinstance(answers, list) else [answers]
        for question, answer in zip(
            asked if isinstance(asked, list) else [asked], many, strict=True
        ):
            if question["method"] == node.method:
                told = change(answer.pop("result", None))
                answer.update(
                    told if isinstance(told, dict) and "error" in told else {"result": told}
                )
        return json.dumps(answers).encode()

    return fault


def searches_no_more_than(blocks: int) -> Fault:
    """Search logs only in so many blocks at once, as public nodes do."""

    def fault(node: FaultyNode, body: bytes) -> bytes:
        (question,) = json.loads(body)
        query = question["params"][0]
        if int(query["toBlock"], 16) - int(query["fromBlock"], 16) < blocks:
            return node.forward(body)
        error = {"code": -32005, "message": "block range too large"}
        return json.dumps([{"jsonrpc": "2.0", "id": question["id"], "error": error}]).encode()

    return fault


def refuses(message: str) -> Fault:
    """Do it, and answer that it could not be done."""
    return falsifies(lambda _: {"error": {"code": -32000, "message": message}})
