"""A training's rounds, until the contract says that it is over.

The chain decides at each step what is due, and the journal knows how far this has come: so a
coordinator that was killed at any step goes on by being started again, and a rollback, a discard or
a completion by somebody else is noticed and followed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ml.chain.records import Model
from ml.chain.refusals import ContractRefused
from ml.chain.types import ModelKind
from ml.errors import ModelproofError, NotVerified
from ml.federated.sampling import RoundKey

from .blaming import look_into_failure
from .context import Context
from .gathering import Gathering
from .going_back import come_back
from .judging import Judged, have_judged, recorded
from .making import make_version, register_version
from .news import RoundGivenUp, RoundOver, VersionRegistered
from .records import MadeVersion
from .taken import forget_round

_MOVED_ON: Final = "the model moved on, by a rollback, a discard or a completion"


class Coordinator:
    """Runs one training."""

    def __init__(self, context: Context) -> None:
        """Nothing is sent yet.

        Raises:
            ModelproofError: the model is not one that a training can be run on.
        """
        self._context: Final = context
        self._registered: tuple[int, bytes] | None = None
        self._ahead: Gathering | None = None
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
        judged, model = 0, self._look()
        self._tidy(model)
        while True:
            self._catch_up(model)
            if model.state.completed:
                look_into_failure(self._context, model)
                return self._look()
            if model.state.pending:
                judged += 1
                model = self._judge(model, is_last=judged == rounds)
                continue
            if not look_into_failure(self._context, model) and come_back(self._context, model):
                if rounds is not None and judged >= rounds:
                    return self._look()
                self._round(model)
            model = self._look()

    def _round(self, model: Model) -> None:
        """Gather, aggregate, store and register the round that is due."""
        context = self._context
        context.seconds.clear()
        base = context.bases.of(model.state.current)
        gathering, self._ahead = self._ahead or Gathering(context, model, base), None
        with context.clocked("clients"):
            is_ours = gathering.run()
        if not is_ours:
            gathering.give_up(_MOVED_ON)
            return
        made = context.journal.made(gathering.key)
        if made is None:
            updates = gathering.admitted.values()
            made = make_version(context, model, gathering.key, base, updates, gathering.settle)
        try:
            receipt = register_version(context, gathering.key, base.version, made)
        except ContractRefused as error:
            self._after_refusal(gathering, error)
            return
        self._registered = made.version, made.weights
        context.tell(VersionRegistered(made.version, made.weights, receipt.gas_used))

    def _after_refusal(self, gathering: Gathering, error: ContractRefused) -> None:
        """Open the round again, if it is still due: its version has to be made again.

        Raises:
            ContractRefused: nothing has changed that would explain the refusal.
        """
        context, key = self._context, gathering.key
        model, made = self._look(), context.journal.made(key)
        if model.state.pending and made and self._is_ours(made):
            return  # it was registered before
        if not gathering.is_due(model):  # the version may be registered yet: it keeps its updates
            context.tell(RoundGivenUp(*key.values, _MOVED_ON))
            return
        active = set(context.active(model))
        gone = [one.client for one in context.journal.taken(key) if one.client not in active]
        if not gone and made and made.version == model.state.latest + 1:
            raise error
        context.journal.unmake(key, gone)

    def _look(self) -> Model:
        """The model as it stands now; nothing is believed that the chain said before."""
        self._context.chain.forget()
        return self._context.chain.now(self._registered)

    def _tidy(self, model: Model) -> None:
        """Forget the rounds that a coordinator began that was killed before the model moved on."""
        epoch = model.state.epoch + bool(model.state.completed)
        for key in self._context.journal.unmade(epoch):
            forget_round(self._context, key)

    def _judge(self, model: Model, *, is_last: bool) -> Model:
        """Have the version judged that waits; returns the model afterwards.

        Clients begin the next round meanwhile, unless this is the last.
        """
        context, version = self._context, model.state.pending
        key, made = self._own(version)
        base = context.journal.begun(key).base
        ahead = None if is_last else self._next_round(model)
        with context.clocked("validate"):
            judged = have_judged(context, model, key, base, made, ahead)
        if ahead and not ahead.fits(judged.model):
            ahead.drain()
            ahead.give_up(f"training does not go on from v{model.state.pending}")
            ahead = None
        self._ahead = ahead
        self._tidy(judged.model)
        self._report(key, made, judged)
        return judged.model

    def _next_round(self, model: Model) -> Gathering | None:
        """The round that is due if the version that waits passes, if clients may begin it.

        Not where training spends their privacy: it would be spent in vain if the version fails.
        """
        context, state = self._context, model.state
        base = context.bases.held(state.pending)
        most = model.policy.max_iterations
        if not context.overlaps or context.run.local.privacy or base is None:
            return None
        if state.iteration + 1 >= most > 0:
            return None
        then = replace(state, current=state.pending, iteration=state.iteration + 1, waiting=0)
        return Gathering(context, replace(model, state=then), base, is_early=True)

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
        if known and not self._context.journal.is_reported(known[0]) and self._is_ours(known[1]):
            key, made = known
            self._report(key, made, recorded(self._context, model, made))

    def _own(self, version: int) -> tuple[RoundKey, MadeVersion]:
        """The round that the waiting version was made of, here.

        Raises:
            ModelproofError: it was made elsewhere.
        """
        known = self._context.journal.round_of(version)
        if known is None or not self._is_ours(known[1]):
            raise ModelproofError(
                f"v{version} of {self._context.run.name} waits, and was not made by this run:"
                " validate or discard it first."
            )
        return known

    def _is_ours(self, made: MadeVersion) -> bool:
        """Whether a version is on record as it was made here, and not another of its number."""
        try:
            self._context.chain.registration(made.version, made.weights)
        except (NotVerified, ContractRefused):
            return False
        return True
