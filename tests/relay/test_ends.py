"""How exchanges end: who went away, what the client saw, what was recorded, and which connections are used again."""

from __future__ import annotations

import asyncio

import pytest

from ocproxy.exchange import Kind, Outcome
from ocproxy.relay import client as client_module
from ocproxy.relay import peer as peer_module
from ocproxy.relay import transfer
from ocproxy.relay.transfer import Transfer
from tests.support.wire import Peer, read_message, relay, replies, run, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def silent(peer: Peer) -> None:
    await peer.read_all()


def test_connections_to_the_upstream_are_used_again() -> None:
    async def scenario() -> None:
        async with upstream(replies(*[OK] * 5)) as up, relay(up.port) as proxy:
            for _ in range(5):
                client = await proxy.connect()
                await client.send(GET)
                await client.read_until(b"ok")
            assert len(up.peers) == 1

    run(scenario())


def test_a_connection_that_the_upstream_closes_is_not_used_again() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    async def scenario() -> None:
        async with upstream(replies(closing)) as up, relay(up.port) as proxy:
            for turn in range(2):
                client = await proxy.connect()
                await client.send(GET)
                assert await client.read(len(OK)) == OK
                await proxy.ended(turn + 1)
            assert len(up.peers) == 2

    run(scenario())


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_a_stale_connection_is_tried_again_once_on_a_fresh_one(request_bytes: bytes) -> None:
    served = 0

    async def talk(peer: Peer) -> None:
        nonlocal served
        await read_message(peer)
        await peer.send(OK)
        served += 1
        if served == 1:  # closes when the next request comes, without a byte of an answer
            await peer.read(1)
            peer.reset()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            for turn in range(2):
                await client.send(request_bytes)
                assert await client.read(len(OK)) == OK
                await proxy.ended(turn + 1)
            assert len(up.peers) == 2
            assert bytes(up.peers[1].received).partition(b"\r\n\r\n")[2] == request_bytes.partition(b"\r\n\r\n")[2]
            assert [proxy.journal.ended(at).outcome for at in range(2)] == [Outcome.COMPLETE] * 2
            assert "sent a second time" in proxy.journal.ended(1).detail

    run(scenario())


def test_a_request_that_the_upstream_had_time_to_work_on_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "STALE_SECONDS", 0.0)  # as if the answer's absence had taken long

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(OK)
        await read_message(peer)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(POST)
            assert await client.read(len(OK)) == OK
            await client.send(POST)
            assert (await client.read(12)).endswith(b" 502")
            await proxy.ended(2)
            assert len(up.peers) == 1
            assert proxy.journal.ended(1).outcome is Outcome.UPSTREAM_DISCONNECTED

    run(scenario())


def test_nothing_is_tried_again_once_a_byte_of_the_response_came() -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(OK)
        await peer.read_until()
        await peer.send(b"HTTP/1.1 2")

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            await client.read(len(OK))
            got = await client.ask(GET)
            assert got.startswith(b"HTTP/1.1 502 ") and b"closed the connection before its response" in got
            assert len(up.peers) == 1
            assert proxy.journal.ended(1).outcome == Outcome.UPSTREAM_DISCONNECTED

    run(scenario())


def test_a_fresh_connection_is_not_tried_again() -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            got = await client.ask(POST)
            assert got.startswith(b"HTTP/1.1 502 ")
            assert len(up.peers) == 1

    run(scenario())


def test_an_upstream_that_cannot_be_reached_is_told_in_the_protocols_own_words() -> None:
    async def scenario() -> None:
        async with relay(1) as proxy:
            client = await proxy.connect()
            got = await client.ask(POST)
            head, _, body = got.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 502 Bad Gateway")
            assert body.startswith(b'{"type":"error","error":{"type":"api_error","message":"ocproxy: the upstream')
            assert b"Content-Length: %d" % len(body) in head
            assert proxy.journal.ended().outcome == Outcome.UPSTREAM_UNREACHABLE
            assert proxy.journal.bytes_of(Kind.RESPONSE_BYTES) == body

    run(scenario())


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", b"Content-Length: 99\r\n\r\nhel"])
def test_an_upstream_gone_in_mid_body_gives_no_clean_end(framing: bytes) -> None:
    part = b"HTTP/1.1 200 OK\r\n" + framing

    async def scenario() -> None:
        async with upstream(replies(part)) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            got = b""
            try:
                while piece := await client.reader.read(1000):
                    got += piece
            except ConnectionError:
                pass  # a reset is as good an unclean end
            assert got == part
            ended = proxy.journal.ended()
            assert ended.outcome == Outcome.UPSTREAM_DISCONNECTED and "in the middle" in ended.detail

    run(scenario())


def test_a_reset_in_a_body_without_framing_reaches_the_client_as_a_reset() -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await asyncio.wait_for(seen.wait(), 5)
        peer.writer.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: close by reset
        peer.reset()

    seen = asyncio.Event()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            await client.read_until(b"hello")
            seen.set()
            with pytest.raises(ConnectionResetError):
                await client.read_all()
            assert proxy.journal.ended().outcome == Outcome.UPSTREAM_DISCONNECTED

    run(scenario())


@pytest.mark.parametrize("by_reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("when", ["before the response", "in the response", "in the request"])
def test_a_client_that_goes_cancels_the_upstream_at_once(when: str, by_reset: bool) -> None:
    cancelled = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.read_until()
        if when == "in the response":
            await peer.send(CHUNKED + b"5\r\nhello\r\n")
        try:
            await peer.read_all()
        except ConnectionError:
            pass  # cancelled by a reset
        cancelled.set()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(POST[:-2] if when == "in the request" else GET)
            await up.arrived.wait()
            if when == "in the response":
                await client.read_until(b"hello\r\n")
            if by_reset:
                client.writer.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0
            await client.close()
            await asyncio.wait_for(cancelled.wait(), 3)
            await proxy.ended()
            ended = proxy.journal.ended()
            assert ended.outcome == Outcome.CLIENT_DISCONNECTED
            assert ended.request_complete == (when != "in the request")

    run(scenario())


def test_a_half_closed_client_still_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LOOK_AGAIN", 0.05)
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await go_on.wait()
        await peer.send(OK)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            client.send_eof()
            await asyncio.sleep(0.2)  # it is looked at several times meanwhile
            go_on.set()
            assert await client.read_all() == OK
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


def test_a_half_closed_client_that_cannot_be_looked_at_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "_NETLINK_SOCK_DIAG", 31)  # no such protocol

    async def scenario() -> None:
        async with upstream(silent) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            await up.arrived.wait()
            client.send_eof()
            await proxy.ended()
            assert proxy.journal.ended().outcome == Outcome.CLIENT_DISCONNECTED

    run(scenario())


def test_a_half_closed_client_gets_all_its_pipelined_answers() -> None:
    async def scenario() -> None:
        async with upstream(replies(OK, OK, OK)) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET + POST + GET)
            client.send_eof()
            assert await client.read_all() == OK * 3

    run(scenario())


def test_pipelined_requests_are_answered_in_their_order() -> None:
    first, second = OK.replace(b"ok", b"1!"), OK.replace(b"ok", b"2!")

    async def slow(peer: Peer) -> None:
        await read_message(peer)
        await asyncio.sleep(0.05)
        await peer.send(first)

    async def scenario() -> None:
        async with upstream(slow) as up, upstream(replies(second)) as other, relay(up.port, other.port) as proxy:
            client = await proxy.connect()
            await client.send(POST + b"POST /openai/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert await client.read(2 * len(OK)) == first + second

    run(scenario())


def test_expect_100_continue_passes_through_both_ways() -> None:
    async def talk(peer: Peer) -> None:
        head = await peer.read_until()
        assert b"\r\nExpect: 100-continue\r\n" in head
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.read(5) == b"hello"
        await peer.send(OK)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            head, _, body = POST.partition(b"\r\n\r\n")
            await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert await client.read_until() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert await client.read(len(OK)) == OK
            assert proxy.journal.ended().request_complete

    run(scenario())


def test_an_early_response_reaches_the_client_and_ends_the_connection() -> None:
    refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"

    async def talk(peer: Peer) -> None:
        await peer.read_until()
        await peer.send(refused)
        await silent(peer)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"
            await client.send(head + b"x" * 1000)
            assert await client.read_all() == refused.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            ended = proxy.journal.ended()
            assert ended.outcome == Outcome.COMPLETE and not ended.request_complete

    run(scenario())


def test_a_response_that_begins_early_goes_on_while_the_request_does() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_until()
        await peer.send(CHUNKED + b"1\r\na\r\n")
        assert await peer.read(5) == b"hello"
        await peer.send(b"0\r\n\r\n")

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(POST[:-5])
            await client.read_until(b"a\r\n")
            await client.send(b"hello")
            assert await client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
            ended = proxy.journal.ended()
            assert ended.outcome == Outcome.COMPLETE and ended.request_complete

    run(scenario())


@pytest.mark.parametrize("rest", [b"1.0\r\n", b"1.1\r\nConnection: close\r\n"])
def test_a_client_that_asks_for_the_end_of_its_connection_gets_it(rest: bytes) -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            got = await client.ask(b"POST /v1/messages HTTP/" + rest + b"Host: x\r\nContent-Length: 2\r\n\r\nhi")
            assert got == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    run(scenario())


def test_an_upstream_may_think_for_long() -> None:
    """No read timeout: nothing in the relay counts the time until the first byte."""

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await asyncio.sleep(1.5)
        await peer.send(OK)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(GET)
            assert await client.read(len(OK)) == OK

    run(scenario())


@pytest.mark.interpreted
def test_a_fault_of_our_own_costs_one_exchange(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with upstream(replies(OK, OK)) as up, relay(up.port) as proxy:
            bad, good = await proxy.connect(), await proxy.connect()
            with monkeypatch.context() as broken:
                broken.setattr(Transfer, "start", lambda *_: 1 / 0)
                with pytest.raises(ConnectionError):
                    await bad.ask(GET)
            await good.send(GET)
            assert await good.read(len(OK)) == OK
        assert "ZeroDivisionError" in capsys.readouterr().err

    run(scenario())


@pytest.mark.interpreted
def test_a_fault_of_our_own_in_a_response_costs_one_exchange(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port) as proxy:
            bad, good = await proxy.connect(), await proxy.connect()
            with monkeypatch.context() as broken:
                broken.setattr(Transfer, "response_data", lambda *_: 1 / 0)
                with pytest.raises(ConnectionError):
                    await bad.ask(GET)
            await good.send(GET)
            assert await good.read(len(OK)) == OK
            assert "a fault in ocproxy" in proxy.journal.ended().detail
        assert "ZeroDivisionError" in capsys.readouterr().err

    run(scenario())


def test_thousands_of_pipelined_requests_are_answered() -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    async def scenario() -> None:
        async with relay(1) as proxy:
            client = await proxy.connect()
            await client.send(one * 5000 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert (await client.read_all()).count(b"HTTP/1.1 200 OK") == 5001

    run(scenario())
