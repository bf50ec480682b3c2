"""After an automatic rollback: who made the model worse, and keeping them out."""

from __future__ import annotations

from ml.chain import events
from ml.chain.records import Model
from ml.chain.types import Status, Verdict, format_ppm
from ml.errors import ModelproofError, NotVerified
from ml.federated.aggregation import FedAvg, Rule, Weights
from ml.federated.diagnosis import Diagnosis, diagnose
from ml.federated.measuring import measure
from ml.federated.robust import AnyRule, Krum, NormClipped, TrimmedMean
from ml.federated.sampling import RoundKey
from ml.storage.errors import StorageError
from ml.training import canonical

from .context import Context
from .news import ClientExcluded, MessageIgnored, RoundDiagnosed
from .records import MadeVersion
from .taken import read_taken


def look_into_failure(context: Context, model: Model) -> bool:
    """Find out who made the latest version fail, if it did, and exclude them where that is set.

    It is the round of the version that is looked into; where patience was exhausted, each round
    since the best version, one by one; none whose updates are gone. A version that a validator
    refused on other grounds than its accuracy says nothing about the clients. What was found is
    noted, and not looked for again.

    Returns:
        whether somebody was excluded, who is active in ``model`` still
    """
    version = model.state.latest
    known = context.journal.round_of(version) if version else None
    if known is None or known[0].epoch != model.state.epoch - 1:
        return False
    if context.chain.registry.version(model.id, version).status is not Status.FAILED:
        return False
    done = context.journal.diagnoses(version)
    excluded = False
    for key, made in _rounds(context, model, known):
        if key.iteration not in done:
            try:
                found = _diagnosis(context, model, key)
            except (NotVerified, StorageError) as error:
                lost = f"round {key.iteration} cannot be looked into: {error}"
                context.tell(MessageIgnored(lost))
                continue
            context.journal.diagnose(version, key.iteration, canonical.dump(found))
            context.tell(RoundDiagnosed(version, key.iteration, found))
        else:
            text = done[key.iteration].encode()
            found = canonical.load(Diagnosis, text, "a diagnosis in the run's journal")
        if context.run.diagnosis.exclude:
            excluded |= _exclude(context, made.version, found)
    return excluded


def diagnosing_rule(rule: AnyRule) -> Rule:
    """The rule that a diagnosis aggregates by: the run's own where it works with one update alone.

    Krum and the trimmed mean need several; then it is the average that they stand in for.
    """
    inner = rule.rule if isinstance(rule, NormClipped) else rule
    return FedAvg() if isinstance(inner, Krum | TrimmedMean) else rule


def measured_ppm(context: Context, weights: Weights) -> int:
    """The accuracy of a model on the validation part, ppm; 0 where its outputs are not finite."""
    try:
        return measure(context.run.architecture, weights, context.validation).accuracy_ppm
    except ModelproofError:
        return 0


def _rounds(
    context: Context, model: Model, failed: tuple[RoundKey, MadeVersion]
) -> list[tuple[RoundKey, MadeVersion]]:
    """The rounds to look into, the latest first."""
    registry, version = context.chain.registry, failed[1].version
    verdict = _verdict(context, model, version)
    if verdict is Verdict.REJECTED:
        return []
    if verdict is not Verdict.PATIENCE_EXHAUSTED:
        return [failed]
    rounds = [failed]
    parent = registry.version(model.id, version).parent
    while parent > model.state.best:
        known = context.journal.round_of(parent)
        if known is None:  # it was made elsewhere, and its updates are not known here
            break
        rounds.append(known)
        parent = registry.version(model.id, parent).parent
    return rounds


def _verdict(context: Context, model: Model, version: int) -> Verdict:
    told = events.read(context.chain.registry, model=model.id, version=version)
    return events.validated(told)[-1].verdict


def _diagnosis(context: Context, model: Model, key: RoundKey) -> Diagnosis:
    begun = context.journal.begun(key)
    base = context.bases.of(begun.base)
    taken = context.journal.taken(key)
    rule = diagnosing_rule(context.run.rule)
    settings = context.run.diagnosis
    with context.clocked("diagnose"):
        return diagnose(
            rule,
            base.tensors,
            [read_taken(context, one, base).update for one in taken],
            lambda weights: measured_ppm(context, weights),
            threshold_ppm=settings.threshold_ppm,
            active=max(len(context.active(model)), len(taken)),
            min_clients=settings.min_clients,
            state=base.state,
        )


def _exclude(context: Context, version: int, found: Diagnosis) -> bool:
    """Exclude culprits, each once, as long as enough clients stay active; tells if it did any."""
    excluded = False
    for culprit in found.culprits:
        active = context.active(context.chain.now())
        if culprit.client not in active or len(active) <= context.run.diagnosis.min_clients:
            continue
        reason = (
            f"v{version}: accuracy is {format_ppm(culprit.gain_ppm)} points higher without the"
            " update of this client"
        )
        if _was_excluded(context, culprit.client, reason):
            continue  # and was reinstated by hand since
        if context.run.is_enrolled:
            context.chain.registry.exclude_client(
                context.run.model, culprit.client, reason, sender=context.operator
            )
        elif not _exclude_here(context, culprit.client, reason):
            continue  # by somebody else meanwhile, or others were
        context.tell(ClientExcluded(culprit.client, reason))
        excluded = True
    return excluded


def _exclude_here(context: Context, client: int, reason: str) -> bool:
    """Exclude a client in the journal; False if it is, or enough clients would not stay active."""
    most = len(context.run.clients) - context.run.diagnosis.min_clients
    return context.journal.exclude(client, reason, str(context.operator.address), most)


def _was_excluded(context: Context, client: int, reason: str) -> bool:
    """Whether a client was excluded for this very reason before, on chain or in the journal."""
    return context.journal.was_excluded(client, reason) or any(
        (event.name, event.arguments.get("index"), event.arguments.get("reason"))
        == ("ClientExcluded", client, reason)
        for event in events.read(context.chain.registry, model=context.run.model)
    )
