"""A training's rounds, one after the other, until the contract says that it is over.

The chain decides at each step what is due, and the journal knows how far this has come: so a
coordinator that was killed at any step goes on by being started again, and a rollback, a discard or
a completion by somebody else is noticed and followed.
"""

from __future__ import annotations

from typing import Final

from ml.chain.records import Model
from ml.chain.refusals import ContractRefused
from ml.chain.types import ModelKind
from ml.errors import ModelproofError
from ml.federated.sampling import RoundKey

from .blaming import look_into_failure
from .context import Context
from .gathering import Gathering, TooFewClients
from .going_back import come_back
from .judging import Judged, have_judged, recorded
from .making import make_version, register_version
from .news import RoundGivenUp, RoundOver, VersionRegistered
from .records import MadeVersion

_MOST_ATTEMPTS: Final = 3
"""To register what was made of a round; between two, somebody excluded a client."""


class Coordinator:
    """Runs one training."""

    def __init__(self, context: Context) -> None:
        """Nothing is sent yet.

        Raises:
            ModelproofError: the model is not one that a training can be run on.
        """
        self._context: Final = context
        model = context.chain.now()
        if model.kind is not ModelKind.STRICT or model.origin is not None:
            raise ModelproofError(
                f"{context.run.name} is an open model, or a fork, and federated training goes in"
                " one line of versions from seeded weights: create another --model."
            )
        if model.test_set != context.run.test_set:
            raise ModelproofError(
                f"{context.run.name} was created for another validation part than the run's."
            )
        if model.policy.quorum > len(context.run.validators):
            raise ModelproofError(
                f"the policy of {context.run.name} asks for {model.policy.quorum} validators, and"
                f" the run has {len(context.run.validators)}."
            )

    def run(self, rounds: int | None = None) -> Model:
        """Run rounds until training is over, or so many versions have been judged.

        Raises:
            TooFewClients, NobodyValidates: a round cannot be finished.
            ContractRefused: an account lacks a role.
            ModelproofError: a store, the broker or a node cannot be used.
        """
        judged = 0
        while True:
            model = self._context.chain.now()
            self._catch_up(model)
            if model.state.completed:
                look_into_failure(self._context, model)
                return self._context.chain.now()
            if model.state.pending:
                judged += self._judge(model)
                continue
            if look_into_failure(self._context, model) or not come_back(self._context, model):
                continue
            if rounds is not None and judged >= rounds:
                return self._context.chain.now()
            self._round(model)

    def _round(self, model: Model) -> None:
        """Gather, aggregate, store and register the round that is due."""
        context = self._context
        context.seconds.clear()
        base = context.bases.of(model.state.current)
        gathering = Gathering(context, model, base)
        with context.clocked("clients"):
            is_ours = gathering.run()
        for _ in range(_MOST_ATTEMPTS):
            if not is_ours:
                break
            made = context.journal.made(gathering.key)
            if made is None:
                updates = gathering.admitted.values()
                made = make_version(context, model, gathering.key, base, updates)
            try:
                receipt = register_version(context, gathering.key, base.version, made)
            except ContractRefused as error:
                model, is_ours = self._after_refusal(gathering, error)
                continue
            context.tell(VersionRegistered(made.version, made.weights, receipt.gas_used))
            return
        reason = "the model moved on, by a rollback, a discard or a completion"
        context.tell(RoundGivenUp(*gathering.key.values, reason))

    def _after_refusal(self, gathering: Gathering, error: ContractRefused) -> tuple[Model, bool]:
        """Whether the round is still due; then what was made of it has to be made again.

        Raises:
            ContractRefused: nothing has changed that would explain the refusal.
            TooFewClients: too few of those whose updates came are active still.
        """
        context, key = self._context, gathering.key
        model = context.chain.now()
        if not gathering.is_due(model):
            return model, False
        active = set(context.active(model))
        gone = [client for client in gathering.admitted if client not in active]
        made = context.journal.made(key)
        if not gone and made and made.version == model.state.latest + 1:
            raise error
        for client in gone:
            del gathering.admitted[client]
        if len(gathering.admitted) < context.run.min_updates:
            raise TooFewClients(
                f"clients were excluded while round {key.iteration} was going on, and of the"
                f" {context.run.min_updates} updates that it needs {len(gathering.admitted)} are"
                " left: reinstate one, or discard the round by a rollback."
            )
        context.journal.unmake(key, gone)
        return model, True

    def _judge(self, model: Model) -> int:
        """Have the version judged that waits; returns 1, the number of versions."""
        context, version = self._context, model.state.pending
        key, made = self._own(version)
        base = context.journal.begun(key).base
        with context.clocked("validate"):
            judged = have_judged(context, model, key, base, made)
        self._report(key, made, judged)
        return 1

    def _report(self, key: RoundKey, made: MadeVersion, judged: Judged) -> None:
        context = self._context
        over = RoundOver(
            epoch=key.epoch,
            iteration=key.iteration,
            version=made.version,
            base=context.journal.begun(key).base,
            clients=tuple(one.client for one in context.journal.taken(key)),
            accuracy_ppm=judged.accuracy_ppm,
            verdict=judged.verdict,
            sentence=judged.sentence,
            seconds=dict(context.seconds),
        )
        context.journal.report(key, over)
        context.tell(over)

    def _catch_up(self, model: Model) -> None:
        """Report the version that was judged while nobody was here to see it, if one was."""
        state = model.state
        known = self._context.journal.round_of(state.latest) if not state.pending else None
        if known and not self._context.journal.is_reported(known[0]):
            key, made = known
            self._context.chain.registration(made.version, made.weights)
            self._report(key, made, recorded(self._context, model, made))

    def _own(self, version: int) -> tuple[RoundKey, MadeVersion]:
        """The round that the waiting version was made of, here.

        Raises:
            ModelproofError: it was made elsewhere.
        """
        known = self._context.journal.round_of(version)
        if known is None:
            raise ModelproofError(
                f"v{version} of {self._context.run.name} waits, and was not made by this run:"
                " validate or discard it first."
            )
        key, made = known
        self._context.chain.registration(version, made.weights)
        return key, made
