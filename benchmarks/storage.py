"""What encrypting, naming and storing an object costs: ``python -m benchmarks.storage``.

In GB (10⁹ bytes of plaintext) per CPU-second, the process's own and the system's on its behalf,
best of several rounds that take turns. "Encrypt and name" is all the work before a disk:
AES-256-GCM, the object's SHA-256 and its CID, from bytes in memory. Beside it stands what the same
primitives take when nothing else is done: one AES-256-GCM and two SHA-256, since the digest on
chain and the CID are hashes over different cuts of the same bytes. Nothing built on them can be
faster.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import cryptography
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from ml.artifact.file_reader import FileReader
from ml.storage.encrypted import open_decrypted, put_encrypted
from ml.storage.encryption import SEGMENT_BYTES, TAG_BYTES, Encryption, decrypt
from ml.storage.keys import MasterKey
from ml.storage.local_store import LocalStore
from ml.storage.naming import Namer, name
from ml.storage.pieces import Piece
from ml.storage.sidecar import Payload

RESULTS: Final = Path(__file__).parent / "results" / "storage.json"
SIZE: Final = 256 << 20
ROUNDS: Final = 7

AES: Final = "AES-256-GCM alone"
SHA: Final = "SHA-256 alone"
ENCRYPT: Final = "encrypt"
NAME: Final = "name: SHA-256 and CID"
ENCRYPT_AND_NAME: Final = "encrypt and name"
STORE: Final = "encrypt, name and store on disk"
FROM_FILE: Final = "… reading the plaintext from a file"
DECRYPT: Final = "decrypt"
FROM_STORE: Final = "read from the store and decrypt"
VERIFY: Final = "verify by CID in the store"
BOUND: Final = "what AES-256-GCM and two SHA-256 allow"
TARGETS: Final = {ENCRYPT_AND_NAME: 0.8}


def pieces_of(data: memoryview) -> list[memoryview]:
    """A stream of bytes in memory, in pieces as a file is read."""
    return [data[start : start + SEGMENT_BYTES] for start in range(0, len(data), SEGMENT_BYTES)]


def aes_alone(plaintext: Iterable[Piece]) -> None:
    """AES-256-GCM over segments, without a format around them."""
    cipher, sealed = AESGCM(os.urandom(32)), memoryview(bytearray(SEGMENT_BYTES + TAG_BYTES))
    for count, piece in enumerate(plaintext):
        nonce = count.to_bytes(12, "big")
        cipher.encrypt_into(nonce, piece, b"", sealed[: len(piece) + TAG_BYTES])


def sha_alone(plaintext: Iterable[Piece]) -> None:
    """One SHA-256 over all bytes."""
    hasher = hashlib.sha256()
    for piece in plaintext:
        hasher.update(piece)


def encrypt_and_name(plaintext: Iterable[Piece]) -> None:
    """Encrypt bytes and name the object, and keep nothing."""
    namer = Namer()
    for piece in Encryption().encrypt(plaintext):
        namer.update(piece)
    namer.finish()


def drain(pieces: Iterable[Piece]) -> None:
    """Use up a stream."""
    for _ in pieces:
        pass


def jobs(folder: Path) -> dict[str, Callable[[], None]]:
    """What is measured, each over as many bytes of plaintext."""
    plaintext = pieces_of(memoryview(os.urandom(SIZE)))
    source = folder / "plaintext"
    source.write_bytes(b"".join(plaintext))
    encryption = Encryption()
    sealed = b"".join(map(bytes, encryption.encrypt(plaintext)))
    master, store = MasterKey.generate(), LocalStore(folder / "objects")

    def put(pieces: Iterable[Piece]) -> None:
        stored = put_encrypted(store, store.sidecars, pieces, [master], Payload("benchmark")).stored
        store.delete(stored.cid)
        store.sidecars.delete(stored.cid)

    kept = put_encrypted(store, store.sidecars, plaintext, [master], Payload("benchmark")).stored

    def put_file() -> None:
        with FileReader(source) as reader:
            put(reader.pieces(0, reader.size))

    def read() -> None:
        with open_decrypted(store, store.sidecars, kept.cid, [master]) as pieces:
            drain(pieces)

    return {
        AES: lambda: aes_alone(plaintext),
        SHA: lambda: sha_alone(plaintext),
        ENCRYPT: lambda: drain(Encryption().encrypt(plaintext)),
        NAME: lambda: forget(name(plaintext)),
        ENCRYPT_AND_NAME: lambda: encrypt_and_name(plaintext),
        STORE: lambda: put(plaintext),
        FROM_FILE: put_file,
        DECRYPT: lambda: drain(decrypt(pieces_of(memoryview(sealed)), encryption.key)),
        FROM_STORE: read,
        VERIFY: lambda: forget(store.verify(kept.cid)),
    }


def forget(_result: object) -> None:
    """Make a function that returns something one that returns nothing."""


def measure() -> dict[str, float]:
    """GB per CPU-second by job, best of the rounds, and what the primitives allow."""
    with tempfile.TemporaryDirectory() as folder:
        todo = jobs(Path(folder))
        seconds = dict.fromkeys(todo, float("inf"))
        for _ in range(ROUNDS):
            for job, run in todo.items():
                begun = time.process_time()
                run()
                seconds[job] = min(seconds[job], time.process_time() - begun)
    figures = {job: SIZE / best / 1e9 for job, best in seconds.items()}
    figures[BOUND] = 1 / (1 / figures[AES] + 2 / figures[SHA])
    return {job: round(figure, 3) for job, figure in figures.items()}


def rows(figures: dict[str, float]) -> Iterator[tuple[str, ...]]:
    """A line a job: GB per CPU-second, its share of raw AES-256-GCM, and what was aimed at."""
    for job, figure in figures.items():
        target = f"≥ {TARGETS[job]}" if job in TARGETS else ""
        yield job, f"{figure:.2f}", f"{figure / figures[AES]:.0%}", target


def main() -> None:
    """Measure, write the results and print them."""
    figures = measure()
    conditions = {
        **machine.describe(),
        "cryptography": f"{cryptography.__version__} ({backend.openssl_version_text()})",
        "hashlib": ssl.OPENSSL_VERSION,
        "bytes": SIZE,
        "rounds": ROUNDS,
        "load_average": round(os.getloadavg()[0], 1),  # others' work costs us caches and clock
    }
    RESULTS.parent.mkdir(exist_ok=True)
    results = {"unit": "GB of plaintext per CPU-second", "figures": figures, "machine": conditions}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    table = Table("work", title="GB of plaintext per CPU-second")
    for heading in ("GB/s", "of raw AES-GCM", "target"):
        table.add_column(heading, justify="right")
    for row in rows(figures):
        table.add_row(*row)
    console = Console()
    console.print(table)
    share = figures[ENCRYPT_AND_NAME] / figures[BOUND]
    console.print(f"Encrypting and naming: {share:.0%} of what the primitives allow.")
    console.print(f"Written to {RESULTS}.", soft_wrap=True)


if __name__ == "__main__":
    main()
