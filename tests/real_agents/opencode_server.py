"""opencode's own HTTP server, with which a test answers what it asks its user."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.provider import wait_until

Json = dict[str, Any]

_ANSWER_SECONDS = 100


class OpencodeServer:
    """Talks to the server at `url`; `model` is "provider/model"."""

    def __init__(self, url: str, model: str, pool: ThreadPoolExecutor) -> None:
        self._url = url
        self._model = model
        self._pool = pool

    def ask(self, prompt: str) -> Future[Any]:
        """Begins a session with the prompt; the result is its last answer."""
        session = self._call("/session", {})
        provider, _, model = self._model.partition("/")
        named = {"providerID": provider, "modelID": model}
        said = {"model": named, "parts": [{"type": "text", "text": prompt}]}
        return self._pool.submit(self._call, f"/session/{session['id']}/message", said)

    def reject_next(self, why: str) -> None:
        """Waits for the next question about a tool, and refuses."""
        asked: list[Json] = []

        def is_asked() -> bool:
            asked[:] = self._call("/permission")
            return bool(asked)

        wait_until(is_asked, "a question about a tool", seconds=60)
        for question in asked:
            self._call(f"/permission/{question['id']}/reply", {"reply": "reject", "message": why})

    def _call(self, path: str, data: Json | None = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self._url + path, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
            return json.load(response)


@contextmanager
def serving(program: Path, folder: Path, environment: dict[str, str], model: str) -> Iterator[OpencodeServer]:
    """Runs `opencode serve` on a free port while the block runs."""
    process = subprocess.Popen(
        [str(program), "serve", "--port", "0"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=process.stdout.read, daemon=True)  # what it says later is read and thrown away
    try:
        told = next((found for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line))), None)
        assert told, "opencode did not say where it listens"
        reader.start()
        with ThreadPoolExecutor(1) as pool:
            yield OpencodeServer(told[0], model, pool)
    finally:
        process.terminate()
        process.wait(20)
        if reader.is_alive():
            reader.join(10)
        process.stdout.close()
