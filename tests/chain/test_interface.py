"""Whether a deployed contract offers what is asked of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ml.chain.builds import build
from ml.chain.interface import missing


def interface() -> list[dict[str, Any]]:
    return build("ProvenanceLog").abi


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> list[dict[str, Any]]:
    """The interface with one entry changed."""
    abi = copy.deepcopy(interface())
    change(next(entry for entry in abi if entry.get("name") == name))
    return abi


def retyped(where: str, key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda entry: entry[where][0].update({key: value})


def test_same_interface_lacks_nothing() -> None:
    assert missing(interface(), interface()) == []


def test_order_and_names_of_arguments_do_not_count() -> None:
    renamed = changed("append", retyped("inputs", "name", "anything"))
    assert missing(renamed[::-1], interface()) == []


def test_more_than_what_is_asked_does_not_count() -> None:
    assert (
        missing(interface(), [entry for entry in interface() if entry.get("name") != "append"])
        == []
    )


@pytest.mark.parametrize("name", ["append", "Recorded", "AlreadyRecorded"])
def test_what_is_not_offered_is_named(name: str) -> None:
    (entry,) = [entry for entry in interface() if entry.get("name") == name]
    rest = [entry for entry in interface() if entry.get("name") != name]
    assert missing(rest, interface()) == [f"{entry['type']} {name}"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("append", retyped("inputs", "type", "uint16")),
        ("append", retyped("outputs", "type", "uint64")),
        ("Recorded", retyped("inputs", "indexed", False)),
        ("AlreadyRecorded", retyped("inputs", "type", "bytes32")),
        ("getRecord", lambda entry: entry["outputs"][0]["components"][0].update(type="uint64")),
    ],
)
def test_other_type_anywhere_makes_it_another_one(
    name: str, change: Callable[[dict[str, Any]], object]
) -> None:
    (lacking,) = missing(changed(name, change), interface())
    assert lacking.endswith(f" {name}")
