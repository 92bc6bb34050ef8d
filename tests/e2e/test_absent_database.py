"""A server whose database is away, or refuses it, at the start: it takes traffic, says so, and stores it all later."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest

from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Script, Step
from ocproxy.store import migrations
from tests.support import postgres
from tests.support.provider import provider_in_background, wait_until
from tests.support.recorder import Recorder

pytestmark = pytest.mark.timeout(180)
HELLO = Script("hello", (Step(text="Good day."),))


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_in_background([HELLO]) as one:
        yield one


def recorder_of(tmp_path: Path, provider: Provider, url: str) -> Recorder:
    variables = {"OCPROXY_DATABASE_URL": url}
    return Recorder(tmp_path / "recorder" / "data", provider.url, variables=variables)


def say_hello(url: str) -> None:
    body = {"model": "claude-test", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    answer = httpx.post(f"{url}/v1/messages", json=body, headers={"x-api-key": "k"}, trust_env=False, timeout=20)
    assert answer.status_code == 200 and answer.json()["content"][0]["text"] == "Good day."


def complaint(recorder: Recorder, *arguments: str) -> str:
    """What a command that must fail writes on standard error."""
    done = subprocess.run(
        recorder._command(*arguments), env=recorder._environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_postgresql_that_is_down_at_the_start_gets_everything_once_when_it_is_up(
    tmp_path: Path, provider: Provider
) -> None:
    with postgres.own_server() as server:
        server.stop()
        secret = server.url().replace("ocproxy@", "ocproxy:hush-hush@")
        recorder = recorder_of(tmp_path, provider, secret)
        with recorder.serving():
            for number in range(5):
                say_hello(f"{recorder.url}/run/early-{number}")
            assert "THE DATABASE IS NOT OPEN" in recorder.log and "start the PostgreSQL server" in recorder.log
            with httpx.Client(base_url=recorder.url, trust_env=False, timeout=20) as api:
                facts = api.get("/api/status").json()
                refused = api.get("/api/sessions")
                assert "ANTHROPIC_BASE_URL" in api.get("/").text
            since = facts["ingest"]["since"]
            (problem,) = [one for one in facts["problems"] if f"not open since {since}" in one["what"]]
            assert "cannot be reached" in problem["what"]
            assert "start the PostgreSQL server" in problem["hint"]
            assert refused.status_code == 503 and since in refused.json()["error"]["message"]
            said = recorder.run("doctor", code=1)
            assert f"not open since {since}" in said and "start the PostgreSQL server" in said
            complaints = [complaint(recorder, *command) for command in (["sessions"], ["flush", "--timeout", "1"])]
            assert all("cannot be reached" in one for one in complaints)
            server.start()
            say_hello(f"{recorder.url}/run/late")
            recorder.flush()
            assert sorted(call["run"] for call in recorder.ask("calls")) == [*(f"early-{n}" for n in range(5)), "late"]
            facts = json.loads(recorder.run("doctor", "--json", code=1))  # the incident is of this minute
            assert facts["ingest"] == {"trouble": None, "since": None}
            incidents = [incident["what"] for incident in facts["incidents"]]
            assert "cannot be reached" in incidents[0] and incidents[-1] == "the database is open now"
        assert "the database is open now" in recorder.log
        assert "hush-hush" not in recorder.log + said + "".join([*complaints, *incidents])


def test_a_server_that_ends_without_its_database_leaves_it_all_to_the_next(tmp_path: Path, provider: Provider) -> None:
    with postgres.own_server() as server:
        server.stop()
        recorder = recorder_of(tmp_path, provider, server.url())
        with recorder.serving():
            say_hello(recorder.url)
        assert "the database was not open until the end" in recorder.log
        server.start()
        recorder.run("flush")
        assert len(recorder.ask("calls")) == 1


def test_traffic_does_not_wait_for_a_database_that_does_not_answer(tmp_path: Path, provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        recorder = recorder_of(tmp_path, provider, f"postgresql://me@127.0.0.1:{mute.getsockname()[1]}/db")
        recorder.data.mkdir(parents=True, mode=0o700)
        port = postgres.free_port()
        command = recorder._command("serve", "--port", str(port), "--upstream", f"anthropic={provider.url}")
        with subprocess.Popen(command, env=recorder._environment(), stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            wait_until(lambda: _answers(port), "the relay takes traffic")
            say_hello(f"http://127.0.0.1:{port}")
            greeting = [server.stdout.readline()]
            while "Ctrl-C" not in greeting[-1]:
                greeting.append(server.stdout.readline())
            assert "THE DATABASE IS NOT OPEN" in "".join(greeting)
            server.terminate()
            server.communicate(timeout=60)
            assert server.returncode == 0


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_an_url_that_names_no_database_blocks_the_start_like_any_bad_setting(
    tmp_path: Path, provider: Provider
) -> None:
    for url in ("mysql://me:hush@host/db", "sqlite://", "postgresql:nonsense"):
        recorder = recorder_of(tmp_path, provider, url)
        recorder.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        said = complaint(recorder, "serve", "--port", "0")
        assert "ocproxy" in said and "hush" not in said


def test_doctor_says_what_can_be_known_of_a_database_in_memory(tmp_path: Path, provider: Provider) -> None:
    recorder = recorder_of(tmp_path, provider, "memory:")
    with recorder.serving():
        say_hello(recorder.url)
        with httpx.Client(base_url=recorder.url, trust_env=False, timeout=20) as api:
            wait_until(lambda: len(api.get("/api/sessions").json()) == 1, "the call is stored")
        said = recorder.run("doctor")
        assert "all of it in the database" in said and "all is well" in said
    said = recorder.run("doctor")
    assert "there is none now; the next one fills it again from the journal" in said
    assert "how much of it is in the database cannot be told" in said and "all is well" in said
    for command in (["sessions"], ["flush"], ["db", "current"], ["db", "upgrade"]):
        assert "in the memory of the server" in complaint(recorder, *command)


# --- databases that are there, and refuse us until somebody does something about it


@dataclass
class Refusal:
    url: str
    says: str
    way_out: str
    mend: Callable[[], None]


def ask(url: str, *statements: str) -> Any:
    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=20)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@contextmanager
def unknown_user(folder: Path) -> Iterator[Refusal]:
    database = postgres.make_database(migrated=True)
    name = f"{database.name}_user"
    parts = urlsplit(database.url)
    theirs = urlunsplit(parts._replace(netloc=f"{name}:hush@{parts.netloc.rpartition('@')[2]}"))
    mend = f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'hush'"
    yield Refusal(theirs, name, "look at user and password", lambda: ask(database.url, mend))
    postgres.drop_database(database)
    ask(postgres.server_url(), f"DROP ROLE {name}")


@contextmanager
def missing_database(folder: Path) -> Iterator[Refusal]:
    database = postgres.make_database(migrated=False)
    postgres.drop_database(database)
    create = f"CREATE DATABASE {database.name} TEMPLATE template0"
    yield Refusal(database.url, "does not exist", "createdb", lambda: ask(postgres.server_url(), create))
    postgres.drop_database(database)


@contextmanager
def newer_revision(folder: Path) -> Iterator[Refusal]:
    database = postgres.make_database(migrated=True)
    change = "UPDATE alembic_version SET version_num = '{}'"
    ask(database.url, change.format("from_tomorrow"))
    mend = change.format(migrations.NEWEST)
    yield Refusal(database.url, "from_tomorrow", "use that version here, too", lambda: ask(database.url, mend))
    postgres.drop_database(database)


@contextmanager
def no_database(folder: Path) -> Iterator[Refusal]:
    path = folder / "broken.db"
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 100)
    yield Refusal(f"sqlite:///{path}", "not a database", "ocproxy rebuild", path.unlink)


@contextmanager
def no_folder(folder: Path) -> Iterator[Refusal]:
    """The folder cannot be made: a file has its name. (The superuser, as whom tests may run, may write anywhere.)"""
    (folder / "taken").touch()
    path = folder / "taken" / "ocproxy.db"
    yield Refusal(f"sqlite:///{path}", "cannot be opened", "write to it", (folder / "taken").unlink)


@contextmanager
def locked_file(folder: Path) -> Iterator[Refusal]:
    path = folder / "locked.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        def let_go() -> None:
            other.execute("ROLLBACK")

        yield Refusal(f"sqlite:///{path}", "locked", "", let_go)


@pytest.mark.parametrize(
    "refusal", [unknown_user, missing_database, newer_revision, no_database, no_folder, locked_file],
    ids=lambda refusal: refusal.__name__,
)  # fmt: skip
def test_a_database_that_refuses_is_told_and_gets_everything_once_it_does_not(
    refusal: Any, tmp_path: Path, provider: Provider
) -> None:
    with refusal(tmp_path) as found:
        recorder = recorder_of(tmp_path, provider, found.url)
        with recorder.serving():
            say_hello(recorder.url)
            wait_until(lambda: found.says in recorder.log, "the terminal says why")
            assert "THE DATABASE IS NOT OPEN" in recorder.log and found.way_out in recorder.log
            said = recorder.run("doctor", code=1)
            assert found.says in said and found.way_out in said and "not open since" in said
            assert found.says in complaint(recorder, "flush", "--timeout", "1")
            found.mend()
            recorder.flush()
            assert len(recorder.ask("calls")) == 1
        assert "Traceback" not in recorder.log and "hush" not in recorder.log
