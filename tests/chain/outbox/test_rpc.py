"""Questions to a node, here, elsewhere or within the process, and what the first one costs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from web3 import EthereumTesterProvider, HTTPProvider, Web3

from ml.chain.outbox.rpc import NoAnswer, Rpc, RpcError

HERE = ["127.0.0.1", "localhost"]
"""Names of this machine: a node by the first is asked without web3's session, as others are not."""


@pytest.fixture(autouse=True)
def _untouched() -> None:
    """There is no node to put back."""


def test_chain_within_the_process_is_imported_only_where_it_is_asked() -> None:
    """It takes half a second."""
    told = "import sys, ml.chain.contract; print('eth_tester' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_what_a_chain_within_the_process_refuses_is_an_answer() -> None:
    web3 = Web3(EthereumTesterProvider())
    sender = web3.eth.accounts[0]
    creation = {"from": sender, "data": "0x60006000fd"}  # reverts, and says nothing
    refused, barred, count = Rpc(web3).ask_all(
        [
            ("eth_estimateGas", [creation]),
            ("eth_getBalance", ["no address", "latest"]),
            ("eth_getTransactionCount", [sender, "latest"]),
        ]
    )
    assert isinstance(refused, RpcError)
    assert refused.is_of_the_call
    assert isinstance(barred, RpcError)
    assert not barred.is_of_the_call
    assert count == 0


class Node(ThreadingHTTPServer):
    """Gives each request the same answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.text, self.more = 200, "", 0
        self.asked: list[list[str]] = []
        self.answered = 0

    def says(self, text: str, *, status: int = 200, more: int = 0) -> None:
        """What it is to answer, and how many bytes more it is to promise."""
        self.status, self.text, self.more = status, text, more


class Handler(BaseHTTPRequestHandler):
    server: Node
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ids = sorted(each["id"] for each in body)
        self.server.asked.append([each["method"] for each in body])
        text = self.server.text.replace("FIRST", str(ids[0])).replace("LAST", str(ids[-1]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text) + self.server.more))
        self.server.answered += 1  # before the client may look
        self.end_headers()
        self.wfile.write(text.encode())
        self.close_connection = self.server.more > 0

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def questions_to(node: Node, name: str) -> Rpc:
    url = f"http://{name}:{node.server_port}"
    return Rpc(Web3(HTTPProvider(url)), url)


@pytest.mark.parametrize("name", HERE)
def test_answers_are_put_into_the_order_of_the_questions(node: Node, name: str) -> None:
    node.says('[{"id":LAST,"result":"b"},{"id":FIRST,"error":{"message":"no","code":3}}]')
    refused, answer = questions_to(node, name).ask_all([("eth_a", []), ("eth_b", [{"x": 1}])])
    assert refused == RpcError("no", None, 3)
    assert answer == "b"
    assert node.asked[-1] == ["eth_a", "eth_b"]


@pytest.mark.filterwarnings("ignore:Received batch response with missing")
@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize(
    ("text", "status", "more"),
    [
        ('[{"id":FIRST,"result":"0x1"}]', 503, 0),
        ('[{"id":FIRST,"result":"0x1"}]', 200, 1),
        ('[{"id":FIRST,"resu', 200, 0),
        ("<html>", 200, 0),
        ("", 200, 0),
        ("[]", 200, 0),
        ('[{"id":LAST,"result":1},{"id":LAST,"result":2}]', 200, 0),
        ('{"error":{"message":"too many","code":-32005}}', 200, 0),
        ('[{"result":1}]', 200, 0),
        ("5", 200, 0),
    ],
)
def test_anything_but_an_answer_to_each_question_is_none(
    node: Node, name: str, text: str, status: int, more: int
) -> None:
    node.says(text, status=status, more=more)
    answered = node.answered
    with pytest.raises(NoAnswer):
        questions_to(node, name).ask("eth_blockNumber")
    assert node.answered == answered + 1


@pytest.mark.parametrize("name", HERE)
def test_node_that_is_not_there_gives_no_answer(name: str) -> None:
    with Node() as gone:
        asking = questions_to(gone, name)
    with pytest.raises(NoAnswer):
        asking.ask("eth_blockNumber")
