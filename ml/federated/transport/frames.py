"""What a parent and a child say to each other through a socket: frames of byte strings.

A frame is its length, then its fields, each as its length and its bytes. Lengths are four bytes,
big-endian. Whatever is cut off, too long, or does not add up is refused.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from ml.federated.tasks import MAX_TASK_BYTES

MAX_FRAME_BYTES: Final = 2 * MAX_TASK_BYTES
"""A message, and beside it names of thousands of queues."""
LENGTH: Final = struct.Struct(">I")


class FrameError(Exception):
    """A frame cannot be sent, or what came is none."""


class HungUp(FrameError):
    """The other side is gone."""

    def __init__(self, why: str = "its socket was closed") -> None:
        super().__init__(f"the other side is gone: {why}")


def send(channel: socket.socket, *fields: bytes) -> None:
    """Send a frame; errors as `send_all`."""
    send_all(channel, [fields])


def send_all(channel: socket.socket, frames: Iterable[Sequence[bytes]]) -> None:
    """Send frames, each of some fields.

    Raises:
        FrameError: one is too long.
        HungUp: the other side is gone.
    """
    data = b""
    for fields in frames:
        body = b"".join(LENGTH.pack(len(field)) + field for field in fields)
        if len(body) > MAX_FRAME_BYTES:
            raise FrameError(f"a frame has {len(body)} bytes, more than {MAX_FRAME_BYTES}")
        data += LENGTH.pack(len(body)) + body
    try:
        channel.sendall(data)
    except OSError as error:
        raise HungUp(str(error)) from None


def receive(channel: socket.socket) -> list[bytes]:
    """Wait for a frame, and take it apart; it has a field at least.

    Raises:
        FrameError: it is none, or too long.
        HungUp: the other side is gone, at the end of a frame or within one.
    """
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame has {length} bytes, more than {MAX_FRAME_BYTES}")
    body = _exactly(channel, length)
    fields, at = [], 0
    while at < length:
        begin = at + LENGTH.size
        if begin > length:
            raise FrameError("a frame ends within a length")
        at = begin + LENGTH.unpack_from(body, begin - LENGTH.size)[0]
        if at > length:
            raise FrameError("a field goes beyond its frame")
        fields.append(body[begin:at])
    if not fields:
        raise FrameError("a frame has no fields")
    return fields


def is_hung_up(channel: socket.socket) -> bool:
    """Whether the other side is gone, or says something out of turn."""
    try:
        channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _exactly(channel: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        try:
            piece = channel.recv(min(length - len(received), 1 << 16))
        except OSError as error:
            raise HungUp(str(error)) from None
        if not piece:
            raise HungUp
        received += piece
    return bytes(received)
