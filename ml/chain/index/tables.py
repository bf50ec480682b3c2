"""The tables of an index, and the digest by which two of them are compared."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    select,
)

FORMAT: Final = 1
"""Of the tables: an index of another format is made again."""

metadata: Final = MetaData()

state: Final = Table(
    "state",
    metadata,
    Column("format", Integer, nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis", Text, nullable=False),
)
"""One row, which whoever writes holds a lock on."""

contracts: Final = Table(
    "contracts",
    metadata,
    Column("address", LargeBinary, primary_key=True),
    Column("name", Text, nullable=False),
    Column("first_block", BigInteger, nullable=False),
)

blocks: Final = Table(
    "blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("parent", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
)
"""Those with events and, up to the finality depth, the last ones. The highest is the tip."""

events: Final = Table(
    "events",
    metadata,
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
    Column("contract", LargeBinary, nullable=False),
    Column("transaction", LargeBinary, nullable=False),
    Column("topic0", LargeBinary, nullable=False),
    Column("topic1", LargeBinary),
    Column("topic2", LargeBinary),
    Column("topic3", LargeBinary),
    Column("data", LargeBinary, nullable=False),
    *(Index(f"events_topic{n}", "contract", f"topic{n}", "block", "log_index") for n in range(4)),
)
"""As the node gave them; they are decoded again whenever they are read."""

mentions: Final = Table(
    "mentions",
    metadata,
    Column("value", LargeBinary, primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
    Index("mentions_block", "block"),
    sqlite_with_rowid=False,
)
"""Every address (20 bytes) and every id or digest (32 bytes) that an event names."""

models: Final = Table(
    "models",
    metadata,
    Column("contract", LargeBinary, primary_key=True),
    Column("model", LargeBinary, primary_key=True),
    Column("origin_model", LargeBinary),
    Column("origin_version", BigInteger, nullable=False),
    Column("block", BigInteger, nullable=False, index=True),
)

versions: Final = Table(
    "versions",
    metadata,
    Column("contract", LargeBinary, primary_key=True),
    Column("model", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("parent", BigInteger, nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("block", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

FROM_BLOCKS: Final = (
    (blocks, blocks.c.number),
    (events, events.c.block),
    (mentions, mentions.c.block),
    (models, models.c.block),
    (versions, versions.c.block),
)
"""The tables whose rows go where their block goes, each with the column that names it."""


def content_digest(connection: Connection) -> bytes:
    """SHA-256 over every row of every table; equal for two indexes of the same blocks.

    The database, the order and the portions in which it was filled make no difference.
    """
    digest = hashlib.sha256()
    for table in metadata.sorted_tables:
        digest.update(f"{table.name}\n".encode())
        order = list(table.primary_key.columns) or list(table.columns)
        rows = connection.execution_options(yield_per=1_000).execute(select(table).order_by(*order))
        for row in rows:
            digest.update(repr([_plain(value) for value in row]).encode() + b"\n")
    return digest.digest()


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
