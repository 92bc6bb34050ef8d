"""TLS to the upstream: verified, with the system's CAs or a file of one's own."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ocproxy.errors import ConfigError
from ocproxy.exchange import Outcome
from tests.support.wire import Peer, read_message, relay, run, upstream

FILES = Path(__file__).parent.parent / "support" / "tls"  # made for tests, valid for a hundred years
GET = b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem")
    return context


async def talk(peer: Peer) -> None:
    for _ in range(2):
        await read_message(peer)
        await peer.send(OK)


def test_an_upstream_with_a_ca_of_ones_own_is_reached() -> None:
    async def scenario() -> None:
        async with upstream(talk, tls=server_context()) as up:
            url = f"https://localhost:{up.port}"
            async with relay(up.port, url=url, ca_file=str(FILES / "ca.pem")) as proxy:
                client = await proxy.connect()
                for _ in range(2):
                    await client.send(GET)
                    assert await client.read(len(OK)) == OK
                assert len(up.peers) == 1

    run(scenario())


@pytest.mark.parametrize(
    ("host", "ca_file"), [("localhost", ""), ("127.0.0.2", str(FILES / "ca.pem"))], ids=["unknown CA", "another name"]
)
def test_an_upstream_that_cannot_prove_itself_gets_nothing(host: str, ca_file: str) -> None:
    async def scenario() -> None:
        async with upstream(talk, tls=server_context()) as up:
            async with relay(up.port, url=f"https://{host}:{up.port}", ca_file=ca_file) as proxy:
                client = await proxy.connect()
                got = await client.ask(GET)
                assert got.startswith(b"HTTP/1.1 502 ")
                assert proxy.journal.ended().outcome == Outcome.UPSTREAM_UNREACHABLE
                assert not any(peer.received for peer in up.peers)

    run(scenario())


def test_a_ca_file_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")

    async def scenario() -> None:
        with pytest.raises(ConfigError, match="x.pem"):
            async with relay(1, url="https://localhost:1", ca_file=str(tmp_path / "x.pem")):
                pass

    run(scenario())
