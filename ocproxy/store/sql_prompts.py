"""Reads system prompts and tool lists of a SQL database, whose texts are blobs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ocproxy.model import PromptRow
from ocproxy.store import schema
from ocproxy.store.blobs import unpack


class SqlPrompts:
    """`Store.prompt` over the connections of a `SqlStore`."""

    async def _all(self, query: sa.Select[Any], **given: Any) -> list[sa.RowMapping]:
        raise NotImplementedError

    async def prompt(self, hash: str) -> PromptRow | None:
        prompt, system, tools = schema.PROMPTS.c, schema.BLOBS.alias("system"), schema.BLOBS.alias("tools")
        query = sa.select(system.c.data.label("system"), tools.c.data.label("tools")).where(prompt.hash == hash)
        query = query.join_from(schema.PROMPTS, system, system.c.hash == prompt.system_hash)
        rows = await self._all(query.join(tools, tools.c.hash == prompt.tools_hash))
        return PromptRow(hash, unpack(rows[0]["system"]), unpack(rows[0]["tools"])) if rows else None
