"""How these bundles were made, once, by the model_signing library 1.1.1; the key was thrown away.

Run in this folder, in the environment of ``tests/artifact/model_signing_peer``. It makes a key of
its own, so that what it writes now is not what is here.
"""

# ruff: noqa: INP001 - a script, in an environment of its own

from __future__ import annotations

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from model_signing import hashing, signing

BUNDLES = {
    "files-sha256.sig": hashing.Config(),
    "files-blake2b.sig": hashing.Config().use_file_serialization(hashing_algorithm="blake2"),
    "files-blake3.sig": hashing.Config().use_file_serialization(hashing_algorithm="blake3"),
    "shards-sha256.sig": hashing.Config().use_shard_serialization(shard_size=100),
    "ignoring.sig": hashing.Config().set_ignored_paths(paths=["sub"]),
}


def main() -> None:
    """Make a key, and sign the model with it in every way."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path("public.pem").write_bytes(public)
    with tempfile.NamedTemporaryFile() as file:
        file.write(private)
        file.flush()
        for name, config in BUNDLES.items():
            signer = signing.Config().use_elliptic_key_signer(private_key=file.name)
            signer.set_hashing_config(config).sign("model", name)


if __name__ == "__main__":
    main()
