"""Asking clients to train, and taking what they send: one round, from TRAIN to its last update."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future
from typing import Final

from ml.chain.records import Model
from ml.chain.signed_files import UpdateFile, parse_update
from ml.errors import ModelproofError, NotVerified
from ml.federated import admission, sampling
from ml.federated.admission import Participant, Refusal, Round, UpdateRefused
from ml.federated.replies import FailureReply, UpdateReply
from ml.federated.sampling import RoundKey
from ml.storage.cid import Cid
from ml.storage.errors import (
    InvalidCid,
    MissingRecipient,
    NoKey,
    StorageError,
    UnknownObject,
    WrongKey,
)
from ml.storage.sidecar import Sidecar

from .asking import ask_to_train, training_id
from .bases import Base
from .context import LOOK_AGAIN_S, Context
from .going_back import ask_the_silent, take_acknowledgement
from .news import (
    AskedAgain,
    ClientFailed,
    MessageIgnored,
    RoundBegan,
    RoundGivenUp,
    UpdateCame,
    UpdateTurnedDown,
)
from .post import Received
from .records import TakenUpdate
from .taken import Admitted, forget_round, read_taken

_OF_THE_CLIENT: Final = frozenset(
    {
        Refusal.WRONG_BASE,
        Refusal.SAMPLES,
        Refusal.ILL_SHAPED,
        Refusal.NON_FINITE,
    }
)
"""Refusals of what a client itself has signed for this round: it would send nothing better.

Not of what is not signed, the name of the object: else who copies a signature could blame a client.
"""
_UNAVAILABLE: Final = (NotVerified, UnknownObject, NoKey, WrongKey, MissingRecipient, InvalidCid)
_WAITS_S: Final = (0.1, 0.3, 1.0)
"""How long a store that does not give an update yet is waited for, time after time."""


class TooFewClients(ModelproofError):
    """A round cannot have as many updates as it needs."""


class Gathering:
    """The updates of one round, as they come."""

    def __init__(
        self, context: Context, model: Model, base: Base, *, is_early: bool = False
    ) -> None:
        """Begin the round that is due in a model, or go on with it; nobody is asked yet.

        Args:
            context: the training
            model: as it stands, or will if the version that waits passes
            base: its current version then
            is_early: whether that version waits still
        """
        state, run = model.state, context.run
        self._context: Final = context
        self._base: Final = base
        self.key: Final = RoundKey(state.epoch, state.iteration + 1)
        self._before: Final = (state.epoch, state.completed, state.iteration)
        self._model = model
        ranked = sampling.ranking(run.seed, self.key, context.answering(model))
        first = sampling.participants(run.fraction, ranked, run.min_updates)
        # until a round is due, it has no deadline: while it is not, updates may have to wait
        deadline = None if is_early else self._deadline()
        self.begun = context.journal.begin(self.key, base.version, first, deadline)
        self.admitted: Final[dict[int, Admitted]] = {}
        self._kept: Future[None] | None = None
        self._is_asked = False
        if context.journal.made(self.key) is None:
            self._read_admitted()

    def run(self) -> bool:
        """Ask those whose updates are missing, and wait for them.

        Returns:
            whether the round has what it needs; False if the model has moved on without it.

        Raises:
            TooFewClients: not so many clients can train.
        """
        if self.begun.is_closed:
            self._keep()
            return True
        if self.begun.deadline is None and self._context.run.deadline_s is not None:
            self.begun = self._context.journal.ask_more(self.key, [], self._deadline())
        ask_the_silent(self._context, self._model)
        self.ask()
        looked = time.monotonic()
        while not self._is_complete():
            received = self._context.post.next(self._patience())
            if received:
                try:
                    if not self.deal_with(received):
                        self._context.tell(MessageIgnored("a message of another step"))
                finally:
                    received.delivery.acknowledge()
            if time.monotonic() - looked >= LOOK_AGAIN_S:
                self._model = self._context.chain.now()
                if not self.is_due(self._model):
                    return False
                self._leave_out_inactive()
                looked = time.monotonic()
        self._context.journal.close_round(self.key)
        self._keep()
        return True

    def fits(self, model: Model) -> bool:
        """Whether the round is the one that is due in a model, as that has become."""
        if not self.is_due(model) or model.state.current != self._base.version:
            return False
        self._model = model
        return True

    def give_up(self, reason: str) -> None:
        """Forget the round, since it is not due any more, or never going to be."""
        with contextlib.suppress(StorageError):  # what is not wanted need not be kept
            self.settle()
        forget_round(self._context, self.key)
        self._context.tell(RoundGivenUp(*self.key.values, reason))

    def drain(self) -> None:
        """Take what is on its way, as long as something comes, so that it goes with the round."""
        while self._missing() and (received := self._context.post.next(LOOK_AGAIN_S)):
            try:
                self.deal_with(received)
            finally:
                received.delivery.acknowledge()

    def _keep(self) -> None:
        """Begin to write what `settle` waits for: the disk takes its time."""
        sidecars = [
            Sidecar.read(one.taken.sidecar.encode(), Cid.parse(one.taken.cid))
            for one in self.admitted.values()
        ]
        keep = self._context.received.keep_sidecars
        self._kept = self._context.keeping.submit(keep, sidecars)

    def settle(self) -> None:
        """Return once everything is kept by which the round's updates can be read again.

        Raises:
            StorageError: too few stores take it.
        """
        if self._kept:
            self._kept.result()

    # Whom to wait for

    def _missing(self) -> list[int]:
        gone = {*self.admitted, *self.begun.failed}
        return [client for client in self.begun.clients if client not in gone]

    def _is_complete(self) -> bool:
        """Whether to wait no longer; asks more clients where too few have answered."""
        enough = len(self.admitted) >= self._context.run.min_updates
        missing = self._missing()
        if enough and not missing:
            return True
        deadline = self.begun.deadline
        is_late = deadline is not None and self._context.now() > deadline
        if enough or (missing and not is_late):
            return enough and is_late
        self._ask_more(missing)
        return False

    def _ask_more(self, missing: list[int]) -> None:
        """Ask others, and those again who have not answered; or wait for clients to come back.

        Raises:
            TooFewClients: there are not so many, even if all active ones came back.
        """
        context, run = self._context, self._context.run
        needed = run.min_updates - len(self.admitted)
        answering = context.answering(self._model)
        ranked = sampling.ranking(run.seed, self.key, answering)
        others = [client for client in ranked if client not in self.begun.clients]
        silent = set(context.active(self._model)) - set(answering)
        if not missing and len(others) < needed and not silent:
            able = len(self.admitted) + len(others)
            raise TooFewClients(
                f"round {self.key.iteration} needs {run.min_updates} updates and"
                f" {able} clients can train: see to the others, or reinstate some."
            )
        more = others[:needed]
        self.begun = context.journal.ask_more(self.key, more, self._deadline())
        if missing or more:
            context.tell(AskedAgain(tuple(missing), tuple(more)))
        self._ask([*missing, *more])

    def _leave_out_inactive(self) -> None:
        """Wait no longer for a client that has been excluded."""
        active = set(self._context.active(self._model))
        for client in self._missing():
            if client not in active:
                self._fail(client, "it is excluded")

    def _deadline(self) -> int | None:
        patience = self._context.run.deadline_s
        return None if patience is None else int(self._context.now()) + patience

    def _patience(self) -> float:
        if self.begun.deadline is None:
            return LOOK_AGAIN_S
        left_s = self.begun.deadline + 1 - self._context.now()
        return min(LOOK_AGAIN_S, left_s) if left_s > 0 else LOOK_AGAIN_S

    def is_due(self, model: Model) -> bool:
        """Whether the round is still the one that comes next in a model."""
        state = model.state
        is_same = (state.epoch, state.completed, state.iteration) == self._before
        return is_same and not state.pending

    # Asking

    def ask(self) -> None:
        """Ask those whose updates are missing, once."""
        if self._is_asked or self.begun.is_closed:
            return
        self._is_asked = True
        self.begun = self._context.journal.try_again(self.key)
        self._leave_out_inactive()
        self._context.tell(RoundBegan(*self.key.values, self._base.version, self.begun.clients))
        self._ask(self._missing())

    def _ask(self, clients: list[int]) -> None:
        ask_to_train(self._context, self.key, self._base, clients, self.begun.deadline)

    # Taking

    def deal_with(self, received: Received) -> bool:
        """Take a message; whatever comes of it, it need not come again: who is missing is asked.

        Returns:
            whether it is of the round, or an acknowledgement
        """
        message = received.message
        if isinstance(message, UpdateReply | FailureReply) and self.begun.is_closed:
            return False
        if isinstance(message, UpdateReply):
            self._take(message)
        elif isinstance(message, FailureReply):
            self._note_failure(message)
        else:
            return take_acknowledgement(self._context, received)
        return True

    def _note_failure(self, reply: FailureReply) -> None:
        who = [
            client
            for client in self._missing()
            if self._context.run.by_index[client].address == reply.sender
            and reply.task_id == training_id(self._context, self.key, self._base, client)
        ]
        for client in who:
            self._fail(client, reply.reason)
            self._context.tell(ClientFailed(f"client {client}", reply.reason))

    def _fail(self, client: int, reason: str) -> None:
        """Wait for a client no longer."""
        self._context.journal.fail(self.key, client, reason)
        self.begun = self._context.journal.begun(self.key)

    def _take(self, reply: UpdateReply) -> None:
        journal, client = self._context.journal, reply.client_id
        at = int(self._context.now())
        try:
            file = parse_update(reply.signed.encode(), f"what client {client} signed")
        except ModelproofError as error:
            self._turn_down(client, Refusal.UNSIGNED, str(error), at)
            return
        if journal.is_repetition(self.key, file.index, file.update.digest):
            return
        if not self._context.is_active(file.index, self._model):
            self._turn_down(client, Refusal.UNKNOWN_CLIENT, "it is excluded", at)
            return
        try:
            admitted = self._admit(reply, file, at)
        except UpdateRefused as error:
            self._turn_down(error.client, error.refusal, str(error), at)
            if error.refusal in _OF_THE_CLIENT:
                self._fail(file.index, str(error))
            return
        journal.take(self.key, file.update.digest, admitted.taken)
        self.admitted[file.index] = admitted
        expected = len(self.begun.clients) - len(self.begun.failed)
        self._context.tell(UpdateCame(file.index, len(self.admitted), expected))

    def _turn_down(self, client: int, refusal: str, reason: str, at: int) -> None:
        self._context.journal.refuse(self.key, client, str(refusal), reason, at)
        self._context.tell(UpdateTurnedDown(client, str(refusal), reason))

    def _admit(self, reply: UpdateReply, file: UpdateFile, at: int) -> Admitted:
        ongoing, earlier = self._round(), self._context.journal.digests
        taken = self.admitted.keys()
        admission.check_claim(ongoing, file, at=at, taken=taken, earlier=earlier)
        try:
            data = self._fetch(reply)
        except _UNAVAILABLE as error:
            raise UpdateRefused(Refusal.UNAVAILABLE, file.index, str(error)) from None
        update, stated = admission.check_content(ongoing, file, data)
        record = TakenUpdate(
            client=file.index,
            cid=reply.update_cid,
            sidecar=reply.sidecar,
            signed=reply.signed,
            correct=stated.correct,
            epsilon=stated.epsilon,
            training_s=reply.training_s,
            storing_s=reply.storing_s,
        )
        return Admitted(file, update, record)

    def _fetch(self, reply: UpdateReply) -> bytes:
        """The update's file."""
        sidecar = Sidecar.read(reply.sidecar.encode(), Cid.parse(reply.update_cid))
        limit = admission.size_limit(self._base.tensors)
        # by the X25519 key alone: a sidecar can make a passphrase dear to try
        objects = self._context.received
        for wait_s in (*_WAITS_S, None):
            try:
                data = objects.get(sidecar.stored.cid, limit, sidecar)
                break
            except UnknownObject:
                if wait_s is None:
                    raise
                time.sleep(wait_s)
        return data

    def _read_admitted(self) -> None:
        """Read what was admitted before the coordinator was started again.

        What is gone since is asked for again.
        """
        for taken in self._context.journal.taken(self.key):
            try:
                self.admitted[taken.client] = read_taken(self._context, taken, self._base)
            except (NotVerified, StorageError) as error:
                self._context.tell(
                    MessageIgnored(f"the update of client {taken.client} is lost: {error}")
                )
                self._context.journal.unmake(self.key, [taken.client])
        self.begun = self._context.journal.begun(self.key)

    def _round(self) -> Round:
        run = self._context.run
        return Round(
            domain=run.domain,
            model=run.model,
            epoch=self.key.epoch,
            iteration=self.key.iteration,
            base=self._base.version,
            base_weights=self._base.weights,
            weights=self._base.tensors,
            clients={
                client: Participant(run.by_index[client].address, run.by_index[client].samples)
                for client in self.begun.clients
            },
            deadline=self.begun.deadline,
        )
