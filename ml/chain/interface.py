"""Whether a deployed contract offers what this version of the project asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Abi: TypeAlias = Iterable[Mapping[str, Any]]
"""As the compiler writes it: JSON."""


def missing(offered: Abi, asked: Abi) -> list[str]:
    """What is asked for and not offered, in the order of asking.

    A function, event or error counts as another one if any type in it is: what it takes, what it
    returns, what is indexed. Names of arguments do not count.
    """
    known = set(map(_signature, offered))
    return [
        f"{entry['type']} {entry.get('name', '')}".strip()
        for entry in asked
        if _signature(entry) not in known
    ]


def _signature(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        entry.get("type"),
        entry.get("name"),
        *(_types(entry.get(key) or ()) for key in ("inputs", "outputs")),
    )


def _types(items: Abi) -> tuple[Any, ...]:
    return tuple(
        (item.get("type"), bool(item.get("indexed")), _types(item.get("components") or ()))
        for item in items
    )
