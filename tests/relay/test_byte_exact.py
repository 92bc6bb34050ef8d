"""What upstream and client got, compared byte for byte with what was sent; the journal holds the same."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from ocproxy.exchange import Kind, Outcome
from tests.support.wire import Peer, read_message, relay, replies, run, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVENTS = b"event: ping\ndata: {}\n\n"
ZSTD = zstandard.compress(b'{"model": "m"}' * 20)
GZIP = gzip.compress(b"data: x\n\n" * 50)

POST = b"POST /v1/messages HTTP/1.1\r\nHost: HOST\r\n"
GET = b"GET /v1/messages HTTP/1.1\r\nHost: HOST\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# What the client sends; HOST stands where the relay puts the upstream's.
REQUESTS = {
    "odd case and order": b"POST /v1/messages HTTP/1.1\r\nZ: 1\r\nhOsT: HOST\r\ncOnTeNt-LeNgTh: 2\r\nA: 2\r\n\r\nhi",
    "duplicates": POST + b"X-A: 1\r\nContent-Length: 2\r\nX-A: 2\r\nx-a: 1\r\nX-A: 1\r\n\r\nhi",
    "odd spaces": GET + b"X-A:1\r\nX-B:   2  \r\nX-C:\t3\t\r\nX-D:\r\n\r\n",
    "latin bytes": GET + b"X-A: \xe4\xf6\xff\r\n\r\n",
    "zstd body": POST + b"Content-Encoding: zstd\r\nContent-Length: %d\r\n\r\n" % len(ZSTD) + ZSTD,
    "chunk extensions": CHUNKED + b'3;a=b;c="d e"\r\nabc\r\n0002\r\nde\r\n0;last\r\n\r\n',
    "trailers": POST + b"Trailer: X-T\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\nx-t:2\r\n\r\n",
    "CRLFs in chunks": CHUNKED + b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
    "unknown path": b"PUT /what/ever;x=1?a=%20&&b HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n",
    "odd method": b"PROPFIND /x HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "TE trailers": GET + b"TE: trailers\r\n\r\n",
    "hop-by-hop": GET + b"Connection: keep-alive, X-Own\r\nX-Own: 1\r\nKeep-Alive: 5\r\nX-End: 1\r\n\r\n",
    "our own tags": GET + b"X-OCProxy-Session: s1\r\nx-ocproxy-title: t\r\nX-Ocproxyx: 1\r\n\r\n",
    "credentials": b"GET /v1/messages?key=SECRET HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer SECRET\r\n\r\n",
}
# Lines that are for one connection only, or for us.
CUT = {
    "hop-by-hop": [b"Connection: keep-alive, X-Own\r\n", b"X-Own: 1\r\n", b"Keep-Alive: 5\r\n"],
    "our own tags": [b"X-OCProxy-Session: s1\r\n", b"x-ocproxy-title: t\r\n"],
}

RESPONSES = {
    "odd case and order": b"HTTP/1.1 200 Fine, Thanks\r\nz-last: 1\r\nCONTENT-length: 2\r\nA-First: 2\r\n\r\nok",
    "duplicates": b"HTTP/1.1 200 OK\r\nSet-Thing: 1\r\nContent-Length: 2\r\nset-thing: 2\r\nSet-Thing: 1\r\n\r\nok",
    "no reason": b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
    "odd status": b"HTTP/1.1 529 Overloaded\r\nContent-Length: 2\r\n\r\nno",
    "one-byte chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"1\r\n%c\r\n" % c for c in EVENTS)
    + b"0\r\n\r\n",
    "chunk extensions and trailers": b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"A;n=1\r\n0123456789\r\n0;end\r\nX-T: 1\r\n\r\n",
    "events with CRLF": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"b\r\ndata: 1\r\n\r\n\r\n" * 9
    + b"0\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP) + GZIP,
    "204": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 99\r\n\r\n',
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK,
    "cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=SECRET\r\nContent-Length: 0\r\n\r\n",
    "426": b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_reaches_the_upstream_as_it_was_sent(name: str) -> None:
    template = REQUESTS[name]
    request = template.replace(b"HOST", b"proxy:1")
    seen: list[bytes] = []

    async def talk(peer: Peer) -> None:
        tail = b"x-t:2\r\n\r\n" if name == "trailers" else b"0;last\r\n\r\n" if name == "chunk extensions" else None
        seen.append(await peer.read_until(tail) if tail else await read_message(peer))
        await peer.send(OK)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(request)
            await client.read_until(b"ok")
            expected = template.replace(b"HOST", b"127.0.0.1:%d" % up.port)
            for line in CUT.get(name, []):
                expected = expected.replace(line, b"", 1)
            assert seen == [expected]
            head, _, body = request.partition(b"\r\n\r\n")
            assert proxy.journal.bytes_of(Kind.REQUEST_BYTES) == body
            if b"SECRET" not in head:
                assert proxy.journal.opened().head == head + b"\r\n\r\n"
            else:
                assert b"SECRET" not in b"".join(record.payload for record in proxy.journal.records)
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("cut", [0, 1, 7], ids=["whole", "by byte", "by seven"])
def test_a_response_reaches_the_client_as_it_was_sent(name: str, cut: int) -> None:
    response = RESPONSES[name]
    pieces = [response[i : i + cut] for i in range(0, len(response), cut)] if cut else [response]

    async def talk(peer: Peer) -> None:
        for _ in range(2):
            await read_message(peer)
            await peer.send(*pieces)

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            for turn in range(2):
                await client.send(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await client.read(len(response)) == response
                await proxy.ended(turn + 1)
            assert len(up.peers) == 1, "the connection was not kept"
            number = proxy.journal.exchanges()[0]
            kinds = (Kind.RESPONSE_HEAD, Kind.RESPONSE_BYTES)
            kept = b"".join(r.payload for r in proxy.journal.records if r.exchange == number and r.kind in kinds)
            assert kept == response or b"SECRET" in response and b"SECRET" not in kept
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


def test_a_response_to_head_has_no_body_whatever_its_length_says() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"

    async def scenario() -> None:
        async with upstream(replies(head, OK)) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(b"HEAD /api/hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await client.read(len(head)) == head
            await client.send(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await client.read(len(OK)) == OK
            assert len(up.peers) == 1

    run(scenario())


def test_each_interim_response_is_a_record_of_its_own() -> None:
    async def scenario() -> None:
        async with upstream(replies(RESPONSES["interim"])) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            await client.send(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.read_until(b"ok")
            heads = [r.payload for r in proxy.journal.records if r.kind == Kind.RESPONSE_HEAD]
            assert [head[9:12] for head in heads] == [b"103", b"102", b"200"]

    run(scenario())


def test_an_interim_response_is_kept_from_an_http_1_0_client() -> None:
    async def scenario() -> None:
        async with upstream(replies(RESPONSES["interim"])) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            got = await client.ask(b"GET /v1/messages HTTP/1.0\r\n\r\n")
            assert got == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            assert bytes(up.peers[0].received) == b"GET /v1/messages HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % up.port

    run(scenario())


def test_a_response_without_framing_ends_with_the_connection() -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"one ", b"two")

    async def scenario() -> None:
        async with upstream(talk) as up, relay(up.port) as proxy:
            client = await proxy.connect()
            got = await client.ask(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
            assert got == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none two"
            assert proxy.journal.ended().outcome == Outcome.COMPLETE

    run(scenario())


def test_only_the_prefix_of_the_path_changes() -> None:
    seen: list[bytes] = []

    async def scenario() -> None:
        async with upstream(replies(OK, OK, OK, seen=seen)) as up:
            async with relay(up.port, url=f"http://127.0.0.1:{up.port}/base/") as proxy:
                client = await proxy.connect()
                for target in (b"/run/my%20run/v1/messages?beta=true", b"/anthropic/v1/x//y?", b"/run/r/anthropic/a"):
                    await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
                    await client.read_until(b"ok")
                targets = [request.split(b" ")[1] for request in seen]
                assert targets == [b"/base/v1/messages?beta=true", b"/base/v1/x//y?", b"/base/a"]
                assert [proxy.journal.opened(at).run for at in range(3)] == ["my run", None, "r"]
                assert proxy.journal.opened().target == "/base/v1/messages?beta=true"

    run(scenario())
