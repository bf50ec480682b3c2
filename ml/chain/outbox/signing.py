"""Signing through an Ape account: any kind of account that signs transactions by itself will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eth_account._utils.legacy_transactions import (
    encode_transaction,
    serializable_unsigned_transaction_from_dict,
)

from ml.artifact.keccak import keccak256
from ml.chain.outbox.entry import Attempt, Call
from ml.chain.outbox.fees import Fees
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI, ProviderAPI

_LEGACY, _DYNAMIC_FEE = 0, 2  # EIP-2718


class NotSigned(ModelproofError):
    """The account did not sign."""


def sign(
    provider: ProviderAPI, account: AccountAPI, call: Call, nonce: int, gas: int, fees: Fees
) -> Attempt:
    """Sign a transaction.

    Raises:
        NotSigned: the account's owner did not want to, or it is an account that cannot.
    """
    prices = (
        {"gasPrice": fees.maximum}
        if fees.is_legacy
        else {"maxFeePerGas": fees.maximum, "maxPriorityFeePerGas": fees.priority}
    )
    transaction = provider.network.ecosystem.create_transaction(
        **{
            "from": call.sender,
            "to": call.to,
            "data": call.data,
            "value": call.value,
            "nonce": nonce,
            "gas": gas,
            "chainId": provider.chain_id,
            "type": _LEGACY if fees.is_legacy else _DYNAMIC_FEE,
            **prices,
        }
    )
    signed = account.sign_transaction(transaction)
    if signed is None or signed.signature is None:
        raise NotSigned(f"{call.sender} did not sign the transaction: nothing was sent.")
    raw = _serialized(signed)
    hashed = "0x" + keccak256(raw).hex()
    return Attempt(hashed, raw, nonce, gas, fees.maximum, fees.priority)


def _serialized(signed: Any) -> bytes:
    """The bytes that nodes take.

    As Ape's own ``serialize_transaction``, without recovering the signer, which takes as long as
    signing: the node does that.
    """
    fields = signed.model_dump(by_alias=True, exclude={"sender", "type"})
    unsigned = serializable_unsigned_transaction_from_dict(fields)
    signature = signed.signature
    words = (int.from_bytes(signature.r, "big"), int.from_bytes(signature.s, "big"))
    return bytes(encode_transaction(unsigned, (signature.v, *words)))
