"""Who takes part in a round: a share of the active clients, drawn anew each round. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoundKey:
    """A round: within an epoch, an iteration is made once."""

    epoch: int
    iteration: int

    @property
    def values(self) -> tuple[int, int]:
        """As the tables have them."""
        return self.epoch, self.iteration


def ranking(seed: int, key: RoundKey, active: Iterable[int]) -> list[int]:
    """The active clients in the order in which they are asked to take part in a round.

    Sorted by SHA-256 of seed, epoch, iteration and index: whoever knows the seed draws the same,
    and a client that joins or leaves changes no other's place.
    """

    def drawn(client: int) -> bytes:
        text = f"participants:{seed}:{key.epoch}:{key.iteration}:{client}"
        return hashlib.sha256(text.encode()).digest()

    return sorted(active, key=drawn)


def participants(fraction: float, ranked: list[int], least: int) -> list[int]:
    """Those who are asked first: McMahan's max(C · K, 1), and as many as a round needs."""
    count = max(int(fraction * len(ranked) + 1e-9), least, 1)
    return ranked[:count]
