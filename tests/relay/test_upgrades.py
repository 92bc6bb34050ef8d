"""After a 101 both directions are opaque, forwarded and recorded."""

from __future__ import annotations

import pytest

from ocproxy.exchange import Kind, Outcome
from tests.support.wire import Peer, relay, replies, run, upstream

REQUEST = (
    b"GET /v1/responses HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection: Upgrade\r\nX: 1\r\n\r\n"


@pytest.mark.parametrize("early", [b"", b"\x81\x02hi"], ids=["late", "early bytes"])
def test_a_tunnel_carries_bytes_both_ways(early: bytes) -> None:
    async def talk(peer: Peer) -> None:
        head = await peer.read_until()
        assert b"\r\nUpgrade: websocket\r\n" in head and head.endswith(b"\r\nConnection: Upgrade\r\n\r\n")
        await peer.send(SWITCH + b"\x00server first\r\n\r\n")
        if early:
            assert await peer.read(len(early)) == early
        assert await peer.read(9) == b"GET / \r\n\x00"
        await peer.send(b"\xff" * 300_000, b"last")
        await peer.read_all()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port, up.port) as proxy:
            client = await proxy.connect()
            await client.send(REQUEST + early)
            assert await client.read_until() == SWITCH
            assert await client.read(16) == b"\x00server first\r\n\r\n"[:16]
            await client.send(b"GET / \r\n\x00")
            await client.read_until(b"last")
            client.send_eof()
            assert await client.read_all() == b""
            await proxy.ended()
            journal = proxy.journal
            assert journal.ended().outcome == Outcome.COMPLETE
            assert journal.bytes_of(Kind.CLIENT_BYTES) == early + b"GET / \r\n\x00"
            assert journal.bytes_of(Kind.SERVER_BYTES) == b"\x00server first\r\n\r\n" + b"\xff" * 300_000 + b"last"
            assert journal.bytes_of(Kind.RESPONSE_HEAD) == SWITCH

    run(scenario())


def test_half_a_tunnel_may_close_before_the_other() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_until()
        await peer.send(SWITCH, b"over")
        peer.send_eof()
        assert await peer.read_all() == b"still here"

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port, up.port) as proxy:
            client = await proxy.connect()
            await client.send(REQUEST)
            await client.read_until()
            assert await client.read_all() == b"over"
            await client.send(b"still here")
            client.send_eof()
            await proxy.ended()
            assert proxy.journal.bytes_of(Kind.CLIENT_BYTES) == b"still here"
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


def test_a_refused_upgrade_is_a_plain_response() -> None:
    refused = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h3\r\nContent-Length: 0\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> None:
        async with upstream(replies(refused, ok)) as up, relay(up.port, up.port) as proxy:
            client = await proxy.connect()
            await client.send(REQUEST)
            assert await client.read(len(refused)) == refused
            await client.send(b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert await client.read(len(ok)) == ok
            assert len(up.peers) == 1

    run(scenario())
