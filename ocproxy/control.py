"""The control process, `python -m ocproxy.control`: migrates, follows the journals, keeps them, answers the API.

Started by the supervisor (contract: `ocproxy.process`); its settings are the msgpack array [Running, Config]. It may
die at any instant: relays do not notice, the journal fills, the next one goes on from the positions in the database.

It is ready with the database or without: `ready` alone says that the database is open, `ready waiting` that it is not.
Then it is waited for, whatever the reason; the API tells of it, and the journal keeps what comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ocproxy import instance, status
from ocproxy.ageing.retention import Retention
from ocproxy.api.app import build, build_closed
from ocproxy.config import Config
from ocproxy.errors import JournalError, OcproxyError, ServerError, StoreBusy, StoreError
from ocproxy.exchange import Position
from ocproxy.incidents import Diary
from ocproxy.ingest.loop import Ingest
from ocproxy.instance import Running
from ocproxy.journal import end_life, keeping, list_journals
from ocproxy.journal.folder import read_id
from ocproxy.store.base import Store, backend_of, mask
from ocproxy.store.opening import Opening, Trouble

log = logging.getLogger(__name__)

# `flush` and `rebuild` hold the ingest lock without a server. They are done in seconds, or a person waits for them.
_LOCK_SECONDS, _LOCK_PAUSE = 30.0, 0.1
# How long the start waits for the database before it does without: longer than making a new one takes on a busy
# machine.
_OPEN_SECONDS = 5.0
# How often trouble of the ingest is looked at. An incident that is shorter costs nobody anything.
_WATCH_SECONDS = 0.5
# How often finished segments are compressed and old ones removed. Nothing waits for it, and a segment holds minutes of
# heavy traffic.
_KEEP_SECONDS = 30.0
# How long answers to API clients may take once the rest has ended.
_GOODBYE_SECONDS = 1
# Connections the kernel keeps for us while we are busy: more than one person's tools open at once.
_BACKLOG = 128


def main() -> int:
    """Run until SIGTERM. Returns the exit code: 0 stopped as asked, 1 could not start."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="ocproxy: %(message)s")
    running, config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=tuple[Running, Config])
    os.umask(0o077)
    errors: list[OcproxyError] = []
    try:
        asyncio.run(_control(running, config))
    except* OcproxyError as group:  # what leaves a task group, leaves it in a group
        errors += _leaves(group)
    for error in errors:
        sys.stderr.write(f"ocproxy: {error}\n" + (f"  {error.hint}\n" if error.hint else ""))
    return 1 if errors else 0


def _leaves(group: BaseExceptionGroup[OcproxyError]) -> Iterator[OcproxyError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _control(running: Running, config: Config) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # A URL that is none is a setting like any other: told at the start, because nothing but another setting mends it.
    backend_of(config.store_url).file(config.store_url)
    with await _lock(config), _listen(running) as listening:
        await asyncio.to_thread(end_former_workers, config)
        diary = Diary(config.data_path)
        opening = Opening(config.store_url, lambda error: _tell_refusal(config, error, diary))
        facts = _facts(config, None, lambda: opening.trouble, running)
        desk = _Desk(build_closed(config, running.url, facts, lambda: _refusal(config, opening.trouble)))
        server = _Server(desk)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listening]))
            async with await _open(opening, stop) as store:
                if opening.is_late:
                    log.warning("the database is open now: what the journal has is being stored")
                    diary.note("the database is open now")
                ingest = Ingest(
                    store,
                    config.journal_path,
                    batch_calls=config.ingest.batch_calls,
                    poll_ms=config.ingest.poll_ms,
                    prices=config.prices,
                )
                facts = _facts(config, store, lambda: ingest.trouble, running)
                desk.app = build(config, store, running.url, facts)
                others = [
                    tasks.create_task(watch(ingest, diary)),
                    tasks.create_task(_keep(config, store, stop, diary)),
                ]
                if not opening.is_late:
                    _say("ready")
                try:
                    await _ingest(ingest, stop)
                finally:  # they use the store, which is closed next
                    for task in others:
                        task.cancel()
                    await asyncio.gather(*others, return_exceptions=True)
                server.should_exit = True


async def _open(opening: Opening, stop: asyncio.Event) -> Store:
    """The store, when it can be opened. Says `ready waiting` when that does not come at once. Raises StoreError when it
    is told to stop before."""
    store, stopped = asyncio.ensure_future(opening.store()), asyncio.ensure_future(stop.wait())
    refused = asyncio.ensure_future(opening.refused.wait())
    try:
        await asyncio.wait((store, stopped, refused), timeout=_OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not store.done():
            if opening.trouble is None:
                opening.note(
                    StoreBusy("it is locked, is being migrated, or does not answer", hint="wait, or look at it")
                )
            opening.is_late = True
            _say("ready waiting")
            await asyncio.wait((store, stopped), return_when=asyncio.FIRST_COMPLETED)
        if store.done():
            return store.result()
    finally:
        for waiting in (store, stopped, refused):
            waiting.cancel()
        await asyncio.gather(store, return_exceptions=True)  # a migration that is under way ends first
    raise StoreError(
        "the database was not open until the end",
        hint="nothing is lost: the journal has it, and the next start or `ocproxy flush` goes on",
    )


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def _tell_refusal(config: Config, error: StoreError, diary: Diary) -> None:
    """Loud, because nobody looks for it: everything else goes on."""
    log.warning(
        "the database %s cannot be opened: %s\n  %s\n  Calls are forwarded and kept in the journal; they are stored as"
        " soon as the database is open, which is tried on and on.",
        *(mask(config.store_url), error, error.hint or "`ocproxy doctor` tells how it stands"),
    )
    diary.note(f"the database could not be opened: {error}")


def _refusal(config: Config, trouble: Trouble | None) -> StoreBusy:
    """What is answered to questions that need the database, while it is not open."""
    if trouble is None:
        return StoreBusy("the database is not open yet", hint="ask again in a moment")
    return StoreBusy(
        f"the database {mask(config.store_url)} has not been open since {trouble.since.isoformat()}: {trouble.what}",
        hint=trouble.hint,
    )


async def _lock(config: Config) -> instance.Lock:
    """The ingest lock: two writers would both store, and fight over, the same exchanges."""
    path = config.data_path / instance.INGEST_LOCK
    for _ in range(int(_LOCK_SECONDS / _LOCK_PAUSE)):
        if (lock := instance.Lock.take(path)) is not None:
            return lock
        await asyncio.sleep(_LOCK_PAUSE)
    raise ServerError(
        f"another process has been storing the journal of {config.data_path} for {_LOCK_SECONDS:g} s",
        hint="wait until `ocproxy flush` or `ocproxy rebuild` is done, then start again",
    )


def end_former_workers(config: Config) -> None:
    """End what died in the journals of workers that there are no longer: no relay will open those again."""
    workers = {f"worker-{number}" for number in range(config.server.workers)}
    for folder in list_journals(config.journal_path):
        if folder.name not in workers:
            end_life(folder, config.journal)


@contextmanager
def _listen(running: Running) -> Iterator[socket.socket]:
    """Our place on the port that the supervisor keeps bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((running.control_host, running.control_port))
        listening.listen(_BACKLOG)  # before `ready`: the relay may be asked at once
        yield listening


async def _ingest(ingest: Ingest, stop: asyncio.Event) -> None:
    """Follow until told to stop, then take in what is left."""
    try:
        await ingest.run(stop)
    except StoreError as error:
        raise StoreError(
            f"the database did not take the end of the journal: {error}",
            hint="nothing is lost: the journal has it, and the next start or `ocproxy flush` goes on",
        ) from None


async def watch(ingest: Ingest, diary: Diary) -> None:
    """Keep trouble of the ingest for `ocproxy doctor`, with its beginning and its end."""
    before: str | None = None
    while True:
        now = ingest.trouble.what if ingest.trouble else None
        if now != before:
            said = f"the database did not take records: {now}" if now else "the database takes records again"
            if failure := diary.note(said):
                log.warning("%s", failure)
        before = now
        diary.catch_up()
        await asyncio.sleep(_WATCH_SECONDS)


async def _keep(config: Config, store: Store, stop: asyncio.Event, diary: Diary) -> None:
    """Compress finished segments, remove old ones of what the database has, and tend to the age of what is stored."""
    before: str | None = None
    retention = Retention(config, store)
    while True:
        trouble: str | None = None
        try:
            resumes = {journal: Position.parse(row.resume) for journal, row in (await store.positions()).items()}
            for said in await retention.tend(stop):
                log.warning("%s", said)  # something is gone: that must be seen
            await asyncio.to_thread(keep_journals, config, resumes, stop)
        except StoreError:
            trouble = before  # nothing may be removed without its word; the ingest tells of it
        except JournalError as error:
            trouble = str(error)
        if trouble and trouble != before and (failure := diary.note(trouble)):
            log.warning("%s", failure)
        before = trouble
        await asyncio.sleep(_KEEP_SECONDS)


def keep_journals(config: Config, resumes: dict[str, Position], stop: asyncio.Event) -> None:
    settings, folders = config.journal, list_journals(config.journal_path)
    for folder in folders:
        if settings.compress:
            keeping.compress_sealed(folder, stop=stop.is_set)
        if settings.keep_days or settings.keep_gb:
            keeping.remove_old(
                folder,
                keep_days=settings.keep_days,
                # The bound is for all of them together; each gets an equal part.
                keep_bytes=int(settings.keep_gb * 1e9 / len(folders)),
                ingested_up_to=resumes.get(read_id(folder), Position(0, 0)),
            )


def _facts(config: Config, store: Store | None, trouble: Callable[[], Trouble | None], running: Running) -> Any:
    """What `/api/status` answers. `store` None: it is not open yet, and `trouble` says why."""

    async def facts() -> status.Facts:
        found = await status.gather(config, store)
        found["server"] = msgspec.to_builtins(running)
        now = trouble()
        found["ingest"] = {"trouble": now and now.what, "since": now and now.since.isoformat()}
        if now:
            waits = "the ingest waits for the database" if store else "the database is not open"
            found["problems"].append(
                status.problem(
                    f"{waits} since {now.since.isoformat()}; calls are forwarded and kept in the journal. {now.what}",
                    now.hint or "make the database available again",
                )
            )
        return found

    return facts


class _Desk:
    """The application that answers at the moment: another one when the database is open."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the end of the ingest ends it."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                lifespan="off",
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=_GOODBYE_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


if __name__ == "__main__":
    sys.exit(main())
