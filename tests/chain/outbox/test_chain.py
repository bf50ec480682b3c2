"""What is believed of a node's answers, and what is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ml.chain.outbox.chain import Chain
from ml.chain.outbox.entry import Attempt, BlockId, Call, Entry, State
from ml.chain.outbox.rpc import NoAnswer, Question, Rpc, RpcError
from ml.chain.outbox.trials import Reverts, Tried, returned, trials

CALL = Call("0x" + "22" * 20, "0x" + "33" * 20, b"\x01\x02\x03\x04")
ATTEMPT = Attempt("0x" + "44" * 32, b"\x02raw", 7, 21_000, 3 * 10**9, 10**9)
ENTRY = Entry(1, bytes(32), CALL, 0, State.SENT, 7, (ATTEMPT,))


class Told(Rpc):
    """A node that answers what a test says, and what it was asked."""

    def __init__(self, answer: Callable[[str, Sequence[Any]], Any]) -> None:
        self.answer = answer
        self.asked: list[list[Question]] = []

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        self.asked.append(list(questions))
        return [self.answer(*question) for question in questions]


def hashed(number: int, branch: str = "a") -> str:
    return "0x" + branch * 60 + f"{number:04x}"


def block(number: int, branch: str = "a", *transactions: str) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": hashed(number, branch),
        "parentHash": hashed(number - 1, branch),
        "transactions": list(transactions),
    }


def receipt(number: int, branch: str = "a") -> dict[str, Any]:
    return {
        "transactionHash": ATTEMPT.hash,
        "blockNumber": hex(number),
        "blockHash": hashed(number, branch),
        "gasUsed": "0x5208",
        "status": "0x1",
    }


@pytest.fixture(autouse=True)
def _untouched() -> None:
    """There is no node to put back."""


# --- Where a transaction is -----------------------------------------------------------------------


def looked_for(latest: Any, said: Any, at_its_height: Any = None) -> tuple[Any, Told]:
    """What is found of the entry, if the node says so, and what it was asked."""

    def answer(method: str, parameters: Sequence[Any]) -> Any:
        if method == "eth_getTransactionReceipt":
            return said
        return latest if parameters[0] == "latest" else at_its_height

    node = Told(answer)
    return Chain(node, 1, hashed(0)).find_all([ENTRY]), node


def test_transaction_of_the_latest_block_is_found_in_one_request() -> None:
    (head, found), node = looked_for(block(9, "a", ATTEMPT.hash), receipt(9))
    assert (head, [one.place for one in found[1]]) == (9, [(9, hashed(9))])
    assert len(node.asked) == 1


def test_transaction_that_the_latest_block_does_not_hold_is_not_found() -> None:
    (_, found), node = looked_for(block(9, "a", "0x" + "55" * 32), receipt(9))
    assert found == {}
    assert len(node.asked) == 1


@pytest.mark.parametrize("latest", [block(8), block(10), block(9, "b")])
def test_block_that_is_not_the_latest_is_asked_for(latest: dict[str, Any]) -> None:
    """As where answers in one request come from several nodes, or a block came in between."""
    (head, found), node = looked_for(latest, receipt(9), block(9, "a", ATTEMPT.hash))
    assert (head, [one.block for one in found[1]]) == (int(latest["number"], 16), [9])
    assert node.asked[1:] == [[("eth_getBlockByNumber", ["0x9", False])]]


@pytest.mark.parametrize("there", [block(9, "b", ATTEMPT.hash), block(9), None, RpcError("none")])
def test_receipt_of_a_block_that_the_chain_does_not_have_is_not_believed(there: Any) -> None:
    (_, found), _ = looked_for(block(10), receipt(9), there)
    assert found == {}


@pytest.mark.parametrize("latest", [None, RpcError("busy"), {"number": "0x9"}, {"hash": hashed(9)}])
def test_latest_block_that_is_none_is_no_answer(latest: Any) -> None:
    with pytest.raises(NoAnswer):
        looked_for(latest, receipt(9))


# --- Whether blocks are still there ---------------------------------------------------------------


def places(*numbers: int) -> list[BlockId]:
    return [(number, hashed(number)) for number in numbers]


def heights(questions: Sequence[Question]) -> list[int]:
    return [int(parameters[0], 16) for _, parameters in questions]


def test_of_a_row_of_blocks_only_the_last_is_asked_for_again() -> None:
    node = Told(lambda _, parameters: block(int(parameters[0], 16)))
    chain = Chain(node, 1, hashed(0))
    first = chain.still_holds(places(3, 5, 6, 7))
    assert heights(first.questions) == [3, 5, 6, 7]  # nothing is known of them yet
    assert chain.learn(first)
    assert heights(chain.still_holds(places(3, 5, 6, 7)).questions) == [3, 7]
    assert heights(chain.still_holds(places(3, 5, 7)).questions) == [3, 5, 7]
    assert heights(chain.still_holds(places(3, 5, 6, 7, 8)).questions) == [3, 5, 7, 8]


def test_row_of_blocks_whose_last_is_gone_does_not_hold() -> None:
    branch = "a"
    node = Told(lambda _, parameters: block(int(parameters[0], 16), branch))
    chain = Chain(node, 1, hashed(0))
    assert chain.learn(chain.still_holds(places(5, 6)))
    branch = "b"
    assert not chain.learn(chain.still_holds(places(5, 6)))


def test_block_of_another_branch_is_asked_for_by_itself() -> None:
    """The one at its height that another is known to be on is not it."""
    node = Told(lambda _, parameters: block(int(parameters[0], 16)))
    chain = Chain(node, 1, hashed(0))
    assert chain.learn(chain.still_holds(places(5, 6)))
    asking = chain.still_holds([(5, hashed(5, "b")), (6, hashed(6))])
    assert heights(asking.questions) == [5, 6]
    assert not chain.learn(asking)


def test_threads_that_ask_about_different_blocks_at_once_each_ask_about_their_own() -> None:
    """The other forgets what the first has just found to be known."""
    node = Told(lambda _, parameters: block(int(parameters[0], 16)))
    chain = Chain(node, 1, hashed(0))
    assert chain.learn(chain.still_holds(places(5, 6)))

    others = iter([places(8)])

    class Interrupted(dict[BlockId, BlockId]):
        def __contains__(self, place: object) -> bool:
            is_known = super().__contains__(place)
            for other in others:
                assert heights(chain.still_holds(other).questions) == [8]
            return is_known

    chain._below = Interrupted(chain._below)
    assert heights(chain.still_holds(places(5, 6)).questions) == [6]


# --- Trials ---------------------------------------------------------------------------------------

REVERTED = RpcError("execution reverted", "0x01020304", 3)
WITHOUT_A_REASON = RpcError("execution reverted")


def tried(call: Any, estimate: Any, again: Any = None) -> Tried | Reverts:
    """What comes of a call, if a node answers so when it is asked, and when it is asked again."""
    answers = iter([call, again])
    node = Told(lambda method, _: next(answers) if method == "eth_call" else estimate)
    (one,) = node.learn(trials(node, [CALL]))
    return one


def test_call_that_does_is_given_more_gas_than_estimated_and_what_it_returned() -> None:
    assert tried("0x2a", hex(100_000)) == Tried(200_000, b"\x2a")


@pytest.mark.parametrize(
    ("call", "estimate", "again", "data"),
    [
        (REVERTED, hex(100_000), None, "0x01020304"),
        ("0x", REVERTED, None, "0x01020304"),
        (REVERTED, RpcError("rate limit exceeded"), None, "0x01020304"),
        (REVERTED, WITHOUT_A_REASON, None, "0x01020304"),
        (WITHOUT_A_REASON, hex(100_000), None, None),
        ("0x", WITHOUT_A_REASON, REVERTED, "0x01020304"),  # a block came in between
        ("0x", WITHOUT_A_REASON, "0x", None),
    ],
)
def test_call_reverts_if_either_answer_says_so(
    call: Any, estimate: Any, again: Any, data: str | None
) -> None:
    one = tried(call, estimate, again)
    assert isinstance(one, Reverts)
    assert one.data == data


@pytest.mark.parametrize(
    ("call", "estimate"),
    [
        (RpcError("header not found"), hex(100_000)),
        (RpcError("header not found"), REVERTED),
        ("0x", RpcError("rate limit exceeded")),
        ("0x", None),
    ],
)
def test_answer_that_is_not_of_the_call_is_none(call: Any, estimate: Any) -> None:
    with pytest.raises(NoAnswer):
        tried(call, estimate, "0x")


def test_of_calls_alike_one_is_estimated_and_all_are_tried() -> None:
    node = Told(lambda method, _: "0x" if method == "eth_call" else hex(100_000))
    longer = Call(CALL.sender, CALL.to, CALL.data + b"\x05")
    assert node.learn(trials(node, [CALL, CALL, longer])) == 3 * [Tried(200_000, b"")]
    assert [method for method, _ in node.asked[0]] == 2 * ["eth_estimateGas"] + 3 * ["eth_call"]


def test_return_data_that_is_no_hexadecimal_is_no_answer() -> None:
    assert returned("0x00ff") == b"\x00\xff"
    with pytest.raises(NoAnswer, match="something else than bytes"):
        returned("0xzz")
