"""What the operations of the registry cost that carry signatures: quorums, and evidence."""

from __future__ import annotations

from typing import Any, Final

from ape import networks
from eth_account import Account
from eth_account.signers.local import LocalAccount

from benchmarks.gas.chain import FIRST_BLOCK_TIME
from benchmarks.gas.content import METRICS, digest
from benchmarks.gas.line import Holders, Line
from ml.artifact.merkle import MerkleTree
from ml.chain.commitment import update_leaf
from ml.chain.head import text_digest
from ml.chain.records import (
    Receipt,
    Role,
    Signature,
    SignedEvaluation,
    Update,
    VersionContent,
)
from ml.chain.registry import ModelRegistry
from ml.chain.signing import Domain, evaluation_hash, sign, update_hash
from ml.chain.types import Policy

QUORUMS: Final = (1, 3, 5, 10)
BY_QUORUM: Final = "validateByQuorum of {}"
DEADLINE: Final = FIRST_BLOCK_TIME + 1_000_000
CLIENTS: Final = 10
"""Whose updates went into the version in which one of them is hidden."""


def measure(registry: ModelRegistry, holders: Holders) -> dict[str, Receipt]:
    """The receipts of every operation that carries signatures, by its name."""
    domain = Domain(networks.provider.chain_id, registry.address)
    return {
        **_quorums(registry, holders, domain),
        "reportEquivocation": _equivocation(registry, holders, domain),
        "proveUpdate, a hidden client": _hidden_client(registry, holders, domain),
    }


def _signers(what: str, count: int) -> list[LocalAccount]:
    """Accounts that only sign, in the order of their addresses."""
    signers = [Account.from_key(digest(f"{what} {n}")) for n in range(count)]
    return sorted(signers, key=lambda signer: int(signer.address, 16))


def _quorums(registry: ModelRegistry, holders: Holders, domain: Domain) -> dict[str, Receipt]:
    admin, anybody = holders[Role.ADMIN], holders[Role.TRAINER]
    line = Line(registry, holders, "signed digits")
    signers = _signers("validator", max(QUORUMS))
    for signer in signers:
        registry.grant_role(line.id, Role.VALIDATOR, signer.address, sender=admin)
    line.play(900_000)
    receipts = {}
    for number, (quorum, metrics) in enumerate([*((q, "") for q in QUORUMS), (3, METRICS)]):
        registry.set_policy(line.id, Policy(quorum=quorum), sender=admin)
        line.register()
        evaluation = line.evaluation(910_000 + number)
        hashed = evaluation_hash(line.id, evaluation, text_digest(metrics), DEADLINE)
        signatures = [sign(signer, domain, hashed) for signer in signers[:quorum]]
        name = BY_QUORUM.format(quorum) + (f", {len(metrics)} bytes of metrics" if metrics else "")
        receipts[name] = registry.validate_by_quorum(
            line.id, evaluation, metrics, signatures, DEADLINE, sender=anybody
        )[1]
    return receipts


def _equivocation(registry: ModelRegistry, holders: Holders, domain: Domain) -> Receipt:
    """One validator says two things about one version."""
    line = Line(registry, holders, "disputed digits")
    (validator,) = _signers("liar", 1)
    admin = holders[Role.ADMIN]
    registry.grant_role(line.id, Role.VALIDATOR, validator.address, sender=admin)
    line.register()
    statements = []
    for accuracy in (900_000, 600_000):
        evaluation, metrics = line.evaluation(accuracy), text_digest("")
        hashed = evaluation_hash(line.id, evaluation, metrics, DEADLINE)
        signature = sign(validator, domain, hashed)
        statements.append(SignedEvaluation(evaluation, metrics, DEADLINE, signature))
    first, second = statements
    return registry.report_equivocation(line.id, first, second, sender=holders[Role.OPERATOR])


def _hidden_client(registry: ModelRegistry, holders: Holders, domain: Domain) -> Receipt:
    """A version of ten clients' updates does not name the first of them."""
    line = Line(registry, holders, "hidden digits")
    clients = _signers("client", CLIENTS)
    for index, client in enumerate(clients):
        registry.enrol_client(
            line.id, index, client.address, digest(f"data {index}"), sender=holders[Role.ADMIN]
        )
    signed: list[tuple[Update, Signature, bytes]] = []
    for index, client in enumerate(clients):
        update = Update(0, 1, 0, digest(f"update {index}"), 600)
        hashed = update_hash(line.id, update)
        signature = sign(client, domain, hashed)
        signed.append((update, signature, update_leaf(client.address, hashed, signature)))
    tree = MerkleTree([leaf for *_, leaf in signed])
    stated: dict[str, Any] = {"updates": tree.root, "contributors": (1 << CLIENTS) - 2}
    details = line.details(**stated)
    line.register(weights=digest("weights"), **stated)
    trainer = holders[Role.TRAINER].address
    content = VersionContent(digest("weights"), trainer, details, text_digest(""))
    update, signature, leaf = signed[0]
    hidden, receipt = registry.prove_update(
        line.id, 1, content, 0, update, signature, tree.proof(leaf), sender=holders[Role.OPERATOR]
    )
    if not hidden:
        raise AssertionError("the client that is proved to be hidden is not")
    return receipt
