"""Requests that two servers could read differently get 400, are recorded as refused, and reach no upstream."""

from __future__ import annotations

import pytest

from ocproxy.exchange import Kind, Outcome
from tests.support.wire import Peer, read_message, relay, run, upstream

HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

HEADS = {
    "CL and TE": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "CL twice": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "conflicting CL": HEAD + b"Content-Length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "CL list": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "CL with sign": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "negative CL": HEAD + b"Content-Length: -3\r\n\r\nabc",
    "CL in hex": HEAD + b"Content-Length: 0x3\r\n\r\nabc",
    "CL with underscore": HEAD + b"Content-Length: 1_0\r\n\r\n0123456789",
    "CL in two words": HEAD + b"Content-Length: 3 3\r\n\r\nabc",
    "empty CL": HEAD + b"Content-Length:\r\n\r\n",
    "CL beyond all bounds": HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n",
    "CL in other digits": HEAD + b"Content-Length: \xb2\r\n\r\nab",
    "TE twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE chunked not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "TE identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "TE nearly chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE with control": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "empty TE": HEAD + b"Transfer-Encoding:\r\n\r\n",
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"GET /v1/messages HTTP/1.1\nHost: h\n\n",
    "one bare LF": HEAD + b"X: a\nContent-Length: 3\r\n\r\nabc",
    "bare LF before the end": HEAD + b"X: a\r\n\nGET / HTTP/1.1\r\n\r\n",
    "bare CR": HEAD + b"X: a\rContent-Length: 3\r\n\r\n",
    "folded line": HEAD + b"X: a\r\n b\r\n\r\n",
    "folded first line": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "space before colon": HEAD + b"Content-Length : 3\r\n\r\nabc",
    "tab before colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": HEAD + b"X: a\0b\r\n\r\n",
    "NUL in a name": HEAD + b"X\0: a\r\n\r\n",
    "line without colon": HEAD + b"Content-Length\r\n\r\n",
    "empty name": HEAD + b": a\r\n\r\n",
    "no Host": b"GET /v1/messages HTTP/1.1\r\n\r\n",
    "two Hosts": HEAD + b"Host: other\r\n\r\n",
    "HTTP/0.9": b"GET /v1/messages\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "RTSP": b"DESCRIBE / RTSP/1.0\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "control in the target": b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    "another server": b"GET http://evil.example/v1/messages HTTP/1.1\r\nHost: h\r\n\r\n",
    "another server by https": b"GET https://localhost/v1/messages HTTP/1.1\r\nHost: h\r\n\r\n",
    "no path": b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "Connection names the length": HEAD + b"Connection: close, Content-Length\r\nContent-Length: 3\r\n\r\nabc",
    "Connection names Host": HEAD + b"Connection: host\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
BODIES = {
    "bad chunk size": b"g\r\nabc\r\n0\r\n\r\n",
    "signed chunk size": b"+3\r\nabc\r\n0\r\n\r\n",
    "prefixed chunk size": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space behind the chunk size": b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk size beyond all bounds": b"fffffffffffffffff\r\n",
    "chunk size ends in LF": b"3\nabc\r\n0\r\n\r\n",
    "chunk ends in LF": b"3\r\nabc\n0\r\n\r\n",
    "chunk longer than told": b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk without end": b"3\r\nabc0\r\n\r\n",
    "bare LF in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;\0\r\nabc\r\n0\r\n\r\n",
    "trailer with a length": b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer with an encoding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer ends in LF": b"0\r\nX: y\n\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "last line ends in LF": b"0\r\n\n",
}


async def silent(peer: Peer) -> None:
    await peer.read_all()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "by byte"])
def test_an_ambiguous_head_is_refused(name: str, by_byte: bool) -> None:
    async def scenario() -> None:
        async with upstream(silent) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            request = HEADS[name]
            got = await client.ask(request) if not by_byte else await by_bytes(client, request)
            assert got.startswith(b"HTTP/1.1 400 "), got
            assert b'"ocproxy: ' in got
            assert got.count(b"HTTP/1.1 4") == 1, "more than one response"
            assert not up.peers, "it reached the upstream"
            assert proxy.journal.ended().outcome == Outcome.REFUSED
            kinds = (Kind.RESPONSE_HEAD, Kind.RESPONSE_BYTES)
            assert b"".join(r.payload for r in proxy.journal.records if r.kind in kinds) == got

    run(scenario())


async def by_bytes(client: Peer, request: bytes) -> bytes:
    try:
        await client.send(*[request[i : i + 1] for i in range(len(request))])
    except ConnectionError:
        pass  # refused before it was all sent
    return await client.read_all()


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("apart", [False, True], ids=["with the head", "apart"])
def test_a_broken_body_is_refused_and_cut_off(name: str, apart: bool) -> None:
    async def scenario() -> None:
        async with upstream(silent) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(*([CHUNKED, BODIES[name]] if apart else [CHUNKED + BODIES[name]]))
            got = await client.read_all()
            assert got.startswith(b"HTTP/1.1 400 "), got
            assert proxy.journal.ended().outcome == Outcome.REFUSED
            for peer in up.peers:
                assert BODIES[name] not in peer.received

    run(scenario())


def test_a_request_hidden_in_a_body_is_no_request() -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    heads = []

    async def talk(peer: Peer) -> None:
        heads.append(await read_message(peer))
        await peer.send(ok)
        await silent(peer)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden)
            assert await client.read(len(ok)) == ok
            assert len(heads) == 1 and heads[0].endswith(hidden)
            assert len(proxy.journal.exchanges()) == 1

    run(scenario())


@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
def test_a_body_behind_an_ignored_upgrade_stays_a_body(body: bytes) -> None:
    """llhttp stops at an upgrade; the body must neither be lost nor become the next request."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    seen = []

    async def talk(peer: Peer) -> None:
        for _ in range(2):
            seen.append(await read_message(peer))
            await peer.send(ok)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            upgrade = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n" + body
            for _ in range(2):
                await client.send(upgrade)
                assert await client.read(len(ok)) == ok
            host = b"Host: 127.0.0.1:%d" % up.port
            assert seen == [HEAD.replace(b"Host: h", host) + body] * 2

    run(scenario())


def test_a_head_beyond_64_kib_gets_431() -> None:
    async def scenario() -> None:
        async with upstream(silent) as up, relay(up.port) as proxy:
            for end in (b"", b"\r\n\r\n"):
                client = await proxy.connect()
                got = await client.ask(HEAD + b"X: " + b"a" * 66000 + end)
                assert got.startswith(b"HTTP/1.1 431 ")
            assert proxy.journal.ended().outcome == Outcome.REFUSED

    run(scenario())


def test_a_head_just_within_64_kib_passes() -> None:
    ok = b"HTTP/1.1 200 OK\r\nX: " + b"b" * 65000 + b"\r\nContent-Length: 0\r\n\r\n"

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(ok)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(HEAD + b"X: " + b"a" * 65000 + b"\r\nContent-Length: 0\r\n\r\n")
            assert await client.read(len(ok)) == ok

    run(scenario())


def test_the_credentials_of_a_refused_head_stay_off_the_disk() -> None:
    async def scenario() -> None:
        async with upstream(silent) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.ask(
                b"GET /?key=SECRET1 HTTP/1.1\nAuthorization : Bearer SECRET2\n X: y\n"
                b"\tx-api-key: SECRET3\r\n SECRET4\r\nCookie:SECRET5\r\n\r\n"
            )
            assert b"SECRET" not in b"".join(record.payload for record in proxy.journal.records)

    run(scenario())


BAD_RESPONSES = {
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL twice": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_a_response_that_is_none_becomes_502(name: str) -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(BAD_RESPONSES[name])
        await silent(peer)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            got = await client.ask(HEAD + b"Content-Length: 0\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 502 "), got
            assert proxy.journal.ended().outcome == Outcome.UPSTREAM_DISCONNECTED

    run(scenario())


def test_bytes_beyond_a_response_do_not_reach_the_client() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(ok + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await silent(peer)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            for turn in range(2):
                await client.send(HEAD + b"Content-Length: 0\r\n\r\n")
                assert await client.read(len(ok)) == ok
                await proxy.ended(turn + 1)
            assert len(up.peers) == 2, "a connection that said too much was used again"

    run(scenario())
