"""What a training asks the chain: in one request, and believed only where it fits together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ape
import pytest

from ml.chain.outbox.rpc import Rpc
from ml.chain.registry import Look, ModelRegistry
from ml.chain.session import Session
from ml.errors import NotVerified
from ml.federated.chain_view import ChainView

from .federation import Federation


@pytest.fixture
def federation(chain: Session, tmp_path: Path) -> Federation:
    registry, _ = chain.deploy(ape.accounts.test_accounts[0])
    return Federation.begin(chain, registry, tmp_path / "objects")


@pytest.fixture
def view(federation: Federation) -> ChainView:
    """Of a model whose first version waits; it has asked before."""
    federation.round()
    view = federation.chain
    view.now()
    return view


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    ask_all = Rpc.ask_all

    def counting(rpc: Rpc, questions: Any) -> list[Any]:
        asked.append(questions)
        return ask_all(rpc, questions)

    monkeypatch.setattr(Rpc, "ask_all", counting)
    return asked


def first(federation: Federation) -> tuple[int, bytes]:
    return 1, federation.metadata[1].weights


def told(monkeypatch: pytest.MonkeyPatch, alter: Callable[[Look], Look]) -> None:
    """Have the node say something else where several things are asked at once."""
    look = ModelRegistry.look

    def altered(registry: ModelRegistry, *arguments: Any, **named: Any) -> Look:
        return alter(look(registry, *arguments, **named))

    monkeypatch.setattr(ModelRegistry, "look", altered)


def test_model_and_registration_take_one_request(
    federation: Federation, view: ChainView, requests: list[Any]
) -> None:
    about = first(federation)
    assert view.now(about).state.pending == 1
    assert view.registration(*about).weights == about[1]
    assert len(requests) == 1


def test_model_and_outcome_take_one_request(
    federation: Federation, view: ChainView, requests: list[Any]
) -> None:
    federation.judge(60.0)
    requests.clear()
    model, version = view.outcome(1)
    assert version
    assert (model.state.current, version.accuracy) == (1, 600_000)
    assert len(requests) == 1
    assert [said.accuracy for said in view.verdicts(1)] == [600_000]
    assert len(requests) == 2


@pytest.mark.parametrize("left_out", ["events", "version"])
def test_registration_that_is_not_told_along_is_asked_for_by_itself(
    federation: Federation, view: ChainView, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    told(monkeypatch, lambda look: replace(look, **{left_out: None}))
    about = first(federation)
    assert view.now(about).state.pending == 1
    assert view.registration(*about).version == 1


def test_registration_of_other_weights_is_none(federation: Federation, view: ChainView) -> None:
    view.now((1, b"x" * 32))
    with pytest.raises(NotVerified, match="has no version 1 with the weights"):
        view.registration(1, b"x" * 32)
