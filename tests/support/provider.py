"""The scripted provider in a thread of its own, for tests that drive child processes and look at what it saw."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ocproxy.demo.provider import Provider
from ocproxy.demo.reply import compose
from ocproxy.demo.script import Script, Step, text_of

# Sizes of pieces that cut lines, UTF-8 and compressed blocks anywhere.
_ODD = (1, 2, 3, 5, 7, 11, 64, 301)


class Awkward(Provider):
    """Gzips its streams and cuts them at odd places."""

    more_headers = "Content-Encoding: gzip\r\n"

    def cut(self, stream: Iterable[bytes]) -> Iterable[bytes]:
        packer = zlib.compressobj(wbits=31)
        packed = b"".join(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in stream)
        packed += packer.flush()
        sizes, at = itertools.cycle(_ODD), 0
        while at < len(packed):
            size = next(sizes)
            yield packed[at : at + size]
            at += size


class Summarising(Provider):
    """Also answers requests for a summary of the conversation (compaction); the summary goes on with `goes_on`."""

    goes_on = ""

    def reply_to(self, request: dict[str, Any]) -> dict[str, Any] | None:
        asked: dict[str, Any] = next((m for m in reversed(request["messages"]) if m["role"] == "user"), {})
        if "<summary>" not in text_of(asked):
            return super().reply_to(request)
        step = Step(text=f"<analysis>Thought over.</analysis>\n<summary>\n{SUMMARY} {self.goes_on}\n</summary>")
        return compose(request, Script("compact", (step,)), 0, step)


SUMMARY = "A file was read and one was written."


@contextmanager
def provider_in_background(
    scripts: Iterable[Script], *, pace: float = 0.0, manners: Callable[..., Provider] = Provider
) -> Iterator[Provider]:
    """A listening provider; its `log` may be read from any thread."""
    provider = manners(scripts, pace=pace)
    listening = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def live() -> None:
        async with provider.serve():
            listening.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(live())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert listening.wait(10), "the scripted provider does not listen"
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive(), "the scripted provider does not end"


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    """Looks every 20 ms. Fails with `what` when it does not come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for: {what}"
        time.sleep(0.02)
