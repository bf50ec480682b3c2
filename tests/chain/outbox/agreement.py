"""How a story ends: with what `ape run fsck` checks of the chain and of a journal."""

from __future__ import annotations

from ml.chain.fsck.chain_check import check_log, read_models
from ml.chain.fsck.disagreement import Disagreement
from ml.chain.fsck.journal_check import check_journal
from ml.chain.outbox.entry import OPEN
from ml.chain.outbox.opening import Outbox
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.registry import ModelRegistry


def disagreements(outbox: Outbox, contract: ModelRegistry | ProvenanceLog) -> list[Disagreement]:
    """What is otherwise in the journal than on the chain, or does not follow from itself there."""
    if isinstance(contract, ModelRegistry):
        whole, wrong = read_models(contract)
        assert whole or wrong
    else:
        wrong = list(check_log(contract))
    journal, chain = outbox.journal, outbox.keeper.chain
    outbox.keeper.look_for(journal.entries(states=OPEN))  # what came into a block since
    return [*wrong, *check_journal(journal.entries(), chain)]
