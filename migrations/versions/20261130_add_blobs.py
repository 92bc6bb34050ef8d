"""Store system prompts and tool lists once each, compressed: their texts move from `prompts` to `blobs`.

Revision ID: 20261130_add_blobs
Revises: 20261130_add_removals

A row of `prompts` was a system prompt with a tool list. The same tools come with a system prompt of its own for each
session, so most of the bytes of many short sessions were tools, again and again.
"""

import hashlib

import sqlalchemy as sa
import zstandard
from alembic import op

revision = "20261130_add_blobs"
down_revision = "20261130_add_removals"
branch_labels = None
depends_on = None

LEVEL = 3  # of zstd; see `ocproxy.store.blobs`
PARTS = ("system", "tools")


def upgrade() -> None:
    op.rename_table("prompts", "prompts_before")
    op.create_table(
        "blobs",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("plain_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "prompts",
        sa.Column("hash", sa.Text(), primary_key=True),
        *[sa.Column(f"{part}_hash", sa.Text(), sa.ForeignKey("blobs.hash"), nullable=False) for part in PARTS],
    )
    for part in PARTS:
        op.create_index(f"ix_prompts_{part}_hash", "prompts", [f"{part}_hash"])
    connection = op.get_bind() if not op.get_context().as_sql else None
    if connection is not None:
        move(connection)
    op.drop_table("prompts_before")


def move(connection: sa.Connection) -> None:
    """One row at a time: they may be many, and each is large."""
    known: set[str] = set()
    blob = sa.text("INSERT INTO blobs (hash, plain_bytes, data) VALUES (:hash, :plain_bytes, :data)")
    prompt = sa.text("INSERT INTO prompts (hash, system_hash, tools_hash) VALUES (:hash, :system, :tools)")
    row_of = sa.text(
        "SELECT CAST(system AS TEXT) AS system, CAST(tools AS TEXT) AS tools FROM prompts_before WHERE hash = :hash"
    )
    for (hash,) in connection.execute(sa.text("SELECT hash FROM prompts_before ORDER BY hash")).all():
        row = connection.execute(row_of, {"hash": hash}).mappings().one()
        named = {}
        for part in PARTS:
            data = row[part].encode()
            named[part] = hashlib.sha256(data).hexdigest()
            if named[part] not in known:
                known.add(named[part])
                packed = zstandard.ZstdCompressor(level=LEVEL).compress(data)
                connection.execute(blob, {"hash": named[part], "plain_bytes": len(data), "data": packed})
        connection.execute(prompt, {"hash": hash, **named})


def downgrade() -> None:
    op.rename_table("prompts", "prompts_before")
    op.create_table(
        "prompts",
        sa.Column("hash", sa.Text(), primary_key=True),
        *[sa.Column(part, sa.JSON(), nullable=False) for part in PARTS],
    )
    if not op.get_context().as_sql:
        move_back(op.get_bind())
    op.drop_table("prompts_before")
    op.drop_table("blobs")


def move_back(connection: sa.Connection) -> None:
    kind = "JSON" if connection.dialect.name == "postgresql" else "TEXT"
    insert = sa.text(
        f"INSERT INTO prompts (hash, system, tools) VALUES (:hash, CAST(:system AS {kind}), CAST(:tools AS {kind}))"
    )
    data_of = sa.text("SELECT data FROM blobs WHERE hash = :hash")
    names = sa.text("SELECT hash, system_hash AS system, tools_hash AS tools FROM prompts_before ORDER BY hash")
    for row in connection.execute(names).mappings().all():
        texts = {}
        for part in PARTS:
            data = bytes(connection.execute(data_of, {"hash": row[part]}).scalar_one())
            texts[part] = zstandard.ZstdDecompressor().decompress(data).decode()
        connection.execute(insert, {"hash": row["hash"], **texts})
