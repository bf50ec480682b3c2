"""What validators and clients sign off chain: typed data, by EIP-712. Pure but for the signing key.

A signature is bound to one registry on one chain, and to exactly what its struct says. The same as
in ``contracts/libraries/Signed.sol``. Signatures travel in the compact form of EIP-2098.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final, Protocol

from eth_account.messages import SignableMessage
from eth_keys.datatypes import Signature as RecoverableSignature
from eth_keys.exceptions import BadSignature
from eth_typing import Hash32
from hexbytes import HexBytes

from ml.artifact import abi
from ml.artifact.keccak import keccak256
from ml.chain.records import Evaluation, Signature, Update
from ml.errors import ModelproofError

Fields = tuple[tuple[str, str], ...]
"""Name and type of each field of a struct, in order."""

DOMAIN_NAME: Final = "Modelproof"
DOMAIN_VERSION: Final = "1"
DOMAIN_FIELDS: Final[Fields] = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
EVALUATION_FIELDS: Final[Fields] = (
    ("modelId", "bytes32"),
    ("version", "uint32"),
    ("accuracy", "uint32"),
    ("trainingAccuracy", "uint32"),
    ("accepted", "bool"),
    ("testSet", "bytes32"),
    ("weights", "bytes32"),
    ("details", "bytes32"),
    ("metrics", "bytes32"),
    ("deadline", "uint64"),
)
UPDATE_FIELDS: Final[Fields] = (
    ("modelId", "bytes32"),
    ("epoch", "uint32"),
    ("iteration", "uint32"),
    ("base", "uint32"),
    ("digest", "bytes32"),
    ("samples", "uint64"),
)

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HIGHEST_S: Final = _ORDER // 2
"""Above it lies a second signature for each one (EIP-2), which nobody takes."""
_PARITY: Final = 1 << 255


class InvalidSignature(ModelproofError):
    """Nobody can have made this signature, or it is the one of two forms that is not used."""


class Signer(Protocol):
    """An account that can sign: one of Ape's, or of eth_account's with its key at hand."""

    @property
    def address(self) -> str:
        """With its checksum."""

    def sign_message(self, message: SignableMessage, /) -> object:
        """The signature, with ``v``, ``r`` and ``s``; None if it was not given."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature counts: in one registry, on one chain."""

    chain_id: int
    registry: str
    """Its address."""

    @property
    def separator(self) -> bytes:
        """The hash of the domain, 32 bytes."""
        name, version = keccak256(DOMAIN_NAME.encode()), keccak256(DOMAIN_VERSION.encode())
        values = (name, version, self.chain_id, int(self.registry, 16))
        return keccak256(abi.encode(type_hash("EIP712Domain", DOMAIN_FIELDS), *values))


def type_hash(name: str, fields: Fields) -> bytes:
    """The hash of a struct's type."""
    encoded = ",".join(f"{kind} {field}" for field, kind in fields)
    return keccak256(f"{name}({encoded})".encode())


def evaluation_hash(model: bytes, evaluation: Evaluation, metrics: bytes, deadline: int) -> bytes:
    """The struct hash of what a validator signs.

    Args:
        model: whose version it is about
        evaluation: what is said of it
        metrics: keccak256 of the metrics' text (`head.text_digest`)
        deadline: until when it may be recorded, in seconds since 1970
    """
    values = (model, *astuple(evaluation), metrics, deadline)
    return keccak256(abi.encode(type_hash("Evaluation", EVALUATION_FIELDS), *values))


def update_hash(model: bytes, update: Update) -> bytes:
    """The struct hash of what a client signs about an update that it sends."""
    return keccak256(abi.encode(type_hash("Update", UPDATE_FIELDS), model, *astuple(update)))


def signing_hash(domain: Domain, struct_hash: bytes) -> bytes:
    """What a key signs."""
    return keccak256(b"\x19\x01" + domain.separator + struct_hash)


def sign(signer: Signer, domain: Domain, struct_hash: bytes) -> Signature:
    """Sign a struct.

    Raises:
        ModelproofError: the account did not sign.
    """
    message = SignableMessage(b"\x01", HexBytes(domain.separator), HexBytes(struct_hash))
    signed = signer.sign_message(message)
    if signed is None:
        raise ModelproofError(f"{signer.address} did not sign.")
    v, r, s = (_number(getattr(signed, part)) for part in ("v", "r", "s"))
    signature = Signature(_word(r), _word(s | (_PARITY if v % 27 else 0)))
    if recover(domain, struct_hash, signature) != signer.address:
        raise ModelproofError(f"{signer.address} signed with another account's key.")
    return signature


def recover(domain: Domain, struct_hash: bytes, signature: Signature) -> str:
    """The address of the account that signed a struct.

    Raises:
        InvalidSignature: nobody can have, or s is in the upper half.
    """
    r, vs = int.from_bytes(signature.r, "big"), int.from_bytes(signature.vs, "big")
    s = vs & (_PARITY - 1)
    if len(signature.r) != 32 or len(signature.vs) != 32 or s > _HIGHEST_S:
        raise InvalidSignature("the signature is not in the form that the registry takes.")
    try:
        given = RecoverableSignature(vrs=(int(vs >= _PARITY), r, s))
        key = given.recover_public_key_from_msg_hash(Hash32(signing_hash(domain, struct_hash)))
    except BadSignature as error:
        raise InvalidSignature("the signature is none that anybody can have made.") from error
    return str(key.to_checksum_address())


def _number(part: int | bytes) -> int:
    # an account of Ape's keystore gives bytes without the leading zeros
    return part if isinstance(part, int) else int.from_bytes(part, "big")


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")
