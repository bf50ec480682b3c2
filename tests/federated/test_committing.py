"""Which validation part and holdout a training is judged by stands on record, with its label."""

from __future__ import annotations

import json
from dataclasses import replace

import ape
import pytest
from ape.api import AccountAPI

from ml.chain.log_records import RecordKind, digest_text
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.session import Session
from ml.errors import ModelproofError
from ml.federated.committing import commit, commitments
from ml.federated.configuration import ServiceConfiguration
from tests.contracts.logs import deploy

CONFIGURATION = ServiceConfiguration(
    dataset_name="iris",
    dataset_version="iris-0123abcd",
    test_dataset_path="test/validation.safetensors",
    test_dataset_size=15,
    test_dataset_hash=b"f" * 32,
    test_dataset_root=b"v" * 32,
    holdout_path="test/holdout.safetensors",
    holdout_size=14,
    holdout_hash=b"g" * 32,
    holdout_root=b"h" * 32,
)


@pytest.fixture(scope="module")
def log(chain: Session) -> ProvenanceLog:
    return deploy(ape.project, ape.accounts.test_accounts[0])


@pytest.fixture
def sender() -> AccountAPI:
    return ape.accounts.test_accounts[1]


def test_commitments_are_the_roots_with_their_label() -> None:
    validation, holdout = commitments(CONFIGURATION)
    assert (validation.digest, validation.samples) == (b"v" * 32, 15)
    assert (holdout.digest, holdout.samples) == (b"h" * 32, 14)
    assert json.loads(holdout.metadata) == {
        "dataset": "iris",
        "part": "holdout",
        "version": "iris-0123abcd",
    }


def test_both_parts_go_on_record_once(log: ProvenanceLog, sender: AccountAPI) -> None:
    entries = commit(log, CONFIGURATION, sender=sender)
    for entry, commitment in zip(entries, commitments(CONFIGURATION), strict=True):
        record = log.record(sender.address, commitment.digest)
        assert record == entry.record
        assert (record.kind, record.count) == (RecordKind.DATA, commitment.samples)
        assert record.metadata == digest_text(commitment.metadata)[:20]
    assert [entry.receipt for entry in commit(log, CONFIGURATION, sender=sender)] == [None, None]


def test_other_label_for_the_same_data_is_refused(log: ProvenanceLog, sender: AccountAPI) -> None:
    mine = replace(CONFIGURATION, test_dataset_root=b"w" * 32, holdout_root=b"i" * 32)
    commit(log, mine, sender=sender)
    with pytest.raises(ModelproofError, match="the first time stays"):
        commit(log, replace(mine, dataset_version="iris-2"), sender=sender)
