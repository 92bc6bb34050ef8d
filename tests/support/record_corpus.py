"""Makes a case of the corpus out of what a recorder kept of a real agent.

    python -m tests.support.record_corpus take DATA CASE PROGRAM [--note TEXT] [--name REAL=SHOWN ...]
    python -m tests.support.record_corpus tell [CASE ...]

DATA is the data folder of `ocproxy serve`, CASE the name of the folder in tests/corpus/sessions, PROGRAM the agent with
its version. Tests of real agents record each run by themselves where RECORD_CORPUS names a folder; of a test that runs
more than one recorder the last is kept:

    RECORD_CORPUS=tests/corpus/sessions .venv/bin/python -m pytest -m real_agents tests/real_agents -k a_short_session

The tests whose longer runs are kept are in `LONGER`.

What is told of the cleaned session is compared with what is told of the run: a cleaning that changes it is an error.
`tell` writes anew what must be told of recordings that are there (all of them), where ocproxy tells more than it did:
read the difference before you keep it.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Kind, Opened, Record
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalReader, JournalWriter, list_journals
from ocproxy.protocols.websocket import SocketStream, agreed_deflate
from ocproxy.store.base import open_store
from tests.support import sessions
from tests.support.cleaning import Cleaner
from tests.support.coding import CannotClean, decode, fields_of
from tests.support.sessions import CORPUS, Json, Message, RecordedSession, Taken, save
from tests.support.told import lines, spelled, told

# The cases that are no short sessions, and the tests of `tests/real_agents` whose runs they are.
LONGER = {
    "claude-code-two-subagents-at-once": "test_claude_code_subagents.py::test_subagents_at_once_are_child_sessions_that"
    "_tell_their_own_work_only[newest model]",
    "claude-code-a-subagent-of-a-subagent": "test_claude_code_subagents.py::test_a_subagent_of_a_subagent_is_under_it"
    "[newest model]",
    "codex-two-subagents-at-once": "test_sessions.py::test_subagents_at_once_are_child_sessions_that_tell_their_own"
    "_work_only[Codex, WebSocket, code mode]",
    "opencode-two-subagents-at-once": "test_sessions.py::test_subagents_at_once_are_child_sessions_that_tell_their_own"
    "_work_only[opencode, anthropic]",
    "gemini-cli-two-subagents-at-once": "test_other_subagents.py::test_subagents_at_once_are_child_sessions_that_tell"
    "_their_own_work_only[Gemini CLI]",
    "claude-code-a-compaction": "test_claude_code_sessions.py::test_a_compacted_session_goes_on_as_the_same_session"
    "[by itself]",
    "codex-a-compaction": "test_compaction.py::test_a_compacted_session_goes_on_as_the_same_session"
    "[Codex, WebSocket, functions]",
    "opencode-a-compaction": "test_compaction.py::test_a_compacted_session_goes_on_as_the_same_session"
    "[opencode, openai]",
    "qwen-code-a-compaction": "test_summaries.py::test_a_compacted_session_goes_on_as_the_same_session[Qwen Code]",
    "claude-code-a-drop-behind-tool-uses": "test_claude_code_faults.py::test_a_turn_that_broke_is_told_once_and_right"
    "[drop after two tool uses-newest model]",
    "qwen-code-a-drop-behind-tool-uses": "test_other_faults.py::test_a_turn_that_broke_is_told_once_and_right"
    "[Qwen Code-drop after a tool use]",
    "claude-code-a-resumed-session": "test_claude_code_sessions.py::test_a_resumed_run_adds_to_the_same_session",
    "codex-a-fork": "test_sessions.py::test_a_fork_is_a_session_that_tells_its_own_work_only[Codex, HTTP, functions]",
}

# Words by which plug-ins know the texts of their agents, where they stand in the middle of a long one.
_MARKS = (
    "operating inside pi",
    "Workspace Directories:",
    "*SEARCH/REPLACE block* Rules",
    "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
)
# What holds one of these tells files or edits (aider), or calls and results (opencode, where it asks for a summary).
_WHOLE = ("*added these files", "<<<<<<< SEARCH", "[Assistant tool call]: ")


class _Socket:
    """Reads the messages of a connection out of its records."""

    def __init__(self, extensions: str) -> None:
        deflate = agreed_deflate(extensions)
        self.client = SocketStream(deflate.keeps_client if deflate else None)
        self.server = SocketStream(deflate.keeps_server if deflate else None)

    def feed(self, record: Record, at: int) -> list[Message]:
        """The messages that a record completes; `at` is the place of the first."""
        if record.kind == Kind.CLIENT_BYTES:
            said = enumerate(self.client.feed(record.payload), at)
            return [Message(place, client=message.data.decode()) for place, message in said]
        said = enumerate(self.server.feed(record.payload), at)
        return [Message(place, server=message.data.decode()) for place, message in said]


def day_of(data: Path) -> date:
    """When the first record of a data folder was written."""
    times = (record.wall_ns for folder in list_journals(data / "journal") for record in _read(folder))
    return datetime.fromtimestamp(min(times) / 1e9, UTC).date()


def take(data: Path) -> list[Taken]:
    """The exchanges of all journals of a data folder in the order in which they began, their bodies without the content
    codings. Raises CannotClean."""
    records = [
        (record.wall_ns, place, record)
        for folder in list_journals(data / "journal")
        for place, record in enumerate(_read(folder))
    ]
    open_: dict[int, Taken] = {}
    sockets: dict[int, _Socket] = {}
    taken: list[Taken] = []
    at = 0
    for _, _, record in sorted(records, key=lambda found: found[:2]):
        number = record.exchange
        if record.kind == Kind.OPENED:
            open_[number] = Taken(msgspec.msgpack.decode(record.payload, type=Opened), at)
            taken.append(open_[number])
        elif number not in open_:
            continue  # the beginning of a relay's life
        elif record.kind in (Kind.CLIENT_BYTES, Kind.SERVER_BYTES):
            socket = sockets.setdefault(number, _Socket(_extensions(open_[number])))
            messages = socket.feed(record, at)
            open_[number].messages += messages
            at += len(messages)
            continue
        elif not _add(open_[number], record, at):
            continue
        at += 1
    return [_decoded(one) for one in taken]


def _decoded(taken: Taken) -> Taken:
    request = decode(taken.request, fields_of(taken.opened.head))
    response = decode(taken.response, fields_of(taken.heads[-1])) if taken.heads else taken.response
    return msgspec.structs.replace(taken, request=request, response=response)


def _read(folder: Path) -> Iterable[Record]:
    with JournalReader(folder) as reader:
        yield from (record for _, record in reader.follow())


def _extensions(taken: Taken) -> str:
    return fields_of(taken.heads[-1]).get("sec-websocket-extensions", "")


def _add(taken: Taken, record: Record, at: int) -> bool:
    """Whether that is a step in the order of things."""
    if record.kind == Kind.ENDED:
        taken.ends, taken.ended = at, msgspec.msgpack.decode(record.payload, type=Ended)
        return True
    if record.kind == Kind.REQUEST_BYTES:
        taken.request += record.payload
    elif record.kind == Kind.RESPONSE_HEAD:
        taken.heads.append(record.payload)
    elif record.kind == Kind.RESPONSE_BYTES:
        taken.response += record.payload
    return False


def cleaner_of(names: dict[str, str], day: date) -> Cleaner:
    """For a run of any agent on a machine where folders and the like have these names."""
    return Cleaner(names, day, _MARKS, _WHOLE)


def clean(exchanges: list[Taken], cleaner: Cleaner) -> list[Taken]:
    """The same without identities and long texts. Raises CannotClean."""
    return _counted([_clean(taken, cleaner) for taken in exchanges])


def _counted(exchanges: list[Taken]) -> list[Taken]:
    """With places that follow each other."""
    places = {place for taken in exchanges for place in (taken.begins, taken.ends)}
    places |= {message.at for taken in exchanges for message in taken.messages}
    counted = {place: number for number, place in enumerate(sorted(places))}
    return [
        msgspec.structs.replace(
            taken,
            begins=counted[taken.begins],
            ends=counted[taken.ends],
            messages=[msgspec.structs.replace(message, at=counted[message.at]) for message in taken.messages],
        )
        for taken in exchanges
    ]


def _clean(taken: Taken, cleaner: Cleaner) -> Taken:
    fields = fields_of(taken.opened.head)
    body = cleaner.body(taken.request, fields.get("content-type", ""), sent=True)
    head = cleaner.head(taken.opened.head, body)
    target = cleaner.text(taken.opened.target)
    tags = {name: cleaner.text(value) for name, value in taken.opened.tags.items()}
    opened = msgspec.structs.replace(
        taken.opened, head=head, target=target, upstream_url="http://127.0.0.1:1", client="127.0.0.1:2", tags=tags
    )
    heads, response = _clean_response(taken, cleaner)
    said = _clean_messages(taken.messages, cleaner)
    ended = msgspec.structs.replace(taken.ended, detail=cleaner.text(taken.ended.detail)) if taken.ended else None
    return Taken(opened, taken.begins, taken.ends, ended, body, heads, response, said)


def _clean_messages(messages: list[Message], cleaner: Cleaner) -> list[Message]:
    ours = iter(cleaner.messages([message.client for message in messages if message.client is not None], sent=True))
    theirs = iter(cleaner.messages([message.server for message in messages if message.server is not None], sent=False))
    cleaned = [
        Message(message.at, next(ours), None) if message.client is not None else Message(message.at, None, next(theirs))
        for message in messages
    ]
    return [message for message in cleaned if message.client is not None or message.server is not None]


def _clean_response(taken: Taken, cleaner: Cleaner) -> tuple[list[bytes], bytes]:
    if not taken.heads:
        return [], b""
    fields = fields_of(taken.heads[-1])
    kind = fields.get("content-type", "")
    is_chunked = "chunked" in fields.get("transfer-encoding", "").lower()
    response = cleaner.chunks(taken.response, kind) if is_chunked else cleaner.body(taken.response, kind, sent=False)
    return [cleaner.head(head, response) for head in taken.heads], response


async def tell(session: RecordedSession, folder: Path) -> Json:
    """What the ingest makes of a session. `folder` is for its journal and database."""
    writer = JournalWriter.open(folder / "journal" / "worker-0", Journal())
    for _ in session.play(writer):
        assert writer.commit()
    writer.close()
    return await tell_of(folder)


async def tell_of(folder: Path) -> Json:
    """What the ingest makes of the journals in a data folder; the folder's own database is left alone."""
    with tempfile.TemporaryDirectory() as place:
        async with await open_store(f"sqlite:///{place}/told.db") as store:
            await Ingest(store, folder / "journal").catch_up()
            return await told(store)


def record(data: Path, case: Path, names: dict[str, str], note: str, program: str) -> None:
    """Writes the case, a run of `program` (name and version). Raises CannotClean, also when the cleaned session is told
    otherwise than the run."""
    day = day_of(data)
    cleaned = clean(take(data), cleaner_of(names, day))
    save(case, cleaned)
    found = _write_told(case, RecordedSession(case.name, cleaned))
    assert_told_alike(asyncio.run(tell_of(data)), found, cleaner_of(names, day))
    (case / "README").write_text(f"{note}\n\nRecorded: {program} against a scripted provider. {_CLEANED}\n")


def _write_told(case: Path, session: RecordedSession) -> Json:
    with tempfile.TemporaryDirectory() as place:
        found = asyncio.run(tell(session, Path(place)))
    (case / "expected.json").write_text(spelled(found), "utf-8")
    return found


_CLEANED = (
    "Long texts and what tools say of\nthemselves are shortened; ids, hosts, names, dates and counts of tokens are "
    "replaced (tests/support/cleaning.py)."
)


def assert_told_alike(run: Json, cleaned: Json, cleaner: Cleaner) -> None:
    """Raises CannotClean where events, kinds of calls, or whose sessions they are differ."""
    for name, facts in (("events", lines), ("calls", _kinds), ("sessions", _whose)):
        before, after = [cleaner.text(line) for line in facts(run)], facts(cleaned)
        if before != after:
            raise CannotClean(f"cleaning changed the {name} that are told: {before} became {after}")


def _kinds(facts: Json) -> list[str]:
    return [f"{call.get('session')} {call['kind']} {call['outcome']} {call.get('problems')}" for call in facts["calls"]]


def _whose(facts: Json) -> list[str]:
    """Sessions without how they began, messages without their texts."""
    names = ("agent_name", "agent_version", "workdir", "title", "parent", "parent_certainty")
    sessions = [str([session.get(name) for name in names]) for session in facts["sessions"]]
    for message in facts["messages"]:
        parts = [part["type"] for part in message["parts"]]
        sessions.append(f"{message['session']} {message['role']} {parts} behind {message.get('parent')}")
    return sessions


def stage_names(folder: Path) -> dict[str, str]:
    """What the folders of a test of real agents, and this machine, are called in the corpus."""
    project = Path(__file__).parents[2]
    return {
        platform.platform(): "Linux",
        platform.release(): "6.1.0",
        socket.gethostname(): "host",
        str(folder / "work"): "/home/user/project",
        str(folder / "home"): "/home/user",
        str(folder): "/home/user/elsewhere",
        str(project): "/opt/agents",
        str((project / ".agents").resolve().parent): "/opt/agents",
    }


def name_of_test(test: str) -> str:
    """The name of a case, after a test as pytest names it: "qwen-code-a-short-session"."""
    place = test.rpartition("/")[2].removesuffix(" (call)")
    for case, one in LONGER.items():
        if one == place:
            return case
    return re.sub("[^0-9a-z]+", "-", " ".join(_words(test)).lower()).strip("-")


def note_of_test(test: str) -> str:
    """What its README says of it: "A short session (Qwen Code)."."""
    parameter, words = _words(test)
    return f"{words[:1].upper()}{words[1:]}{f' ({parameter})' if parameter else ''}."


def _words(test: str) -> tuple[str, str]:
    """Parameter and name of a test: "tests/x.py::test_a_short_session[Qwen Code] (call)"."""
    name, _, parameter = test.rpartition("::")[2].rpartition(" ")[0].partition("[")
    return parameter.rstrip("]"), name.removeprefix("test_").replace("_", " ")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="record_corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("take")
    for name, kind in (("data", Path), ("case", str), ("program", str)):
        taking.add_argument(name, type=kind)
    taking.add_argument("--note", default="A session.")
    taking.add_argument("--name", action="append", default=[], metavar="REAL=SHOWN")
    commands.add_parser("tell").add_argument("case", nargs="*", default=sessions.names())
    given = parser.parse_args(arguments)
    if given.command == "tell":
        for name in given.case:
            _write_told(CORPUS / name, sessions.load(name))
        return 0
    names = stage_names(given.data.resolve().parent.parent)
    names |= dict(pair.split("=", 1) for pair in given.name)
    record(given.data, CORPUS / given.case, names, given.note, given.program)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
