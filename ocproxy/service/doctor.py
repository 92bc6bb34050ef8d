"""Whether all is well: the facts of `ocproxy.status`, and whether a running server does what it should."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import msgspec

from ocproxy import instance, status
from ocproxy.config import Config
from ocproxy.errors import OcproxyError
from ocproxy.instance import Running
from ocproxy.relay.redaction import KEY_BYTES
from ocproxy.service.answers import is_in_memory
from ocproxy.store.base import backend_of, open_store

# How long the server may take to tell of itself. It answers in milliseconds, unless the database keeps it waiting (5 s
# for a lock, once or twice); after this it is as good as away.
_ASK_SECONDS = 15.0
# How long a process may take to answer at all, where nothing has to be looked up.
_SIGN_SECONDS = 2.0


async def examine(config: Config) -> status.Facts:
    """All facts of `/api/status`, with or without a server, and whether the server does what it should."""
    running = instance.running(config.data_path)
    live, serves = (
        await asyncio.gather(ask_server(config, running), _answers(f"{running.url}/healthz"))
        if running
        else (None, False)
    )
    facts = live or await _examine_files(config)
    facts["server"] = msgspec.to_builtins(running) if running else None
    facts.setdefault("ingest", None)
    problems = facts["problems"]
    problems += _find_bad_key(config)
    if running and live is None:
        problems.append(
            status.problem(
                "the control process does not answer: traffic is recorded, but not stored in the database",
                "look at the messages of `ocproxy serve`; it is started again by itself",
            )
        )
    if running and not serves:
        problems.append(status.problem(f"the relay at {running.url} does not answer", "stop the server and start it"))
    known = "revision" in facts["database"]  # else it could not be read, which is told
    if not running and known and any(journal["behind_bytes"] for journal in facts["journals"]):
        problems.append(status.problem("not everything recorded is in the database", "ocproxy flush"))
    return facts


async def ask_server(config: Config, running: Running, seconds: float = _ASK_SECONDS) -> status.Facts | None:
    """`/api/status` of the running server, asked of its control process; None when it does not answer: at once when it
    hangs, after `seconds` when the database keeps it waiting."""
    url = f"http://{running.control_host}:{running.control_port}"
    token = {"authorization": f"Bearer {config.server.token}"} if config.server.token else {}
    if not await _answers(url, well=False, seconds=min(seconds, _SIGN_SECONDS)):
        return None
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=seconds) as client:
            answer = await client.get(f"{url}/api/status", headers=token)
            facts: status.Facts | None = answer.json() if answer.status_code == 200 else None
            return facts
    except (httpx.HTTPError, ValueError):
        return None


async def _answers(url: str, *, well: bool = True, seconds: float = _SIGN_SECONDS) -> bool:
    """Whether anything is answered there soon; with `well`, a 200."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=seconds) as client:
            return (await client.get(url)).status_code == 200 or not well
    except httpx.HTTPError:
        return False


def _find_bad_key(config: Config) -> Iterator[status.Facts]:
    path = config.data_path / "redaction.key"
    try:
        count = path.stat().st_size
    except FileNotFoundError:  # made at the first start
        return
    if count != KEY_BYTES:
        yield status.problem(
            f"the redaction key {path} has {count} bytes instead of {KEY_BYTES}: ocproxy will not start with it",
            "remove the file: a new key is made, and fingerprints of credentials start anew",
        )


async def _examine_files(config: Config) -> status.Facts:
    if is_in_memory(config):
        facts = await status.gather(config, None)
        facts["database"]["in_memory"] = True
        return facts
    file = backend_of(config.store_url).file(config.store_url)
    if file is not None and not file.exists():
        facts = await status.gather(config, None)
        facts["database"]["revision"] = None
        return facts
    try:
        async with await open_store(config.store_url, migrate=False) as store:
            return await status.gather(config, store)
    except OcproxyError as error:
        facts = await status.gather(config, None)
        facts["problems"].append(status.problem(f"the database cannot be opened: {error}", error.hint))
        return facts
