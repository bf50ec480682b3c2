"""Who could contribute to a version follows from what came before it."""

from __future__ import annotations

from typing import Any

from ml.chain.logs import Event
from ml.federated.enrolments import Enrolled, active_at


def event(name: str, **arguments: Any) -> Event:
    return Event(name, arguments, 1, "0x", 0)


def enrolled(index: int) -> Event:
    return event("ClientEnrolled", index=index, client=f"0x{index}", dataset=bytes([index]) * 32)


def test_clients_are_active_between_enrolment_and_exclusion_and_after_reinstatement() -> None:
    history = [
        event("ModelCreated"),
        enrolled(0),
        event("VersionRegistered", version=1),
        enrolled(3),
        event("VersionRegistered", version=2),
        event("ClientExcluded", index=0),
        event("VersionRegistered", version=3),
        event("ClientReinstated", index=0),
        event("VersionRegistered", version=4),
    ]
    found = active_at(history)
    assert {version: [*clients] for version, clients in found.items()} == {
        1: [0],
        2: [0, 3],
        3: [3],
        4: [0, 3],
    }
    assert found[2][3] == Enrolled("0x3", bytes([3]) * 32)
