"""Enums and structs have the same members in Python as in Solidity, in the same order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from enum import IntEnum
from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.records import (
    Details,
    Evaluation,
    Operation,
    Origin,
    Role,
    Signature,
    SignedEvaluation,
    Update,
    VersionContent,
)
from ml.chain.types import CompletionReason, ModelKind, ModelState, Policy, Status, Verdict

RECORDS = Path(__file__).parents[2] / "contracts/types/Records.sol"
ENUMS = [ModelKind, Role, Status, Verdict, CompletionReason, Operation]
STRUCTS = {
    "Details": Details,
    "Evaluation": Evaluation,
    "Origin": Origin,
    "PolicyConfig": Policy,
    "Signature": Signature,
    "SignedEvaluation": SignedEvaluation,
    "Update": Update,
    "VersionContent": VersionContent,
}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def solidity_enums() -> dict[str, list[str]]:
    source = re.sub(r"//[^\n]*", "", RECORDS.read_text())
    found = re.findall(r"enum (\w+) \{([^}]*)\}", source)
    return {name: [snake(member.strip()) for member in body.split(",")] for name, body in found}


def solidity_structs() -> dict[str, list[str]]:
    """The structs of the registry's ABI, by name: their fields."""

    def structs(item: Any) -> Iterator[tuple[str, list[str]]]:
        for component in item.components or []:
            yield from structs(component)
        if item.components:
            name = item.internal_type.removeprefix("struct ").removesuffix("[]")
            yield name, [snake(component.name) for component in item.components]

    contract = ape.project.ModelRegistry.contract_type
    return {
        name: members
        for method in contract.methods
        for item in (*method.inputs, *method.outputs)
        for name, members in structs(item)
    }


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_enum_has_the_contracts_members_and_numbers(kind: type[IntEnum]) -> None:
    members = [member.name.lower() for member in sorted(kind)]
    assert members == solidity_enums()[kind.__name__]
    assert [int(member) for member in kind] == list(range(len(kind)))


def test_no_enum_of_the_contract_is_missing() -> None:
    assert {kind.__name__ for kind in ENUMS} == set(solidity_enums())


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_has_the_contracts_fields_in_their_order(name: str) -> None:
    ours = [field.name for field in fields(STRUCTS[name])]
    theirs = solidity_structs()[name]
    assert ours == ["model" if field == "model_id" else field for field in theirs]


def test_model_view_tells_every_field_of_the_state() -> None:
    told = set(solidity_structs()["ModelView"])
    assert {field.name for field in fields(ModelState)} | {"pending"} <= told
