"""Several validators of one model, who sign what they measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ape

from ml.chain import publishing
from ml.chain.head import text_digest
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.publishing import Pending
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.signed_files import EvaluationFile
from ml.chain.signing import Domain, evaluation_hash, sign
from ml.chain.types import Policy
from tests.contracts.story import Cast, Story

METRICS = '{"accuracy_ppm":900000,"correct":9000,"samples":10000}'
DEADLINE = 4_000_000_000


def account(index: int) -> Any:
    return ape.accounts.test_accounts[index]


@dataclass
class Panel:
    """A model, its version that waits, and its validators in the order of their addresses."""

    story: Story
    waiting: Pending
    validators: tuple[Any, ...]

    @classmethod
    def begin(
        cls,
        registry: ModelRegistry,
        quorum: int = 2,
        *,
        policy: Policy | None = None,
        **created: Any,
    ) -> Panel:
        """Three validators of whom so many have to agree, and v1, which waits for them."""
        policy = replace(policy or PRESETS["thesis"], quorum=quorum)
        cast = Cast(*map(account, range(len(Cast._fields))))
        story = Story.begin(registry, cast, policy, **created)
        validators = (cast.validator, account(7), account(8))
        for validator in validators[1:]:
            registry.grant_role(story.id, Role.VALIDATOR, validator.address, sender=cast.admin)
        story.register()
        ordered = sorted(validators, key=lambda one: int(one.address, 16))
        return cls(story, publishing.pending(registry, named(story)), tuple(ordered))

    @property
    def domain(self) -> Domain:
        registry = self.story.registry
        return Domain(registry.chain_id, registry.address)

    def file(self, signer: Any, accuracy: int = 900_000, **changes: Any) -> EvaluationFile:
        """What a validator signed; ``changes`` are of the file, or of the evaluation in it."""
        waiting = self.waiting
        evaluation = publishing.evaluation(waiting, accuracy, 0, accepted=True)
        said = {name: changes.pop(name) for name in list(changes) if hasattr(evaluation, name)}
        evaluation = replace(evaluation, **said)
        parts = {
            "domain": self.domain,
            "model": waiting.model.id,
            "metrics": METRICS,
            "deadline": DEADLINE,
            **changes,
        }
        digest = text_digest(parts["metrics"])
        struct = evaluation_hash(parts["model"], evaluation, digest, parts["deadline"])
        signature = sign(signer, parts["domain"], struct)
        return EvaluationFile(
            evaluation=evaluation, signer=signer.address, signature=signature, **parts
        )


def named(story: Story) -> NamedModel:
    return NamedModel(story.id, story.name, story.cast.admin.address)


def by_path(files: Sequence[EvaluationFile]) -> dict[Path, EvaluationFile]:
    """The files as they would have been read: a.json, b.json and so on."""
    return {Path(f"{chr(ord('a') + place)}.json"): file for place, file in enumerate(files)}
