"""Exchanges that a dead relay left open are told even where no relay comes back to its journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ocproxy.config import Config, Journal, Server
from ocproxy.control import end_former_workers
from ocproxy.ingest.ending import end_left_open
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import end_life
from ocproxy.service.flush import flush
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Relay, assistant, user
from tests.support.engines import sqlite_file

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        yield store


def die(root: Path, worker: int = 0) -> None:
    """A relay that is gone in the middle of an exchange; what it wrote is there, its lock is free."""
    relay = Relay(root / f"worker-{worker}")
    relay.call([user("whole")], assistant("done"), session=f"whole-{worker}")
    relay.begin([user("cut")], session=f"cut-{worker}")
    relay.close()


async def outcomes(store: Store) -> list[str]:
    return sorted(call.outcome for call in await store.calls())


async def test_flush_without_a_server_ends_them_and_once_only(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path))
    die(config.journal_path)
    assert (await flush(config, 10)).calls == 2
    segments = sorted((config.journal_path / "worker-0").glob("*.seg"))
    assert (await flush(config, 10)).calls == 0
    assert sorted((config.journal_path / "worker-0").glob("*.seg")) == segments
    async with await open_store(config.store_url) as store:
        assert await outcomes(store) == ["complete", "recorder_died"]


async def test_a_server_with_fewer_workers_ends_those_of_the_others_before_it_serves(
    tmp_path: Path, store: Store
) -> None:
    config = Config(data_dir=str(tmp_path), server=Server(workers=1))
    die(config.journal_path, 0)
    die(config.journal_path, 1)
    end_former_workers(config)
    end_former_workers(config)  # a second start finds nothing to end
    assert len(list((config.journal_path / "worker-1").glob("*.seg"))) == 2
    assert len(list((config.journal_path / "worker-0").glob("*.seg"))) == 1, "its relay does that itself"
    await Ingest(store, config.journal_path).catch_up()
    assert await outcomes(store) == ["complete", "complete", "recorder_died"]


async def test_what_a_living_relay_has_open_is_left_alone(tmp_path: Path, store: Store) -> None:
    relay = Relay(tmp_path / "journal" / "worker-0")
    number = relay.begin([user("slow")], session="one")
    await Ingest(store, tmp_path / "journal").catch_up()
    assert await end_left_open(store, tmp_path / "journal", Journal()) == 0
    assert not end_life(tmp_path / "journal" / "worker-0", Journal())
    relay.finish(number, assistant("done"))
    await Ingest(store, tmp_path / "journal").catch_up()
    assert await outcomes(store) == ["complete"]
    relay.close()
