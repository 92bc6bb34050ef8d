"""What the recorder knows of its own health: journals, how far they are in the database, lost records, permissions.

Only facts that can be read from files and the database, so that they can be had without a server (`ocproxy doctor`) and
with one (`/api/status`). A problem is a sentence with a hint: what to do about it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from ocproxy import __version__, incidents, instance, query
from ocproxy.config import Config
from ocproxy.errors import JournalError, OcproxyError, StoreError
from ocproxy.exchange import Position
from ocproxy.journal import JournalReader, list_journals
from ocproxy.journal.folder import WRITER_LOCK
from ocproxy.journal.segments import HEADER_BYTES, list_segments
from ocproxy.store import migrations
from ocproxy.store.base import Store, backend_of, mask

# Below this the journal may not be able to begin another segment; nothing is lost yet, which is when one wants to know.
_LOW_DISK_SEGMENTS = 4
# With less not even a call is recorded whole.
_FULL_BYTES = 1_000_000
# What is older is history: still listed, no longer a problem. Losses stay one for a day, so that nobody misses them;
# a death that was followed by a new start only while it may be the beginning of more.
_RECENT_LOSS, _RECENT_INCIDENT = timedelta(hours=24), timedelta(minutes=10)
# Names in a sentence about permissions; the rest is counted.
_NAMED = 3

Facts = dict[str, Any]


def problem(what: str, hint: str | None = None) -> dict[str, str | None]:
    return {"what": what, "hint": hint}


async def gather(config: Config, store: Store | None) -> Facts:
    """All facts as plain JSON data; `problems` lists what is wrong. `store` None: the database could not be opened."""
    data = config.data_path
    facts: Facts = {
        "version": __version__,
        "data_dir": str(data),
        "journals": [],
        "gaps": [],
        "retention": msgspec.to_builtins(config.retention),
        "database": {"url": mask(config.store_url)},
        "incidents": [incident._asdict() for incident in incidents.recent(data)],
        "disk_free_bytes": shutil.disk_usage(data).free if data.exists() else None,
        "problems": [],
    }
    problems = facts["problems"]
    positions = {}
    if store is not None:
        try:
            positions = await query.positions(store)
            facts["gaps"] = await query.gaps(store)
            facts["retention"].update(await query.removals(store))
            facts["database"].update(await asyncio.to_thread(_database, config))
        except StoreError as error:
            problems.append(problem(f"the database does not answer: {error}", error.hint))
    ingested = {journal: position.position for journal, position in positions.items()}
    facts["journals"], broken = await asyncio.to_thread(describe_journals, config.journal_path, ingested)
    problems += broken
    problems += await asyncio.to_thread(lambda: [*_find_exposed(data), *_find_unwritable(config)])
    problems += _judge(facts, config)
    return facts


def unread(segments: Iterable[tuple[int, int]], end: Position, ingested: Position) -> int:
    """Bytes of the journal that are not in the database, as they lie on the disk (compressed segments count less).
    `segments` are (number, bytes on disk)."""
    if ingested >= end:
        return 0
    if ingested.segment == end.segment:
        return end.offset - ingested.offset
    later = sum(count for number, count in segments if number >= ingested.segment)
    return max(later - ingested.offset, 1)


def describe_journals(root: Path, ingested: dict[str, str]) -> tuple[list[Facts], list[Facts]]:
    """Facts of each journal, and problems with those that cannot be read. `ingested` are positions by journal id."""
    found, problems = [], []
    for folder in list_journals(root):
        try:
            with JournalReader(folder) as reader:
                sizes = [(s.number, _size(s.path)) for s in list_segments(folder)]
                end, position = reader.end(), Position.parse(ingested.get(reader.id, "0:0"))
                found.append({
                    "id": reader.id,
                    "folder": str(folder),
                    "segments": len(sizes),
                    "bytes": sum(count for _, count in sizes),
                    "end": str(end),
                    "ingested": str(position),
                    "behind_bytes": unread(sizes, end, position),
                    "torn_bytes": torn(folder, sizes[-1:], end),
                })  # fmt: skip
                if found[-1]["torn_bytes"]:
                    problems.append(
                        problem(
                            f"the journal {folder} ends inside a record: {found[-1]['torn_bytes']} bytes at the end of"
                            f" segment {sizes[-1][0]} are no whole one, and nobody is writing it",
                            "start ocproxy: it cuts them off and tells of them; all before them can be read",
                        )
                    )
        except (JournalError, OSError) as error:
            hint = error.hint if isinstance(error, OcproxyError) else None
            problems.append(problem(f"the journal {folder} cannot be read: {error}", hint))
    return found, problems


def torn(folder: Path, last: Iterable[tuple[int, int]], end: Position) -> int:
    """Bytes behind the last whole record of a journal that no writer holds: one that does may just be writing them.
    `last` is (number, bytes) of its last segment, looked up before `end` was: what was written since does not count."""
    if instance.held(folder / WRITER_LOCK):
        return 0
    whole = {end.segment: end.offset}
    # An end in an earlier segment: the last one has no whole record at all.
    return sum(max(0, count - whole.get(number, HEADER_BYTES)) for number, count in last if number >= end.segment)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # compressed or removed since it was listed
        return 0


def _database(config: Config) -> Facts:
    revision = migrations.current(config.store_url)
    facts: Facts = {"revision": revision, "newest_revision": migrations.NEWEST, "known": migrations.knows(revision)}
    if (path := backend_of(config.store_url).file(config.store_url)) is not None:
        facts["bytes"] = sum(_size(path.with_name(path.name + end)) for end in ("", "-wal"))
    return facts


def _find_exposed(data: Path) -> Iterator[Facts]:
    """Files and folders of ours that others on this machine can get at."""
    ours = [data, *data.glob("*.db*"), *data.glob("*.json*"), *data.glob("*.key"), *data.glob("journal/**/*")]
    exposed = [path for path in ours if path.exists() and path.stat().st_mode & 0o077]
    if exposed:
        names = ", ".join(str(path) for path in exposed[:_NAMED])
        more = f" and {len(exposed) - _NAMED} more" if len(exposed) > _NAMED else ""
        yield problem(f"others on this machine can read {names}{more}", f"chmod -R go= {data}")


def _find_unwritable(config: Config) -> Iterator[Facts]:
    """Folders and files of ours that we need to write to and may not."""
    folders = [config.data_path, config.journal_path, *list_journals(config.journal_path)]
    database = backend_of(config.store_url).file(config.store_url)
    for path in [*folders, *([database, database.parent] if database else [])]:
        # The mode too: whoever asks may be the superuser, whom it does not bind, and the server another.
        if path.exists() and not (path.stat().st_mode & 0o200 and os.access(path, os.W_OK)):
            effect = "the database takes nothing" if path == database else "no file can be made there"
            yield problem(f"{path} may not be written to: {effect}", f"chmod u+w {path}, or give it back to its owner")


def _judge(facts: Facts, config: Config) -> Iterator[Facts]:
    low = _LOW_DISK_SEGMENTS * config.journal.segment_mb * 1024 * 1024
    free = facts["disk_free_bytes"]
    if free is not None and free < _FULL_BYTES:
        effect = "refused" if config.journal.on_full == "refuse" else "forwarded, but not recorded"
        yield problem(
            f"the disk of {facts['data_dir']} is full: calls are {effect}",
            "free some space: recording goes on by itself then, and what is recorded stays; journal.keep_days or"
            " journal.keep_gb keep the journal small from then on",
        )
    elif free is not None and free < low:
        yield problem(
            f"the disk of {facts['data_dir']} is almost full ({free // 1_000_000} MB are free)",
            "free some space, or set journal.keep_days or journal.keep_gb",
        )
    since = (datetime.now(UTC) - _RECENT_LOSS).isoformat()
    if lost := [g for g in facts["gaps"] if g["created_at"] >= since and (g["records"] or g["bytes"])]:
        records, count = (sum(gap[key] for gap in lost) for key in ("records", "bytes"))
        yield problem(
            f"{records} records ({count} bytes) of the last day could not be recorded or read;"
            f" last: {lost[-1]['reason']}",
            "the gaps are listed above, and all of them by `ocproxy doctor --json`",
        )
    database = facts["database"]
    if not database.get("known", True):
        yield problem(
            f"the database is at revision {database['revision']}, which a newer version of ocproxy made",
            "ocproxy rebuild (makes it anew for this version and keeps the old one), or use the newer version"
            if "bytes" in database  # a file of ours; another may hold what others recorded
            else "use that version here, too; or give database_url an empty database, filled from the journal",
        )
    elif database.get("revision") != database.get("newest_revision"):
        yield problem(
            f"the database is at revision {database['revision']}, this version needs {database['newest_revision']}",
            "ocproxy db upgrade (the server does it when it starts)",
        )
    since = (datetime.now(UTC) - _RECENT_INCIDENT).isoformat()
    if recent := [incident for incident in facts["incidents"] if incident["at"] >= since]:
        yield problem(
            f"{len(recent)} incidents in the last minutes; last: {recent[-1]['what']}", "they are listed above"
        )
