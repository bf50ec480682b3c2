"""What is signed off chain: hashed as EIP-712 says, and recovered as the contract does it."""

from __future__ import annotations

import random
from dataclasses import astuple, replace
from typing import Any

import ape
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from ml.chain import signing
from ml.chain.head import text_digest
from ml.chain.records import Details, Evaluation, Signature, Update, VersionContent
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signing import (
    DOMAIN_FIELDS,
    EVALUATION_FIELDS,
    UPDATE_FIELDS,
    Domain,
    InvalidSignature,
    evaluation_hash,
    recover,
    sign,
    signing_hash,
    update_hash,
)
from ml.errors import ModelproofError
from tests.contracts.story import Cast, Story

DICE = random.Random(712)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PARITY = 1 << 255
DOMAIN = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
SIGNER = Account.from_key(b"\x07" * 32)
MODEL = b"m" * 31 + b"\0"
EVALUATION = Evaluation(3, 986_800, 991_000, True, b"t" * 32, b"w" * 32, b"d" * 32)
UPDATE = Update(epoch=1, iteration=2, base=3, digest=b"u" * 32, samples=600)
HASH = update_hash(MODEL, UPDATE)


def typed_data(
    domain: Domain, name: str, fields: signing.Fields, values: tuple[Any, ...]
) -> dict[str, Any]:
    """Typed data as wallets take it (eth_signTypedData_v4)."""
    types = {"EIP712Domain": DOMAIN_FIELDS, name: fields}
    where = ("Modelproof", "1", domain.chain_id, domain.registry)
    return {
        "types": {
            struct: [{"name": field, "type": kind} for field, kind in members]
            for struct, members in types.items()
        },
        "primaryType": name,
        "domain": dict(zip((field for field, _ in DOMAIN_FIELDS), where, strict=True)),
        "message": dict(zip((field for field, _ in fields), values, strict=True)),
    }


def compact(r: int, s: int, parity: int = 0) -> Signature:
    return Signature(r.to_bytes(32, "big"), (s | parity * PARITY).to_bytes(32, "big"))


# --- Hashing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False])
def test_evaluation_is_hashed_as_wallets_hash_it(accepted: bool) -> None:
    evaluation, metrics = replace(EVALUATION, accepted=accepted), text_digest("{}")
    values = (MODEL, *astuple(evaluation), metrics, 1_800_000_000)
    message = encode_typed_data(
        full_message=typed_data(DOMAIN, "Evaluation", EVALUATION_FIELDS, values)
    )
    assert message.header == DOMAIN.separator
    assert message.body == evaluation_hash(MODEL, evaluation, metrics, 1_800_000_000)


def test_update_is_hashed_as_wallets_hash_it() -> None:
    values = (MODEL, *astuple(UPDATE))
    message = encode_typed_data(full_message=typed_data(DOMAIN, "Update", UPDATE_FIELDS, values))
    assert message.body == HASH


@pytest.mark.parametrize(
    "other", [replace(DOMAIN, chain_id=1), replace(DOMAIN, registry="0x" + "11" * 20)]
)
def test_signature_counts_in_its_own_domain_alone(other: Domain) -> None:
    signature = sign(SIGNER, DOMAIN, HASH)
    assert recover(DOMAIN, HASH, signature) == SIGNER.address
    assert recover(other, HASH, signature) != SIGNER.address


@pytest.mark.parametrize("field", range(len(astuple(EVALUATION))))
def test_signature_counts_for_what_was_signed_alone(field: int) -> None:
    signature = sign(SIGNER, DOMAIN, evaluation_hash(MODEL, EVALUATION, bytes(32), 9))
    values = list(astuple(EVALUATION))
    value = values[field]
    values[field] = b"\1" * 32 if isinstance(value, bytes) else type(value)(not value)
    changed = evaluation_hash(MODEL, Evaluation(*values), bytes(32), 9)
    assert recover(DOMAIN, changed, signature) != SIGNER.address


# --- Signing --------------------------------------------------------------------------------------


def test_signature_is_the_wallets_in_the_compact_form_of_eip_2098() -> None:
    values = (MODEL, *astuple(UPDATE))
    message = encode_typed_data(full_message=typed_data(DOMAIN, "Update", UPDATE_FIELDS, values))
    theirs = SIGNER.sign_message(message)
    assert sign(SIGNER, DOMAIN, HASH) == compact(theirs.r, theirs.s, theirs.v - 27)


@pytest.mark.parametrize("samples", [331, 95], ids=["short r", "short s"])
def test_account_of_ape_signs_numbers_with_leading_zeros_too(samples: int) -> None:
    """Ape leaves the zeros out; which numbers have them follows from the key and the text."""
    account = ape.accounts.test_accounts[5]
    struct = update_hash(bytes(32), Update(1, 2, 3, b"d" * 32, samples))
    signature = sign(account, DOMAIN, struct)
    s = int.from_bytes(signature.vs, "big") % PARITY
    assert min(signature.r[0], s >> 248) == 0
    assert recover(DOMAIN, struct, signature) == account.address


class Refusing:
    """An account whose holder says no."""

    address = SIGNER.address

    def sign_message(self, _: object) -> None:
        return None


class Pretending:
    """An account that signs with another key."""

    address = "0x" + "11" * 20
    sign_message = SIGNER.sign_message


def test_account_that_does_not_sign_is_told_of() -> None:
    with pytest.raises(ModelproofError, match=f"{SIGNER.address} did not sign"):
        sign(Refusing(), DOMAIN, HASH)


def test_account_that_signs_with_another_key_is_found_out() -> None:
    with pytest.raises(ModelproofError, match="with another account's key"):
        sign(Pretending(), DOMAIN, HASH)


# --- Recovering -----------------------------------------------------------------------------------

R, S = (int.from_bytes(part, "big") for part in astuple(sign(SIGNER, DOMAIN, HASH)))


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(compact(0, S % PARITY), id="r is 0"),
        pytest.param(compact(R, 0), id="s is 0"),
        pytest.param(compact(ORDER, S % PARITY), id="r is the order"),
        pytest.param(compact(2**256 - 1, S % PARITY), id="r is beyond the order"),
        pytest.param(compact(R, ORDER // 2 + 1), id="s is in the upper half"),
        pytest.param(compact(R, PARITY - 1), id="s is as high as it fits"),
        pytest.param(compact(5, 1), id="no point has this r"),
        pytest.param(Signature(b"\1" * 31, b"\1" * 32), id="r is short"),
        pytest.param(Signature(b"\1" * 32, b"\1" * 33), id="s is long"),
    ],
)
def test_signature_that_nobody_can_have_made_is_invalid(signature: Signature) -> None:
    with pytest.raises(InvalidSignature):
        recover(DOMAIN, HASH, signature)


def test_highest_s_that_is_taken_is_half_of_the_order() -> None:
    assert recover(DOMAIN, HASH, compact(R, ORDER // 2)).startswith("0x")


# --- As the contract does it ----------------------------------------------------------------------

DETAILS = Details(parent=0, iteration=1, epoch=0, updates=b"r" * 32)


@pytest.fixture(scope="module")
def story(shared: ModelRegistry) -> Story:
    """A model with a client 0, and v1, of which nothing is true but what it says of its round."""
    told = Story.begin(shared, Cast(*ape.accounts.test_accounts[: len(Cast._fields)]))
    told.enrol(0)
    told.register(updates=DETAILS.updates)
    return told


@pytest.fixture(scope="module")
def domain(story: Story) -> Domain:
    return Domain(story.registry.chain_id, story.registry.address)


def signer_on_chain(story: Story, update: Update, signature: Signature) -> str | None:
    """Whom the contract takes for the signer of an update, None if nobody."""
    weights, _ = story.said[1]
    content = VersionContent(weights, story.cast.trainer.address, DETAILS, text_digest(""))
    with pytest.raises(ContractRefused) as refused:
        story.registry.is_hidden(story.id, 1, content, 0, update, signature, [])
    if refused.value.name == "InvalidSignature":
        return None
    assert refused.value.name == "ClientMismatch"
    return str(refused.value.values["signer"])


def test_domain_is_the_contracts(story: Story, domain: Domain) -> None:
    told = story.registry.contract.eip712Domain()
    assert (told.name, told.version) == ("Modelproof", "1")
    assert (told.chainId, told.verifyingContract) == (domain.chain_id, domain.registry)
    assert bytes(told.fields) == b"\x0f"  # these four and no more (EIP-5267)


def test_signer_is_the_one_whom_the_contract_recovers(story: Story, domain: Domain) -> None:
    update = Update(0, 1, 0, b"u" * 32, 600)
    struct = update_hash(story.id, update)
    cases = [sign(SIGNER, domain, struct)]
    cases += [Signature(DICE.randbytes(32), DICE.randbytes(32)) for _ in range(40)]
    cases += [compact(DICE.randrange(ORDER), DICE.randrange(ORDER // 2), n % 2) for n in range(20)]
    cases += [compact(R, s) for s in (0, 1, ORDER // 2, ORDER // 2 + 1, PARITY - 1)]
    cases += [compact(r, 7) for r in (0, 1, ORDER - 1, ORDER, 2**256 - 1)]
    recovered = []
    for signature in cases:
        try:
            ours: str | None = recover(domain, struct, signature)
        except InvalidSignature:
            ours = None
        recovered.append(ours)
        assert ours == signer_on_chain(story, update, signature)
    assert recovered[0] == SIGNER.address
    assert None in recovered
    assert signing_hash(domain, struct) != signing_hash(DOMAIN, struct)
