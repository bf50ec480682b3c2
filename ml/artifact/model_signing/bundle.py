"""The file that a signature is kept in: a Sigstore bundle around a DSSE envelope.

What is signed is not the payload but its pre-authentication encoding, with the payload's type and
length. Of bundles, those with a public key are read; the others are refused by what they are.
Source: Sigstore's bundle format v0.3; DSSE v1.0.0, ``protocol.md``.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final, NamedTuple

from ml.artifact import strict_json
from ml.artifact.errors import InvalidEntry, UnsupportedFormat, quoted
from ml.artifact.json_fields import fields_of, list_of, string

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

MAX_BUNDLE_BYTES: Final = 100_000_000
"""As much as a safetensors header may have."""

_OTHER_METHODS: Final = {
    "certificate": "by Sigstore without a key of its own",
    "x509CertificateChain": "with a certificate",
}


class Bundle(NamedTuple):
    """A signed payload."""

    payload: bytes
    signature: bytes
    key_hint: str
    """The SHA-256 of the public key's PEM, in hexadecimal digits; empty if it is not there."""


def pre_authentication_encoding(payload: bytes) -> bytes:
    """What is signed: the payload with its type and its length (DSSE's PAE)."""
    return b"DSSEv1 %d %b %d %b" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def dumps(bundle: Bundle) -> str:
    """Write a bundle as JSON."""
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": bundle.key_hint},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(bundle.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(bundle.signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(document, separators=(",", ":")) + "\n"


def loads(data: bytes) -> Bundle:
    """Read a bundle; whether its signature is good is not looked at.

    Raises:
        StrictJsonError, InvalidEntry: it is not of this form; the message is a clause.
        UnsupportedFormat: it is signed by another method than a key.
    """
    document = fields_of(strict_json.loads(data, fractions=True), "the bundle")
    media_type = document.get("mediaType")
    if media_type != MEDIA_TYPE:
        raise InvalidEntry(f"its mediaType is {quoted(media_type)}, not {MEDIA_TYPE}")
    hint = _key_hint(document.get("verificationMaterial"))
    envelope = fields_of(document.get("dsseEnvelope"), "the DSSE envelope")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise InvalidEntry(
            f"its payloadType is {quoted(envelope.get('payloadType'))}, not {PAYLOAD_TYPE}"
        )
    signatures = list_of(envelope.get("signatures"), "the list of signatures")
    if len(signatures) != 1:
        raise InvalidEntry(f"it has {len(signatures)} signatures, not one")
    signature = fields_of(signatures[0], "the signature")
    return Bundle(
        _decoded(envelope.get("payload"), "the payload"),
        _decoded(signature.get("sig"), "the signature"),
        hint,
    )


def _key_hint(value: object) -> str:
    material = fields_of(value, "the verification material")
    for key, method in _OTHER_METHODS.items():
        if key in material:
            raise UnsupportedFormat(
                f"this bundle was signed {method}, and only those signed with a key are verified"
                " here; verify it with the model_signing library"
            )
    hint = fields_of(material.get("publicKey"), "the public key").get("hint")
    return "" if hint is None else string(hint, "the public key's hint")


def _decoded(value: object, what: str) -> bytes:
    text = string(value, what)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEntry(f"{what} is not Base64") from None
