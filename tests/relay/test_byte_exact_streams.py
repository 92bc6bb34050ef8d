"""Large bodies, long streams, and any cutting of both: the same bytes come out."""

from __future__ import annotations

import asyncio
import hashlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocproxy.exchange import Kind, Outcome
from tests.support.wire import Peer, read_message, relay, run, upstream

REQUEST = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nhost: HOST\r\nX-Api-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nab\r\n\r\r\n4\r\n\n\r\n\r\r\n0\r\nX-T: 1\r\n\r\n"
)
COUNTED = b"POST /v1/messages HTTP/1.1\r\nhost: HOST\r\nContent-Length: 9\r\n\r\n\r\n\r\nGET /"
RESPONSE = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n\r\n\r\n\r\n\r\n2;e\r\n\r\n\r\n0\r\nX-T: 1\r\n\r\n"
)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n0\r\n\r\n\r\n\r"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(p % len(data) for p in places)})
    return [data[a:b] for a, b in zip(marks, marks[1:], strict=False)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 999), max_size=12), st.lists(st.integers(0, 999), max_size=12), st.booleans())
def test_any_cutting_forwards_the_same_bytes(asked: list[int], answered: list[int], counted: bool) -> None:
    template, response = (COUNTED, PLAIN) if counted else (REQUEST, RESPONSE)
    sent = template.replace(b"HOST", b"a")
    pair, answers = sent + sent, response + response

    async def scenario() -> None:
        async def talk(peer: Peer) -> None:
            expected = template.replace(b"HOST", b"127.0.0.1:%d" % up.port)
            for start in (0, len(response)):
                assert await peer.read(len(expected)) == expected
                await peer.send(*cut(answers[start : start + len(response)], answered))

        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(*cut(pair, asked))  # both requests at once: pipelined
            assert await client.read(len(answers)) == answers
            await proxy.ended(2)
            for number in proxy.journal.exchanges():
                body = template.partition(b"\r\n\r\n")[2]
                assert proxy.journal.bytes_of(Kind.REQUEST_BYTES, number) == body
                heads = proxy.journal.bytes_of(Kind.RESPONSE_HEAD, number)
                assert heads + proxy.journal.bytes_of(Kind.RESPONSE_BYTES, number) == response
            assert {proxy.journal.ended(at).outcome for at in (0, 1)} == {Outcome.COMPLETE}

    run(scenario())


def test_ten_megabytes_each_way() -> None:
    body = hashlib.shake_256(b"x").digest(10_000_000)
    head = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def talk(peer: Peer) -> None:
        request = await read_message(peer)
        assert request.endswith(body)
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await peer.writer.drain()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            client.writer.write(head + body)
            await client.read_until()
            assert await client.read(len(body)) == body
            assert proxy.journal.bytes_of(Kind.REQUEST_BYTES) == body
            assert proxy.journal.bytes_of(Kind.RESPONSE_BYTES) == body

    run(scenario())


def test_a_stream_of_100_000_events() -> None:
    event = b'data: {"n": 12345}\r\n\r\n'
    chunk = b"%x\r\n%b\r\n" % (len(event), event)

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        peer.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            peer.writer.write(chunk * 100)
            await peer.writer.drain()
        peer.writer.write(b"0\r\n\r\n")
        await peer.writer.drain()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.read_until()
            whole = chunk * 100_000 + b"0\r\n\r\n"
            assert await client.read(len(whole)) == whole
            assert proxy.journal.bytes_of(Kind.RESPONSE_BYTES) == whole
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


def test_a_slow_client_slows_the_upstream_down() -> None:
    sent = 0

    async def talk(peer: Peer) -> None:
        nonlocal sent
        await read_message(peer)
        peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not peer.writer.transport.is_closing() and sent < 100_000_000:
            peer.writer.write(b"x" * 100_000)
            await peer.writer.drain()
            sent += 100_000

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.read_until()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # reading transports have it
            before = -1
            while sent != before:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.2)
            assert 0 < sent < 60_000_000, "the relay took everything in"

    run(scenario())


def test_a_slow_upstream_slows_the_client_down() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.read_until()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # reading transports have it
        await go_on.wait()

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            sent = 0
            try:
                while sent < 100_000_000:
                    client.writer.write(b"x" * 100_000)
                    await asyncio.wait_for(client.writer.drain(), 0.3)
                    sent += 100_000
            except TimeoutError:
                pass  # nothing is taken any more: that is what is wanted
            go_on.set()
            assert 0 < sent < 60_000_000, "the relay took everything in"

    run(scenario())
