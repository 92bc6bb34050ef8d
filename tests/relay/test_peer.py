"""A half-closed socket is told from a closed one, quickly."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ocproxy.relay.peer import still_waits

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    family, host = request.param
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        with socket.socket(family) as client:
            client.connect(listening.getsockname())
            served, _ = listening.accept()
            with served:
                yield client, served


def waits(served: socket.socket) -> bool:
    return still_waits(served.getpeername(), served.getsockname())


def test_a_half_closed_peer_still_waits(pair: Pair) -> None:
    client, served = pair
    client.shutdown(socket.SHUT_WR)
    assert served.recv(1) == b""
    assert waits(served)


def test_a_closed_peer_does_not(pair: Pair) -> None:
    client, served = pair
    client.close()
    assert served.recv(1) == b""
    assert not waits(served)


def test_an_answer_about_a_stranger_is_no() -> None:
    assert not still_waits(("192.0.2.1", 1), ("192.0.2.2", 2))
    assert not still_waits("/a/unix/socket", None)
    assert not still_waits(None, None)


def test_asking_costs_no_time(pair: Pair) -> None:
    """A thousand clients may go at once, while others wait for their next event."""
    with closing(pair[0]):
        start = time.perf_counter()
        for _ in range(100):
            assert waits(pair[1])
        assert (time.perf_counter() - start) / 100 < 0.005
