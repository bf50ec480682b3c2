"""Excluding clients in a run's folder: by whom and why, never too many, none of another run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.chain.models import NamedModel
from ml.errors import ModelproofError
from ml.federated.local.excluding import UnenrolledRun, find_run
from ml.federated.run_configuration import MAX_ON_CHAIN, DiagnosisSettings
from ml.federated.run_folder import RunFolder
from tests.federated.runs import RUN, many_clients, run_of

MANY = MAX_ON_CHAIN + 2
LAST = MANY - 1
LARGE = run_of(clients=many_clients(MANY), diagnosis=DiagnosisSettings(min_clients=MANY - 2))
MODEL = NamedModel(RUN.model, RUN.name, "0x")
OPERATOR = "0xoperator"


@pytest.fixture
def run(tmp_path: Path) -> UnenrolledRun:
    folder = RunFolder(tmp_path / "run")
    folder.write(LARGE)
    found = find_run(MODEL, LARGE.registry, folder.root)
    assert found is not None
    return found


def changed(run: UnenrolledRun) -> dict[int, tuple[bool, str, str]]:
    """Clients that stand otherwise than at the beginning."""
    found = {one.index: (one.is_active, one.reason, one.by) for one in run.standings()}
    assert len(found) == MANY
    return {index: how for index, how in found.items() if how != (True, "", "")}


def test_all_clients_are_active_before_a_coordinator_was_started(run: UnenrolledRun) -> None:
    standings = run.standings()
    assert [(one.index, one.address, one.dataset) for one in standings] == [
        (one.index, one.address, one.dataset_root) for one in LARGE.clients
    ]
    assert changed(run) == {}
    assert not run.folder.journal_path.exists()


def test_excluding_and_reinstating_is_noted_with_who_and_why(run: UnenrolledRun) -> None:
    run.exclude(LAST, "sends noise", OPERATOR)
    assert changed(run) == {LAST: (False, "sends noise", OPERATOR)}
    run.reinstate(LAST, "mended", "0xother")
    assert changed(run) == {LAST: (True, "mended", "0xother")}
    run.exclude(LAST, "noise again", OPERATOR)
    assert changed(run) == {LAST: (False, "noise again", OPERATOR)}


def test_excluding_stops_at_the_minimum_of_clients(run: UnenrolledRun) -> None:
    run.exclude(0, "one", OPERATOR)
    run.exclude(LAST, "two", OPERATOR)
    with pytest.raises(ModelproofError, match=rf"without client 1, fewer than {MANY - 2} clients"):
        run.exclude(1, "three", OPERATOR)
    assert changed(run).keys() == {0, LAST}
    run.reinstate(0, "mended", OPERATOR)
    run.exclude(1, "three", OPERATOR)
    assert [index for index, how in changed(run).items() if not how[0]] == [1, LAST]


def test_what_changes_nothing_is_refused_and_not_noted(run: UnenrolledRun) -> None:
    run.exclude(3, "sends noise", OPERATOR)
    with pytest.raises(ModelproofError, match="client 3 of iris is excluded already"):
        run.exclude(3, "another reason", OPERATOR)
    with pytest.raises(ModelproofError, match="client 4 of iris is not excluded"):
        run.reinstate(4, "mended", OPERATOR)
    assert changed(run) == {3: (False, "sends noise", OPERATOR)}


def test_index_that_the_run_does_not_have_is_refused(run: UnenrolledRun) -> None:
    for change in (run.exclude, run.reinstate):
        with pytest.raises(ModelproofError, match=rf"has no client {MANY}: `ape run clients list"):
            change(MANY, "why", OPERATOR)
    assert changed(run) == {}


def test_run_is_found_where_it_was_begun_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_run(MODEL, LARGE.registry, None) is None
    RunFolder(Path("runs/iris")).write(LARGE)
    found = find_run(MODEL, LARGE.registry, None)
    assert found is not None
    assert found.run == LARGE
    other = NamedModel(b"o" * 32, "iris", "0x")
    assert find_run(other, LARGE.registry, None) is None
    climbing = NamedModel(RUN.model, "../runs/iris", "0x")  # a name that anybody may choose
    assert find_run(climbing, LARGE.registry, None) is None


def test_run_whose_clients_are_enrolled_is_left_to_the_chain(tmp_path: Path) -> None:
    RunFolder(tmp_path).write(run_of(clients=many_clients(MAX_ON_CHAIN)))
    assert find_run(MODEL, RUN.registry, tmp_path) is None


def test_folder_without_such_a_run_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"cannot be read .*`ape run federate` writes it"):
        find_run(MODEL, LARGE.registry, tmp_path)
    RunFolder(tmp_path).write(LARGE)
    other = NamedModel(b"o" * 32, "mnist", "0x")
    with pytest.raises(ModelproofError, match=r"is that of another model, iris 0x.*of mnist's"):
        find_run(other, LARGE.registry, tmp_path)
