"""A node that lies about its logs: a real HTTP server in front of a real node."""

from __future__ import annotations

import copy
import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

import ape

from ml.chain.anvil import HOST
from ml.chain.logs import topic_of

Log: TypeAlias = dict[str, Any]
Lie: TypeAlias = Callable[[list[Log]], Any]


class LyingNode:
    """Passes every call on to the honest node at a port, and what that says of logs through a lie.

    ``with LyingNode(port) as liar: liar.lie = …``; what it was told itself is in ``liar.seen``.
    What ``liar.of_blocks`` makes of a block is told of every block, and what ``liar.refuses`` says
    of a search for logs, if anything, is why it is refused.
    """

    def __init__(self, honest_port: int) -> None:
        self.lie: Lie = list
        self.of_blocks: Callable[[Log], Any] = dict
        self.refuses: Callable[[dict[str, Any]], str | None] = lambda _: None
        self.seen: list[list[Log]] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # header and body in one piece: two would wait for each other

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked, answer = json.loads(body), json.loads(_forward(honest_port, body))
                if isinstance(asked, list):
                    told = {each["id"]: each for each in answer}
                    answer = [liar._told(each, told[each["id"]]) for each in asked]
                else:
                    answer = liar._told(asked, answer)
                reply = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _told(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """What becomes of one answer."""
        if "result" not in answer:
            return answer
        if asked["method"] == "eth_getBlockByNumber" and answer["result"]:
            return {**answer, "result": self.of_blocks(answer["result"])}
        if asked["method"] != "eth_getLogs":
            return answer
        refusal = self.refuses(asked["params"][0])
        if refusal is not None:
            error = {"code": -32005, "message": refusal}
            return {"jsonrpc": "2.0", "id": asked["id"], "error": error}
        self.seen.append(copy.deepcopy(answer["result"]))
        return {**answer, "result": self.lie(answer["result"])}

    @property
    def url(self) -> str:
        """Where it is taken for a node."""
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _forward(port: int, body: bytes) -> bytes:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        return connection.getresponse().read()
    finally:
        connection.close()


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
