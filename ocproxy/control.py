"""The control process, `python -m ocproxy.control`: migrates, follows the journals, keeps them, answers the API.

Started by the supervisor (contract: `ocproxy.process`); its settings are the msgpack array [Running, Config]. It may
die at any instant: relays do not notice, the journal fills, the next one goes on from the positions in the database.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn

from ocproxy import instance, status
from ocproxy.api.app import build
from ocproxy.config import Config
from ocproxy.errors import JournalError, OcproxyError, ServerError, StoreError
from ocproxy.exchange import Position
from ocproxy.incidents import Diary
from ocproxy.ingest.loop import Ingest
from ocproxy.instance import Running
from ocproxy.journal import end_life, keeping, list_journals
from ocproxy.journal.folder import read_id
from ocproxy.store.base import Store, open_store

log = logging.getLogger(__name__)

# `flush` and `rebuild` hold the ingest lock without a server. They are done in seconds, or a person waits for them.
_LOCK_SECONDS, _LOCK_PAUSE = 30.0, 0.1
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
    with await _lock(config), _listen(running) as listening:
        await asyncio.to_thread(end_former_workers, config)
        async with await open_store(config.store_url) as store:
            ingest = Ingest(
                store,
                config.journal_path,
                batch_calls=config.ingest.batch_calls,
                poll_ms=config.ingest.poll_ms,
                prices=config.prices,
            )
            server = _Server(build(config, store, running.url, _facts(config, store, ingest, running)))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server.serve(sockets=[listening]))
                diary = Diary(config.data_path)
                others = [
                    tasks.create_task(watch(ingest, diary)),
                    tasks.create_task(_keep(config, store, stop, diary)),
                ]
                sys.stdout.write("ready\n")
                sys.stdout.flush()
                await _ingest(ingest, stop)
                for task in others:
                    task.cancel()
                server.should_exit = True


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
        now = ingest.trouble
        if now != before:
            said = f"the database did not take records: {now}" if now else "the database takes records again"
            if failure := diary.note(said):
                log.warning("%s", failure)
        before = now
        diary.catch_up()
        await asyncio.sleep(_WATCH_SECONDS)


async def _keep(config: Config, store: Store, stop: asyncio.Event, diary: Diary) -> None:
    """Compress finished segments and remove old ones, of what the database has."""
    before: str | None = None
    while True:
        await asyncio.sleep(_KEEP_SECONDS)
        try:
            resumes = {journal: Position.parse(row.resume) for journal, row in (await store.positions()).items()}
            await asyncio.to_thread(keep_journals, config, resumes, stop)
            trouble = None
        except StoreError:
            continue  # nothing may be removed without its word; the ingest tells of it
        except JournalError as error:
            trouble = str(error)
        if trouble and trouble != before and (failure := diary.note(trouble)):
            log.warning("%s", failure)
        before = trouble


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


def _facts(config: Config, store: Store, ingest: Ingest, running: Running) -> Any:
    async def facts() -> status.Facts:
        found = await status.gather(config, store)
        found["server"] = msgspec.to_builtins(running)
        found["ingest"] = {"trouble": ingest.trouble}
        if ingest.trouble:
            found["problems"].append(
                status.problem(
                    f"the ingest waits for the database: {ingest.trouble}",
                    "the journal keeps everything meanwhile; make the database available again",
                )
            )
        return found

    return facts


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
