"""The chain against itself and against the records of what is deployed on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml.chain import deploying, deployments, history, models
from ml.chain.deployments import NoDeployment
from ml.chain.fsck.disagreement import Disagreement, Place
from ml.chain.history import History
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.errors import ModelproofError, NotVerified


def check_deployments(session: Session) -> Iterator[Disagreement]:
    """See that the recorded code stands where it is recorded, and is this project's."""
    for name in deployments.recorded(session):
        try:
            deploying.check_interface(deployments.load(name, session))
        except NoDeployment as error:
            yield Disagreement(Place.DEPLOYMENTS, "dead or foreign code", name, _reason(error))


def read_models(registry: ModelRegistry) -> tuple[list[History], list[Disagreement]]:
    """Every model's history, read from the node and held against the model's head.

    Returns:
        the histories that verify, and what is wrong with the others
    """
    try:
        known = models.all_models(registry)
    except NotVerified as error:
        return [], [_unverified(f"registry {registry.address}", error)]
    whole, wrong = list[History](), list[Disagreement]()
    for model in known:
        try:
            whole.append(history.read(registry, model.id))
        except NotVerified as error:
            wrong.append(_unverified(f"model {model.name} (0x{model.id.hex()})", error))
    return whole, wrong


def check_log(log: ProvenanceLog) -> Sequence[Disagreement]:
    """Every record of the log against the log's root."""
    try:
        log.read()
    except NotVerified as error:
        return [_unverified(f"log {log.address}", error)]
    return []


def _unverified(which: str, error: ModelproofError) -> Disagreement:
    return Disagreement(Place.CHAIN, "head that does not replay", which, _reason(error))


def _reason(error: ModelproofError) -> str:
    return str(error).rstrip(".")
