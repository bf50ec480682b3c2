"""Model Signing bundles that lie or are none: each is refused in a sentence, whoever signed it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact.errors import InvalidEntry, MalformedFile, UnsupportedFormat
from ml.artifact.model_signing import Serialization, sign_model, statement, verify_model
from ml.artifact.model_signing.bundle import MAX_BUNDLE_BYTES, pre_authentication_encoding
from ml.artifact.model_signing.keys import hint_of, read_private_key, sign
from ml.artifact.strict_json import StrictJsonError

from .keys import KeyPair, key_pair

Json = dict[str, Any]
Change = Callable[[Json], object]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models") / "model"
    (root / "sub").mkdir(parents=True)
    (root / "a.bin").write_bytes(bytes(range(25)))
    (root / "sub" / "b.txt").write_bytes(b"text")
    return root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / "model.sig"


def signed(payload: bytes, key: KeyPair) -> Json:
    """A bundle that holds a payload, its signature good."""
    private = read_private_key(key.private)
    signature = sign(private, pre_authentication_encoding(payload))
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint_of(private.public_key())}},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }


def statement_of(model: Path, key: KeyPair, serialization: Serialization | None = None) -> Json:
    """What a bundle of ours says."""
    text = sign_model(model, key.private, serialization)
    payload = base64.b64decode(json.loads(text)["dsseEnvelope"]["payload"])
    document: Json = json.loads(payload)
    return document


def put(path: str, value: object) -> Change:
    """Set a field, given by the keys and the numbers that lead to it."""
    *outer, last = (int(part) if part.isdecimal() else part for part in path.split("."))

    def change(document: Json) -> None:
        at: Any = document
        for part in outer:
            at = at[part]
        at[last] = value

    return change


def renamed(*names: object) -> Change:
    """Other names for the resources, which leave the digest over all digests as it is."""

    def change(document: Json) -> None:
        for row, name in zip(document["predicate"]["resources"], names, strict=False):
            row["name"] = name

    return change


def emptied(document: Json) -> None:
    document["predicate"]["resources"] = []
    document["subject"][0]["digest"]["sha256"] = hashlib.sha256().hexdigest()


# The envelope, which anybody can write


ENVELOPES: dict[str, tuple[Change, str]] = {
    "another media type": (put("mediaType", "text/plain"), "its mediaType is 'text/plain'"),
    "a media type that is a list": (put("mediaType", []), "its mediaType is"),
    "no material": (put("verificationMaterial", None), "verification material is not an object"),
    "no key": (put("verificationMaterial", {}), "the public key is not an object"),
    "a hint that is a number": (
        put("verificationMaterial.publicKey.hint", 7),
        "the public key's hint is not a string",
    ),
    "no envelope": (put("dsseEnvelope", []), "the DSSE envelope is not an object"),
    "another payload type": (
        put("dsseEnvelope.payloadType", "text/html"),
        "its payloadType is 'text/html'",
    ),
    "no signature": (put("dsseEnvelope.signatures", []), "it has 0 signatures, not one"),
    "two signatures": (
        lambda bundle: bundle["dsseEnvelope"]["signatures"].append({"sig": "AA=="}),
        "it has 2 signatures, not one",
    ),
    "a signature of nothing": (put("dsseEnvelope.signatures", [7]), "signature is not an object"),
    "a signature that is not Base64": (
        put("dsseEnvelope.signatures.0.sig", "A*=="),
        "the signature is not Base64",
    ),
    "a payload that is a number": (put("dsseEnvelope.payload", 7), "the payload is not a string"),
    "a payload that is not ASCII": (put("dsseEnvelope.payload", "é"), "payload is not Base64"),
}


@pytest.mark.parametrize(("change", "reason"), ENVELOPES.values(), ids=ENVELOPES)
def test_envelope_of_another_form_is_refused(
    model: Path, bundle: Path, key: KeyPair, change: Change, reason: str
) -> None:
    document = json.loads(sign_model(model, key.private))
    change(document)
    bundle.write_text(json.dumps(document))
    with pytest.raises(MalformedFile, match=f"is not a valid Model Signing bundle: .*{reason}"):
        verify_model(model, bundle, key.public)


@pytest.mark.parametrize(
    ("material", "how"),
    [
        ({"certificate": {"rawBytes": ""}}, "by Sigstore without a key of its own"),
        ({"x509CertificateChain": {"certificates": []}}, "with a certificate"),
    ],
)
def test_bundle_without_a_key_is_refused_by_how_it_was_signed(
    model: Path, bundle: Path, key: KeyPair, material: Json, how: str
) -> None:
    document = json.loads(sign_model(model, key.private))
    bundle.write_text(json.dumps({**document, "verificationMaterial": material}))
    with pytest.raises(UnsupportedFormat, match=f"was signed {how}"):
        verify_model(model, bundle, key.public)


FILES = {
    "nothing": b"",
    "no JSON": b"model.sig",
    "an array": b"[]",
    "not UTF-8": b'{"mediaType": "\xff"}',
    "a key twice": b'{"mediaType": 1, "mediaType": 2}',
    "deep brackets": b"[" * 100_000,
    "a long number": b"[" + b"9" * 100_000 + b"]",
    "NaN": b'{"mediaType": NaN}',
    "something behind": b"{} {}",
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_file_that_is_no_bundle_is_refused(
    model: Path, bundle: Path, key: KeyPair, data: bytes
) -> None:
    bundle.write_bytes(data)
    with pytest.raises(MalformedFile, match="is not a valid Model Signing bundle"):
        verify_model(model, bundle, key.public)


def test_file_that_is_too_large_is_refused_unread(model: Path, bundle: Path, key: KeyPair) -> None:
    with bundle.open("wb") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    with pytest.raises(MalformedFile, match="it has 100000001 bytes, more than 100000000"):
        verify_model(model, bundle, key.public)


# The statement, by whoever has the key


STATEMENTS: dict[str, tuple[Change, str]] = {
    "another type": (put("_type", "x"), "its _type is 'x'"),
    "a predicate of before 1.0": (
        put("predicateType", "https://model_signing/Digests/v0.1"),
        "its predicateType is 'https://model_signing/Digests/v0.1'",
    ),
    "no predicate": (put("predicate", 1), "the predicate is not an object"),
    "no subject": (put("subject", []), "it has 0 subjects, not one"),
    "two subjects": (put("subject", [{}, {}]), "it has 2 subjects, not one"),
    "a name that is a number": (put("subject.0.name", 1), "the subject's name is not a string"),
    "another digest": (
        put("subject.0.digest.sha256", "00" * 32),
        "the digest of its subject is not that of its resources",
    ),
    "no serialization": (put("predicate.serialization", None), "serialization is not an object"),
    "another method": (put("predicate.serialization.method", []), "its method is '\\[\\]'"),
    "another hash": (put("predicate.serialization.hash_type", "md5"), "its hash_type is 'md5'"),
    "a hash that is a list": (put("predicate.serialization.hash_type", []), "its hash_type is"),
    "links as text": (put("predicate.serialization.allow_symlinks", "no"), "allow_symlinks is"),
    "a parameter that is not known": (
        put("predicate.serialization.salt", "x"),
        "its serialization has the unknown key 'salt'",
    ),
    "a size of shards for files": (
        put("predicate.serialization.shard_size", 10),
        "its serialization has the unknown key 'shard_size'",
    ),
    "all left out": (put("predicate.serialization.ignore_paths", ["./."]), "the whole model"),
    "nothing left out": (put("predicate.serialization.ignore_paths", [""]), "the whole model"),
    "a number left out": (put("predicate.serialization.ignore_paths", [1]), "is not a string"),
    "no list": (put("predicate.resources", {}), "the list of resources is not a list"),
    "an empty list": (emptied, "it lists no file"),
    "a resource that is a number": (put("predicate.resources.0", 1), "a resource is not an object"),
    "a name of a resource that is a list": (renamed([]), "a resource's name is not a string"),
    "a path that leads elsewhere": (renamed("../../etc/passwd"), "does not stay inside the model"),
    "an absolute path": (renamed("/etc/passwd"), "does not stay inside the model"),
    "a path of Windows": (renamed("..\\x"), "does not stay inside the model"),
    "a path with a NUL": (renamed("a\0b"), "does not stay inside the model"),
    "a path of two spellings": (renamed("./a.bin"), "does not stay inside the model"),
    "a lone surrogate": (renamed("\ud800"), "cannot be written as UTF-8"),
    "a file twice": (renamed("a.bin", "a.bin"), "its file 'a.bin' occurs twice"),
    "the whole model and a file": (renamed("."), "the whole model has nothing beside it"),
    "another algorithm": (put("predicate.resources.0.algorithm", "blake3"), "is 'blake3', not sha"),
    "a digest of capitals": (put("predicate.resources.0.digest", "AA" * 32), "lower-case"),
    "a digest with spaces": (put("predicate.resources.0.digest", "a " * 32), "lower-case"),
    "a short digest": (put("predicate.resources.0.digest", "aa"), "64 lower-case hexadecimal"),
    "a digest that is a number": (put("predicate.resources.0.digest", 1), "64 lower-case"),
}


@pytest.mark.parametrize(("change", "reason"), STATEMENTS.values(), ids=STATEMENTS)
def test_signed_statement_of_another_form_is_refused(
    model: Path, bundle: Path, key: KeyPair, change: Change, reason: str
) -> None:
    document = statement_of(model, key)
    change(document)
    bundle.write_text(json.dumps(signed(json.dumps(document).encode(), key)))
    with pytest.raises(MalformedFile, match=f"is not a valid Model Signing bundle: .*{reason}"):
        verify_model(model, bundle, key.public)


NOT_IN_TURN = "the shards of its file 'a.bin' do not follow each other"
SHARDS: dict[str, tuple[Change, str]] = {
    "a hole": (renamed("a.bin:0:10", "a.bin:11:20"), NOT_IN_TURN),
    "an overlap": (renamed("a.bin:0:10", "a.bin:9:20"), NOT_IN_TURN),
    "the same twice": (renamed("a.bin:0:10", "a.bin:0:10"), NOT_IN_TURN),
    "no beginning": (renamed("z:0:10"), NOT_IN_TURN),
    "an immense file": (renamed("a.bin:0:10", "a.bin:10:20", f"a.bin:20:{2**62}"), NOT_IN_TURN),
    "an end before the beginning": (renamed("a.bin:0:10", "a.bin:20:10"), NOT_IN_TURN),
    "an empty shard": (renamed("0:0:0"), NOT_IN_TURN.replace("a.bin", "0")),
    "a short shard": (renamed("a.bin:0:9", "a.bin:9:19", "a.bin:19:25"), NOT_IN_TURN),
    "a long shard": (renamed("0:0:11"), NOT_IN_TURN.replace("a.bin", "0")),
    "no place": (renamed("a.bin"), "'a.bin' is not a path, a start and an end"),
    "half a place": (renamed("a.bin:10"), "is not a path, a start and an end"),
    "a negative place": (renamed("a.bin:-10:0"), "is not a path, a start and an end"),
    "a place of other digits": (renamed("a.bin:0:१"), "is not a path, a start and an end"),
    "a place of two spellings": (renamed("a.bin:00:10"), "is not a path, a start and an end"),
    "a place beyond all files": (renamed("a.bin:0:" + "9" * 99), "not a path, a start and an end"),
    "another algorithm": (put("predicate.resources.0.algorithm", "sha256"), "sha256-sharded-10"),
    "shards of nothing": (put("predicate.serialization.shard_size", 0), "not a size in bytes"),
    "shards of less": (put("predicate.serialization.shard_size", -1), "not a size in bytes"),
    "immense shards": (put("predicate.serialization.shard_size", 2**63), "not a size in bytes"),
    "shards of 10³⁰⁰": (put("predicate.serialization.shard_size", 1e300), "not a size in bytes"),
    "shards of a half": (put("predicate.serialization.shard_size", 0.5), "not a whole number"),
    "shards of truth": (put("predicate.serialization.shard_size", True), "not a whole number"),
    "no size of shards": (put("predicate.serialization.shard_size", None), "not a whole number"),
}


@pytest.mark.parametrize(("change", "reason"), SHARDS.values(), ids=SHARDS)
def test_signed_shards_that_are_not_those_of_files_are_refused(
    model: Path, bundle: Path, key: KeyPair, change: Change, reason: str
) -> None:
    document = statement_of(model, key, Serialization("sha256", 10))
    change(document)
    bundle.write_text(json.dumps(signed(json.dumps(document).encode(), key)))
    with pytest.raises(MalformedFile, match=f"is not a valid Model Signing bundle: .*{reason}"):
        verify_model(model, bundle, key.public)


@pytest.mark.parametrize("payload", FILES.values(), ids=FILES)
def test_signed_payload_that_is_no_statement_is_refused(
    model: Path, bundle: Path, key: KeyPair, payload: bytes
) -> None:
    bundle.write_text(json.dumps(signed(payload, key)))
    with pytest.raises(MalformedFile, match="is not a valid Model Signing bundle"):
        verify_model(model, bundle, key.public)


# What has to be put up with


def test_fields_that_are_not_known_are_passed_over(model: Path, bundle: Path, key: KeyPair) -> None:
    """In-toto: consumers must ignore unrecognized fields."""
    document = statement_of(model, key)
    for at in (document, document["subject"][0], document["predicate"]):
        at["annotations"] = {"card": 1.5}
    document["predicate"]["resources"][0]["mediaType"] = "x"
    envelope = signed(json.dumps(document).encode(), key)
    envelope["verificationMaterial"]["timestampVerificationData"] = {}
    bundle.write_text(json.dumps(envelope))
    assert verify_model(model, bundle, key.public).differences == []


def test_order_of_resources_does_not_matter(model: Path, bundle: Path, key: KeyPair) -> None:
    document = statement_of(model, key, Serialization("sha256", 10))
    rows = document["predicate"]["resources"]
    random.Random(4).shuffle(rows)
    digests = b"".join(bytes.fromhex(row["digest"]) for row in rows)
    document["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()
    bundle.write_text(json.dumps(signed(json.dumps(document).encode(), key)))
    assert verify_model(model, bundle, key.public).differences == []


def test_ignored_path_outside_the_model_leaves_out_nothing(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    document = statement_of(model, key)
    document["predicate"]["resources"][0]["name"] = "other"
    rules = ["/etc", "../model", "sub/../a.bin"]
    put("predicate.serialization.ignore_paths", rules)(document)
    bundle.write_text(json.dumps(signed(json.dumps(document).encode(), key)))
    found = verify_model(model, bundle, key.public).differences
    assert list(map(str, found)) == ["file 'a.bin' was added", "file 'other' is missing"]


# Any statement at all

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: object, path: str = "") -> list[str]:
    """The paths of all fields in a document."""
    inner: list[tuple[object, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    found = [f"{path}.{key}".lstrip(".") for key, _ in inner]
    return found + [place for key, at in inner for place in places(at, f"{path}.{key}")]


@given(st.data())
def test_any_statement_raises_nothing_but_our_own_errors(
    model: Path, key: KeyPair, data: st.DataObject
) -> None:
    shard_bytes = data.draw(st.sampled_from([None, 10]))
    document = statement_of(model, key, Serialization(shard_bytes=shard_bytes))
    put(data.draw(st.sampled_from(places(document))), data.draw(VALUES))(document)
    with suppress(InvalidEntry, StrictJsonError):
        found = statement.loads(json.dumps(document).encode())
        assert statement.loads(statement.dumps(found)) == found
