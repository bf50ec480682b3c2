"""JSON-RPC with the node that an Ape provider is connected to, many questions in one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypeVar, cast

import urllib3
from urllib3.exceptions import HTTPError
from web3.exceptions import Web3Exception, Web3RPCError
from web3.providers.base import JSONBaseProvider
from web3.providers.eth_tester import EthereumTesterProvider

from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import ProviderAPI
    from web3 import Web3

T = TypeVar("T")
U = TypeVar("U")

Question: TypeAlias = tuple[str, Sequence[Any]]
"""A method and its parameters."""

_REVERTED: Final = 3
"""The code of an error with a contract's reason, of geth and those that follow it."""
_FAILING: Final = (
    "revert",
    "vm exception",
    "execution error",
    "out of gas",
    "invalid opcode",
    "invalid jump",
    "stack overflow",
    "gas required exceeds",
    "intrinsic gas",
    "insufficient funds",
    "insufficient balance",
    "doesn't have enough funds",
)
"""What nodes without that code say of a call that fails."""

_MOST_AT_ONCE: Final = 100
"""Public nodes take no more questions than that in one request."""

_HERE: Final = "127.0.0.1"
_PATIENCE_S: Final = 120.0
_CONNECTIONS: Final = urllib3.PoolManager(maxsize=8, retries=False, timeout=_PATIENCE_S)
"""To nodes on this machine. For others it is web3 that asks, by requests, which looks for a proxy
and for certificates each time and takes three times as long."""


class NoAnswer(ModelproofError):
    """No answer, or none that can be understood: the node may have done what it was asked, or not.

    It stands for a dropped connection, a timeout, a truncated or a malformed answer.
    """


@dataclass(frozen=True, slots=True)
class RpcError:
    """A node's refusal to answer one question."""

    message: str
    data: Any = None
    code: int | None = None

    @property
    def is_of_the_call(self) -> bool:
        """Whether the call that was asked about fails, and not the node, or its owner's patience.

        What a node says of itself (a limit, a block that it lacks) is no fact about the chain.
        """
        text = self.message.lower()
        return self.code == _REVERTED or bool(self.data) or any(word in text for word in _FAILING)


@dataclass(frozen=True, slots=True)
class Asking(Generic[T]):
    """Questions that go together, and what is made of the answers.

    Not all need come from one state of the chain, nor from one node: some that answer in the name
    of many share the questions of one request out among these.
    """

    questions: Sequence[Question]
    read: Callable[[Sequence[Any]], T]
    """Takes a result, or an `RpcError`, for each question in its place."""


def both(one: Asking[T], other: Asking[U]) -> Asking[tuple[T, U]]:
    """What is asked in one request, and read one after the other."""
    count = len(one.questions)
    return Asking(
        [*one.questions, *other.questions],
        lambda answers: (one.read(answers[:count]), other.read(answers[count:])),
    )


class Rpc:
    """Questions to one node."""

    def __init__(self, web3: Web3, url: str | None = None) -> None:
        """Ask the node of a connection, of which the URL may be known."""
        self._web3 = web3
        self._many: Callable[[Any], Any] | None = None
        if not isinstance(web3.provider, EthereumTesterProvider):
            self._many = getattr(web3.provider, "make_batch_request", None)
            if url and urllib3.util.parse_url(url).host == _HERE and self._many:
                self._many = partial(_ask_here, url, cast("JSONBaseProvider", web3.provider))

    @classmethod
    def of(cls, provider: ProviderAPI) -> Self:
        """Ask the node that a provider of Ape's is connected to."""
        return cls(provider.web3, provider.http_uri)

    def ask(self, method: str, *parameters: Any) -> Any:
        """Ask one question.

        Raises:
            NoAnswer: see there; also where the node refuses to answer.
        """
        (answer,) = self.ask_all([(method, parameters)])
        if isinstance(answer, RpcError):
            raise NoAnswer(f"the node does not answer {method}: {answer.message}")
        return answer

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        """Ask several questions at once.

        Returns:
            for each in its place the result, or an `RpcError`

        Raises:
            NoAnswer: see there.
        """
        if self._many is None:
            return [self._one(*question) for question in questions]
        answers: list[Any] = []
        for start in range(0, len(questions), _MOST_AT_ONCE):
            answers += self._together(self._many, questions[start : start + _MOST_AT_ONCE])
        return answers

    def learn(self, asking: Asking[T]) -> T:
        """Ask what goes together.

        Raises:
            NoAnswer: see there.
        """
        return asking.read(self.ask_all(asking.questions))

    def _together(
        self, many: Callable[[Sequence[Question]], Any], questions: Sequence[Question]
    ) -> list[Any]:
        try:
            answers = many(questions)
            return _in_order(answers, len(questions))
        except (Web3Exception, HTTPError, OSError, ValueError, LookupError, TypeError) as error:
            raise NoAnswer(f"no answer from the node: {_first_line(error)}") from error

    def _one(self, method: str, parameters: Sequence[Any]) -> Any:
        try:
            return self._web3.manager.request_blocking(method, parameters)  # type: ignore[arg-type]
        except Web3RPCError as error:
            told = (error.rpc_response or {}).get("error")
            return _error(told) if isinstance(told, Mapping) else RpcError(str(error))
        except Web3Exception as error:
            return RpcError(str(error), getattr(error, "data", None))
        except _failures_of_the_tester() as error:  # looked at where none of the above fits
            failed, _ = _failures_of_the_tester()
            code = _REVERTED if isinstance(error, failed) else None
            return RpcError(str(error), getattr(error, "data", None), code)


def _ask_here(url: str, encoder: JSONBaseProvider, questions: Any) -> Any:
    """Ask a node on this machine.

    Raises:
        HTTPError, ValueError: it does not answer, or not as JSON.
    """
    headers = {"Content-Type": "application/json"}
    body = encoder.encode_batch_rpc_request(questions)
    answer = _CONNECTIONS.request("POST", url, body=body, headers=headers)
    if answer.status != HTTPStatus.OK:
        raise ValueError(f"HTTP status {answer.status}")
    return answer.json()


@cache
def _failures_of_the_tester() -> tuple[type[Exception], type[Exception]]:
    """What a chain within the process raises by itself: for a call that fails, for what it bars.

    Imported only where one is asked, as that takes half a second.
    """
    from eth_tester.exceptions import TransactionFailed, ValidationError

    return TransactionFailed, ValidationError


def _in_order(answers: Any, count: int) -> list[Any]:
    """The results by their requests' places: a node may answer in any order.

    Raises:
        ValueError: there is not exactly one answer to each question.
    """
    if not isinstance(answers, list):
        raise ValueError(_error(answers["error"]).message)
    by_id = {int(answer["id"]): answer for answer in answers}
    if len(by_id) != count or len(answers) != count:
        raise ValueError(f"{len(answers)} answers to {count} questions")
    if max(by_id) - min(by_id) != count - 1:
        raise ValueError("answers to other questions")
    return [_result(by_id[number]) for number in sorted(by_id)]


def _result(answer: Mapping[str, Any]) -> Any:
    return _error(answer["error"]) if "error" in answer else answer["result"]


def _error(told: Any) -> RpcError:
    return RpcError(str(told["message"]), told.get("data"), told.get("code"))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
