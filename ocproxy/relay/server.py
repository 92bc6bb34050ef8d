"""One worker: listens, serves, drains."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

from ocproxy.errors import ServerError
from ocproxy.relay.client import accept
from ocproxy.relay.settings import WorkerSettings
from ocproxy.relay.station import Station
from ocproxy.relay.tee import Journal

BACKLOG = 1024  # connections that may wait for accept: a thousand agents that start at once
SWEEP_SECONDS = 1.0  # how often idle connections are looked through, and whether the supervisor is alive


async def serve(settings: WorkerSettings, journal: Journal, supervisor: int) -> None:
    """Serve until SIGTERM or SIGINT, or until the process `supervisor` is no more our parent; then drain. A second
    signal ends the draining. Prints `ready HOST PORT` once connections are accepted. Raises ServerError when the
    address cannot be used."""
    loop = asyncio.get_running_loop()
    station = Station(settings, journal, loop)
    sockets = listen(settings.host, settings.port)
    servers = []
    for listening in sockets:
        host, port = listening.getsockname()[:2]
        station.listen_on(host, port)
        servers.append(await loop.create_server(lambda: accept(station), sock=listening, backlog=BACKLOG))
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told() -> None:
        hurry.set() if stop.is_set() else stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    host, port = sockets[0].getsockname()[:2]
    sys.stdout.write(f"ready {host} {port}\n")
    sys.stdout.flush()
    await _sweep_until(station, stop, supervisor)
    for server in servers:
        server.close()
    await drain(station, hurry)


async def _sweep_until(station: Station, stop: asyncio.Event, supervisor: int) -> None:
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), SWEEP_SECONDS)
        except TimeoutError:
            station.sweep()
            if os.getppid() != supervisor:  # the supervisor died: a new one needs the journal's folder
                stop.set()


async def drain(station: Station, hurry: asyncio.Event) -> None:
    """Close what is idle, let exchanges finish for `drain_seconds`, then break off the rest."""
    station.draining = True
    for client in list(station.clients):
        client.close_if_idle()
    end = station.loop.time() + station.settings.drain_seconds
    while station.clients and not hurry.is_set() and (left := end - station.loop.time()) > 0:
        try:
            await asyncio.wait_for(hurry.wait(), min(left, 0.05))
        except TimeoutError:
            continue
    for client in list(station.clients):
        if client.transfer is not None:
            client.transfer.drained()
        else:
            client.break_off(False)
    station.tee.flush()
    for pool in station.pools.values():
        pool.close()
    await asyncio.sleep(0)  # the loop closes the sockets


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for all addresses of `host`; with SO_REUSEPORT, so that workers share the port. Port 0 is
    chosen once. Raises ServerError."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            listening = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((address[0], port, *address[2:]))
            listening.listen(BACKLOG)
            listening.setblocking(False)
            port = port or listening.getsockname()[1]
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise ServerError(
            f"cannot listen on {host} port {port}: {error}", hint="Choose another with --host and --port."
        ) from None
    return sockets
