"""CIDs: what IPFS calls bytes, computed here, so that no node has to be believed.

As ``ipfs add --cid-version=1 --raw-leaves`` does it (Kubo, js-ipfs): leaves of 256 KiB, each named
by the SHA-256 of its raw bytes, under a balanced tree of dag-pb nodes with up to 174 links. Bytes
that fit one leaf are named by that leaf.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Self

from ml.artifact.errors import quoted

from .errors import InvalidCid

LEAF_BYTES: Final = 256 * 1024
MAX_LINKS: Final = 174
DIGEST_BYTES: Final = 32

_CID_VERSION: Final = 1
_SHA2_256: Final = bytes([0x12, DIGEST_BYTES])  # the multihash's code and length
_MULTIBASE_BASE32: Final = "b"
_CID_BYTES: Final = 2 + len(_SHA2_256) + DIGEST_BYTES
_TEXT_LENGTH: Final = 59
_UNIXFS_FILE: Final = 2


class Codec(IntEnum):
    """What kind of block a CID names (multicodec)."""

    RAW = 0x55
    DAG_PB = 0x70


@functools.lru_cache(maxsize=1024)
def _text(cid: bytes) -> str:
    return _MULTIBASE_BASE32 + base64.b32encode(cid).decode().rstrip("=").lower()


@dataclass(frozen=True, slots=True)
class Cid:
    """A CIDv1 with a SHA-256; ``str`` of it is its text in base32, safe as a file's name."""

    codec: Codec
    digest: bytes

    def __str__(self) -> str:
        return _text(bytes(self))

    def __bytes__(self) -> bytes:
        return _prefix(self.codec) + self.digest

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one text that a CID has here.

        Raises:
            InvalidCid: it is another text, or a CID of another version, base, codec or hash.
        """
        if len(text) == _TEXT_LENGTH and text.startswith(_MULTIBASE_BASE32):
            try:
                data = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
                cid = cls(Codec(data[1]), data[-DIGEST_BYTES:])
            except ValueError:  # not base32, or an unknown codec
                pass
            else:
                if str(cid) == text:  # so the version and the hash too, and no stray bits
                    return cid
        raise InvalidCid(
            f"{quoted(text)} is not the CID of an object here: those are CIDv1 in base32, with 59"
            " characters that begin with bafkrei or bafybei"
        )


class Node(NamedTuple):
    """A node of the tree that bytes are cut into, leaf or not, as its parent links to it.

    ``content_bytes`` is how much of the bytes lies below it, ``total_bytes`` how much all blocks
    below it and itself have. There are thousands a gigabyte, so it is no more than a tuple.
    """

    codec: Codec
    digest: bytes
    content_bytes: int
    total_bytes: int

    @property
    def cid(self) -> Cid:
        """What it is called."""
        return Cid(self.codec, self.digest)


class Tree:
    """The balanced tree over leaves that are added in order; holds one unfinished node a level."""

    def __init__(self, max_links: int = MAX_LINKS) -> None:
        self._max_links = max_links
        self._levels: list[list[Node]] = []

    def add_leaf(self, sha256: bytes, size: int) -> None:
        """Add the next leaf by the digest and the number of its bytes."""
        self._add(0, Node(Codec.RAW, sha256, size, size))

    def root(self) -> Node:
        """Return the node above all leaves; the tree takes no more.

        A lone leaf is its own root, and so is an empty one where there is none.
        """
        if not self._levels:
            self.add_leaf(hashlib.sha256().digest(), 0)
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            if self._levels[level]:
                self._close(level)
            level += 1
        return self._levels[level][0]

    def _add(self, level: int, node: Node) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(node)
        if len(self._levels[level]) == self._max_links:
            self._close(level)

    def _close(self, level: int) -> None:
        children, self._levels[level] = self._levels[level], []
        self._add(level + 1, _parent(children))


def multihash_v0(data: bytes) -> bytes:
    """The multihash by which ``ipfs add --cid-version=0`` names bytes that fit one leaf.

    They are a dag-pb node around a UnixFS file, not raw. Compilers name metadata so.

    Raises:
        InvalidCid: they do not fit one leaf.
    """
    if not 0 < len(data) <= LEAF_BYTES:
        raise InvalidCid(f"{len(data)} bytes are not one leaf of a file in IPFS")
    file = _number(1, _UNIXFS_FILE) + _bytes(2, data) + _number(3, len(data))
    return _SHA2_256 + hashlib.sha256(_bytes(1, file)).digest()


def _parent(children: Sequence[Node]) -> Node:
    """The dag-pb node (links, then data) whose data is a UnixFS file without bytes of its own."""
    content_bytes = sum(child.content_bytes for child in children)
    data = (
        _number(1, _UNIXFS_FILE)
        + _number(3, content_bytes)
        + b"".join(_number(4, child.content_bytes) for child in children)
    )
    block = b"".join(map(_link, children)) + _bytes(1, data)
    total_bytes = len(block) + sum(child.total_bytes for child in children)
    return Node(Codec.DAG_PB, hashlib.sha256(block).digest(), content_bytes, total_bytes)


@functools.cache
def _prefix(codec: Codec) -> bytes:
    """What comes before the digest in a CID."""
    return bytes([_CID_VERSION, codec]) + _SHA2_256


def _link(child: Node) -> bytes:
    """A dag-pb link without a name."""
    start, end = _around_digest(child.codec, child.total_bytes)
    return start + child.digest + end


@functools.lru_cache(maxsize=256)  # most links of a tree differ in their digests only
def _around_digest(codec: Codec, total_bytes: int) -> tuple[bytes, bytes]:
    """The bytes of a link before and after the digest in it."""
    cid = _bytes(1, _prefix(codec) + bytes(DIGEST_BYTES))
    whole = _bytes(2, cid + _bytes(2, b"") + _number(3, total_bytes))
    start = whole.index(bytes(DIGEST_BYTES))
    return whole[:start], whole[start + DIGEST_BYTES :]


@functools.lru_cache(maxsize=256)
def _number(field: int, value: int) -> bytes:
    """A protobuf field with a number."""
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A protobuf field with bytes."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """An unsigned LEB128: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
