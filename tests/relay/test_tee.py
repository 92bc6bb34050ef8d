"""Written before forwarded; strict mode holds back; a journal that cannot be written is told or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Kind, Outcome
from ocproxy.relay.client import ClientConnection
from ocproxy.relay.tee import AT_ONCE, Tee
from tests.support.wire import MemoryJournal, Peer, Relay, read_message, relay, replies, run, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def turns(count: int = 30) -> None:
    """Let the loop turn: whatever can happen without the outside happens."""
    for _ in range(count):
        await asyncio.sleep(0.001)


@pytest.mark.interpreted
def test_every_byte_is_recorded_before_it_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.read_until(b"ok")
            connection = next(iter(proxy.station.clients))
            commit, send = proxy.journal.commit, connection.send

            def committing() -> bool:
                order.append("commit " + " ".join(Kind(r.kind).name for r in proxy.journal._pending))
                return commit()

            proxy.journal.commit = committing  # type: ignore[method-assign]  # watched

            def sending(_: object, data: bytes) -> None:
                order.append("send")
                send(data)

            with monkeypatch.context() as watched:
                watched.setattr(ClientConnection, "send", sending)
                await client.send(POST)
                await client.read(len(OK))
            assert order == ["commit OPENED REQUEST_BYTES", "commit RESPONSE_HEAD RESPONSE_BYTES ENDED", "send"]

    run(scenario())


def test_one_turn_is_one_write() -> None:
    async def scenario() -> None:
        async with upstream(replies(STREAM + b"1\r\na\r\n" * 50 + b"0\r\n\r\n")) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(POST)
            await client.read_until(b"0\r\n\r\n")
            assert proxy.journal.commits == 2

    run(scenario())


class Someone:
    """An exchange that queues."""

    number = 1

    def refuse_unrecorded(self) -> None:
        raise AssertionError("nothing is refused here")

    def fail(self) -> None:
        raise AssertionError("nothing fails here")


def test_pieces_of_many_streams_do_not_wait_for_the_end_of_the_turn() -> None:
    async def scenario() -> None:
        journal, someone = MemoryJournal(), Someone()
        tee = Tee(journal, Journal(), asyncio.get_running_loop())
        sent: list[tuple[int, int]] = []  # what, and how many records were written by then

        def send(piece: int) -> None:
            sent.append((piece, len(journal.records)))

        for piece in range(2 * AT_ONCE + 1):
            tee.append(Kind.RESPONSE_BYTES, someone.number, b"x")
            tee.forward_soon(someone, send, piece)
        first, second = [(n, AT_ONCE) for n in range(AT_ONCE)], [(n, 2 * AT_ONCE) for n in range(AT_ONCE, 2 * AT_ONCE)]
        assert sent == first + second, "written before forwarded, and in their order"
        await asyncio.sleep(0)
        assert sent[2 * AT_ONCE :] == [(2 * AT_ONCE, 2 * AT_ONCE + 1)], "the end of the turn takes the rest"

    run(scenario())


def test_whole_messages_wait_for_the_end_of_the_turn() -> None:
    async def scenario() -> None:
        journal, someone = MemoryJournal(), Someone()
        tee = Tee(journal, Journal(), asyncio.get_running_loop())
        sent: list[int] = []
        for piece in range(4 * AT_ONCE):
            tee.forward(someone, sent.append, piece)
        assert not sent
        await asyncio.sleep(0)
        assert sent == [*range(4 * AT_ONCE)] and journal.commits == 1

    run(scenario())


def test_strict_mode_forwards_a_request_only_when_it_is_synced() -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port, journal=Journal(mode="strict")) as proxy:
            proxy.journal.hold_syncs = True
            client = await proxy.connect()
            await client.send(POST)
            await turns()
            assert not up.peers and proxy.journal.exchanges()
            proxy.journal.release()
            await up.arrived.wait()
            await until(lambda: bool(proxy.journal.bytes_of(Kind.RESPONSE_BYTES)))
            await turns()
            assert not unread(client), "the end was sent before it was synced"
            proxy.journal.release()
            assert await client.read(len(OK)) == OK

    run(scenario())


def test_strict_mode_holds_back_only_the_end_of_a_stream() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(STREAM + b"1\r\na\r\n")
        await go_on.wait()
        await peer.send(b"0\r\n\r\n")

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port, journal=Journal(mode="strict")) as proxy:
            client = await proxy.connect()
            await client.send(POST)
            await client.read_until(b"a\r\n")
            proxy.journal.hold_syncs = True
            go_on.set()
            await proxy.ended()
            await turns()
            assert not unread(client)
            proxy.journal.release()
            assert await client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"

    run(scenario())


def test_strict_mode_keeps_the_order_of_many_pieces() -> None:
    body = bytes(range(256)) * 8

    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port, journal=Journal(mode="strict")) as proxy:
            client = await proxy.connect()
            await client.send(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
            await client.send(*[body[i : i + 64] for i in range(0, len(body), 64)])
            assert await client.read(len(OK)) == OK
            assert bytes(up.peers[0].received).endswith(body)

    run(scenario())


def test_a_large_upload_waits_for_the_syncs() -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port, journal=Journal(mode="strict")) as proxy:
            proxy.journal.hold_syncs = True
            client = await proxy.connect()
            client.writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
            client.writer.write(b"x" * 30_000_000)
            before = -1
            while (taken := len(b"".join(r.payload for r in proxy.journal.records))) != before:
                before = taken
                await asyncio.sleep(0.1)
            assert 0 < taken < 5_000_000
            proxy.journal.hold_syncs = False
            proxy.journal.release()
            assert await client.read(len(OK)) == OK

    run(scenario())


def test_a_journal_that_cannot_be_written_does_not_stop_traffic() -> None:
    async def scenario() -> None:
        async with upstream(replies(OK, OK)) as up, relay(up.port) as proxy:
            proxy.journal.broken = True
            client = await proxy.connect()
            await client.send(POST)
            assert await client.read(len(OK)) == OK
            assert not proxy.journal.records
            proxy.journal.broken = False
            await client.send(POST)
            assert await client.read(len(OK)) == OK
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


def unread(client: Peer) -> bytes:
    return bytes(client.reader._buffer)  # type: ignore[attr-defined]  # there is no other way to look without waiting


async def refuse_one(proxy: Relay, request: bytes) -> bytes:
    client = await proxy.connect()
    got = await client.ask(request)
    assert got.startswith(b"HTTP/1.1 503 ") and b"on_full is refuse" in got
    return got


def test_refuse_answers_503_and_forwards_nothing() -> None:
    async def scenario() -> None:
        async with upstream(replies(OK, OK)) as up, relay(up.port, journal=Journal(on_full="refuse")) as proxy:
            proxy.journal.broken = True
            await refuse_one(proxy, POST)
            got = await refuse_one(proxy, POST)
            assert b'{"type":"error"' in got
            assert not up.peers
            proxy.journal.broken = False
            proxy.journal.commit()
            client = await proxy.connect()
            await client.send(POST)
            assert await client.read(len(OK)) == OK

    run(scenario())


def test_refuse_breaks_a_running_response_off() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(STREAM + b"1\r\na\r\n")
        await go_on.wait()
        await peer.send(b"1\r\nb\r\n")
        await peer.read_all()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port, journal=Journal(on_full="refuse")) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            await client.read_until(b"a\r\n")
            proxy.journal.broken = True
            go_on.set()
            with pytest.raises(ConnectionResetError):
                assert await client.read_all() == b""

    run(scenario())


def test_the_control_process_is_reached_whatever_the_journal_does() -> None:
    async def scenario() -> None:
        settings = Journal(mode="strict", on_full="refuse")
        async with upstream(replies(OK)) as control:
            async with relay(1, journal=settings, control=f"127.0.0.1:{control.port}") as proxy:
                proxy.journal.broken = proxy.journal.hold_syncs = True
                client, agent = await proxy.connect(), await proxy.connect()
                await agent.send(POST)  # in the same turn as a request that is refused
                await client.send(b"GET /api/doctor HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await client.read(len(OK)) == OK

    run(scenario())


def test_the_control_process_waits_for_no_sync() -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as control:
            async with relay(1, journal=Journal(mode="strict"), control=f"127.0.0.1:{control.port}") as proxy:
                proxy.journal.hold_syncs = True
                client = await proxy.connect()
                await client.send(b"GET /api/doctor HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await client.read(len(OK)) == OK

    run(scenario())


def test_a_connection_with_a_request_half_sent_is_not_used_again() -> None:
    """The upstream answered before it had the body, which still waits for its sync: it would take the next request's
    head for that body."""
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.read_until()
        if peer.received.startswith(b"PUT"):
            await go_on.wait()
            await peer.send(OK)
            await peer.read_all()
        else:
            await peer.send(OK)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port, journal=Journal(mode="strict")) as proxy:
            client = await proxy.connect()
            await client.send(b"PUT /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            await up.arrived.wait()
            proxy.journal.hold_syncs = True
            await client.send(b"hello")
            await until(lambda: proxy.journal.bytes_of(Kind.REQUEST_BYTES) == b"hello")
            go_on.set()
            await proxy.ended()
            proxy.journal.hold_syncs = False
            proxy.journal.release()
            assert await client.read(len(OK)) == OK
            await client.send(GET)
            assert await client.read(len(OK)) == OK
            assert len(up.peers) == 2 and bytes(up.peers[1].received).startswith(b"GET ")

    run(scenario())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
