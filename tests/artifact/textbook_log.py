"""RFC 6962, section 2.1, word for word: slow, and nothing to get wrong."""

from __future__ import annotations

from collections.abc import Sequence

from ml.artifact.keccak import keccak256


def largest_power_of_two_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    """Merkle Tree Hash of the entries d."""
    n = len(d)
    if n == 0:
        return keccak256(b"")
    if n == 1:
        return keccak256(b"\x00" + d[0])
    k = largest_power_of_two_below(n)
    return keccak256(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    """Audit path of entry m."""
    n = len(d)
    if n == 1:
        return []
    k = largest_power_of_two_below(n)
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    """Consistency proof for the first m entries, 0 < m < n."""
    return subproof(m, d, True)


def subproof(m: int, d: Sequence[bytes], b: bool) -> list[bytes]:
    n = len(d)
    if m == n:
        return [] if b else [mth(d)]
    k = largest_power_of_two_below(n)
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]
