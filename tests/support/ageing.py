"""A data folder that is filled, and searched to the last byte for what must not be in it any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zstandard

from ocproxy.ageing.erasing import Erased, erase_removed
from ocproxy.ingest.loop import Ingest
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.stored import rows

SECRET = "sk-live-51Hd0ntTell"
ZSTD = b"\x28\xb5\x2f\xfd"


def hold(folder: Path, *words: str) -> list[str]:
    """The files under `folder` in which one of these words is, in any of the ways in which text is stored here."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if data[:4] == ZSTD:
            data = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(data)
        found += [path.name for word in words if any(form in data for form in _forms(word))]
    return found


def _forms(word: str) -> list[bytes]:
    return [word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be"), word.encode().hex().encode()]


class Folder:
    """A data folder with one worker's journal."""

    def __init__(self, data: Path) -> None:
        self.data, self.root = data, data / "journal"
        self.url = f"sqlite:///{data / 'ocproxy.db'}"
        self.relay = Relay(self.root / "worker-0")

    def work(self, session: str, words: str, turns: int = 4, **named: Any) -> None:
        """A session that says `words` in every kind of thing that is recorded."""
        history: list[dict[str, Any]] = [user(f"Do it with {words}.")]
        for turn in range(turns):
            id = f"toolu_{session}_{turn:012d}"
            write = use(id, "Write", file_path=f"/w/{session}{turn}.py", content=f"key = '{words}'\n" * 40)
            reply = assistant(f"I write {words}.", write)
            self.relay.call(history, reply, session=session, system=f"You know {words}.", **named)
            history += [reply, user(result(id, f"File created successfully at: /w/{session}{turn}.py {words}"))]
        self.relay.call(history, assistant(f"Done with {words}."), session=session, **named)

    async def id_of(self, store: Store, session: str) -> str:
        (found,) = await store.find_sessions(session)
        return found

    async def ingest(self, store: Store) -> None:
        await Ingest(store, self.root).catch_up()

    async def erase(self, store: Store) -> Erased:
        return await erase_removed(store, self.root)

    async def rebuilt(self, name: str = "again") -> dict[str, Any]:
        """The rows that the journal gives now."""
        async with await open_store(sqlite_file(self.data.parent / f"{name}.db")) as store:
            await Ingest(store, self.root).catch_up()
            return await rows(store)
