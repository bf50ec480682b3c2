"""Kubo's HTTP RPC, as far as a store needs it: one call, with timeouts, retries and clear errors.

https://docs.ipfs.tech/reference/kubo/rpc/: each call is a POST; an error is a 500 with a sentence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final, TypeVar

import httpx

from ml.artifact.errors import quoted

from .errors import StorageError

Result = TypeVar("Result")

_BUSY: Final = {429, 502, 503, 504}
"""Statuses of a node, or of a proxy before it, that may be better in a moment."""
_LONGEST_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a node is waited for, in seconds, and how often it is asked."""

    connect: float = 5.0
    """Until a connection stands."""
    silence: float = 60.0
    """Until the next byte comes or goes."""
    search: float = 30.0
    """How long the node may look for a block that it does not have, among its peers."""
    attempts: int = 5
    """How often in a row without any progress."""
    backoff: float = 0.25
    """Before the second attempt; twice as long before each further one."""

    def wait(self, failures: int) -> None:
        """Wait before the next attempt, ``failures`` of them having failed."""
        time.sleep(self.backoff * 2 ** (failures - 1))


class Unreachable(StorageError):
    """The node did not answer, or broke off, as often as it was asked."""


class Refused(StorageError):
    """The node answered that it cannot do what it was asked for."""

    def __init__(self, address: str, message: str) -> None:
        """Name the node and what it says."""
        super().__init__(f"the IPFS node at {address} refuses: {quoted(message)}")
        self.message = message


class Kubo:
    """A node that speaks the RPC; a context manager. Threads may share it."""

    def __init__(self, url: str, patience: Patience) -> None:
        """Connect to nothing yet.

        ``url`` is the RPC's, as ``http://127.0.0.1:5001``; a user and a password in it are sent.

        Raises:
            StorageError: it is no such URL.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise StorageError(f"{quoted(url)} is no URL: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise StorageError(
                f"the URL of an IPFS node is like http://127.0.0.1:5001, not {quoted(url)}"
            )
        self.patience: Final = patience
        self.address: Final = str(parsed.copy_with(userinfo=b""))
        """The URL without the password, for messages."""
        limits = httpx.Timeout(patience.silence, connect=patience.connect)
        # a proxy that the environment names would see, and could change, everything
        self._client = httpx.Client(base_url=parsed, timeout=limits, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self, command: str, parameters: Mapping[str, str], file: IO[bytes] | None = None
    ) -> str:
        """Call a command, as often as patience has it, and return the answer's text.

        Only for answers of some lines, and for commands that may be repeated. ``file`` is sent as
        it is, in a stream, from its start each time.

        Raises:
            Unreachable: it never answered.
            Refused: it cannot do that.
        """

        def once() -> str:
            # without a Content-Type, Kubo takes the part for a folder
            files = {"file": ("object", file, "application/octet-stream")} if file else None
            if file:
                file.seek(0)
            answer = self._client.post(_path(command), params=parameters, files=files)
            self._check(answer)
            return answer.text

        return self.retrying(once)

    def retrying(self, once: Callable[[], Result]) -> Result:
        """Do something until it gets through to the node; errors as `ask`."""
        for failures in range(1, self.patience.attempts + 1):
            try:
                return once()
            except httpx.TransportError as error:
                if failures == self.patience.attempts:
                    raise self.unreachable(error) from error
                self.patience.wait(failures)
        raise AssertionError("there is at least one attempt")

    @contextmanager
    def stream(self, command: str, parameters: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """Call a command, once, and give the bytes that it answers as they come.

        Raises:
            httpx.TransportError: the node did not answer, or broke off: once more may help.
            Refused: it cannot do that.
        """
        with self._client.stream("POST", _path(command), params=parameters) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
            self._check(answer)
            yield answer.iter_raw()

    def unreachable(self, error: httpx.TransportError) -> Unreachable:
        """Say that attempts are used up, and how the last one failed."""
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"the IPFS node at {self.address} does not answer"
            f" ({self.patience.attempts} attempts, the last one: {reason}); see that it runs, and"
            " that the URL is its RPC's"
        )

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.OK:
            return
        if answer.status_code in _BUSY:
            raise httpx.RemoteProtocolError(f"status {answer.status_code}")
        raise Refused(self.address, _message(answer))


def _path(command: str) -> str:
    return f"/api/v0/{command}"


def _message(answer: httpx.Response) -> str:
    """What the node says in words, or else the status."""
    try:
        said = answer.json()["Message"]
    except (ValueError, KeyError, TypeError):
        said = None
    text = said if isinstance(said, str) else f"status {answer.status_code}"
    return text[:_LONGEST_MESSAGE]
