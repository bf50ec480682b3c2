"""How a training was started is remembered, for its owner alone, and given options replace it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from ml.errors import ModelproofError
from ml.federated.local import start as starting
from ml.federated.local.start import Start
from ml.federated.run_folder import RunFolder
from ml.federated.transport import TransportError
from ml.federated.transport.security import Security
from scripts._federated import broker_options, start_of
from scripts._stores import places_option, replicas_option
from tests.federated.runs import RUN

SECRET = "s3cret"
BROKER = f"amqp://me:{SECRET}@127.0.0.1/"
START = Start("/data", BROKER, None, False, False, 2, ("test:2",), ("/objects",), "all")
Told = Callable[..., Start]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.write(RUN)
    return folder


@pytest.fixture
def told(folder: RunFolder) -> Told:
    """How a command starts that is given these options, after the one before it."""
    found: list[Start] = []

    @click.command()
    @click.argument("data", type=click.Path(path_type=Path), required=False)
    @click.option("--resume", is_flag=True)
    @click.option("--clients", "cards")
    @click.option("--workers", type=int)
    @click.option("--validator", "validators", multiple=True)
    @click.option("--overlap/--no-overlap", default=False)
    @broker_options
    @places_option
    @replicas_option
    def command(data: Path | None, **options: Any) -> None:
        found.append(start_of(folder, data, options))

    def told(*given: str) -> Start:
        command.main([*given], standalone_mode=False)
        starting.keep(folder, found[-1])
        return found[-1]

    return told


def test_start_is_kept_for_its_owner_alone_and_printed_without_the_password(
    folder: RunFolder,
) -> None:
    starting.keep(folder, START)
    assert starting.read(folder) == START
    assert folder.start_path.stat().st_mode & 0o777 == 0o600
    assert SECRET in folder.start_path.read_text()
    assert SECRET not in repr(START)


def test_start_that_cannot_be_used_is_told_without_the_password(folder: RunFolder) -> None:
    starting.keep(folder, START)
    text = folder.start_path.read_text()
    for spoiled in (text.replace('"workers":2', '"workers":"2"'), text[:-1], f"{text} "):
        folder.start_path.write_text(spoiled)
        with pytest.raises(ModelproofError, match=r"start\.json") as raised:
            starting.read(folder)
        assert SECRET not in str(raised.value)


def test_resuming_goes_on_as_it_was_started(told: Told, tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    began = told(
        *(str(tmp_path), "--clients", str(tmp_path / "cards"), "--broker", BROKER),
        *(
            "--validator",
            "0x1=key.pub",
            "--store",
            "one",
            "--store",
            "ipfs:two",
            "--replicas",
            "any",
        ),
    )
    assert began.are_clients_elsewhere
    assert began.places == (str(Path("one").absolute()), "ipfs:two")
    assert told("--resume") == began


def test_what_is_given_when_resuming_replaces_what_was_and_is_remembered(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(str(tmp_path), "--workers", "0", "--broker", BROKER, "--store", "/one")
    other = "amqp://me:other@127.0.0.1/"
    changed = told("--resume", "--broker", other, "--workers", "3", "--overlap")
    assert (changed.queues, changed.workers, changed.places) == (other, 3, ("/one",))
    assert changed.overlaps
    assert told("--resume") == changed
    monkeypatch.setenv("MODELPROOF_STORE", "/two")
    assert told("--resume").places == ("/two",)
    monkeypatch.delenv("MODELPROOF_STORE")
    assert told("--resume", "/elsewhere").data == "/elsewhere"
    last = told("--resume")
    assert (last.data, last.places, last.queues) == ("/elsewhere", ("/two",), other)


def test_password_in_the_clear_that_was_meant_for_one_broker_is_not_for_another(
    told: Told, tmp_path: Path
) -> None:
    told(str(tmp_path), "--broker", f"amqp://me:{SECRET}@tunnel/", "--broker-in-clear")
    assert told("--resume").is_clear_meant
    other = told("--resume", "--broker", f"amqp://me:{SECRET}@elsewhere/")
    assert not other.is_clear_meant
    with pytest.raises(TransportError):
        other.check_broker()


def test_how_the_broker_is_secured_is_remembered(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--broker", f"amqps://me:{SECRET}@broker/", "--broker-ca", "ca.pem")
    assert told(str(tmp_path), *given).security == Security(tmp_path / "ca.pem")
    with pytest.raises(TransportError, match=r"ca\.pem cannot be read"):
        told("--resume").check_broker()
    clear = told("--resume", "--broker", f"amqp://me:{SECRET}@broker/")
    with pytest.raises(TransportError, match="would go to broker unencrypted"):
        clear.check_broker()
    told("--resume", "--broker-in-clear")
    meant = told("--resume")
    meant.check_broker()
    assert meant.security == Security(tmp_path / "ca.pem", is_clear_meant=True)
    monkeypatch.setenv("MODELPROOF_BROKER_IN_CLEAR", "0")
    assert not told("--resume").is_clear_meant


def test_run_that_was_begun_before_starts_were_kept_is_resumed_with_what_is_given(
    told: Told, tmp_path: Path
) -> None:
    with pytest.raises(click.UsageError, match=r"DATA is missing, and .*run does not say where"):
        told("--resume")
    began = told("--resume", str(tmp_path), "--workers", "1")
    assert (began.data, began.workers, began.queues) == (str(tmp_path), 1, None)
    assert told("--resume") == began


@pytest.mark.parametrize("given", [("--workers", "0"), ("--clients", "cards")])
def test_clients_elsewhere_cannot_be_asked_without_a_broker(
    told: Told, tmp_path: Path, given: tuple[str, str]
) -> None:
    with pytest.raises(ModelproofError, match="need --broker, to be asked by"):
        told(str(tmp_path), *given)
