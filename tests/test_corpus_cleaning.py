"""What is taken out of recordings, and what stays; and that no recording of the corpus tells who or where."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest

from ocproxy.config import Journal
from ocproxy.journal import JournalWriter
from ocproxy.protocols import http1
from tests.support import sessions
from tests.support.cleaning import Cleaner
from tests.support.coding import CannotClean, chunked, cut_at, dechunked, decode, encode, fields_of
from tests.support.record_corpus import clean, cleaner_of, name_of_test, note_of_test, take

DAY = date(2026, 11, 28)
FOLDERS = {"/tmp/x/work": "/home/user/project", "/tmp/x": "/home/user/elsewhere"}
UUID = "3f2b8a10-1111-4222-9333-444455556666"


@pytest.fixture
def cleaner() -> Cleaner:
    return Cleaner(FOLDERS, DAY, marks=("the mark",), whole=("<<<<<<< SEARCH",))


def test_identities_become_fixed_ones_the_same_each_time(cleaner: Cleaner) -> None:
    times = "2026-11-28T10:11:12Z November 28, 2026 1795860000123"
    text = f"{UUID} 127.0.0.1:40123 /tmp/x/work/a -tmp-x-work {times} {UUID}"
    assert cleaner.text(text) == (
        "00000000-0000-4000-8000-000000000001 127.0.0.1:4141 /home/user/project/a -home-user-project"
        " 2026-01-01T00:00:00Z January 1, 2026 1767225600000 00000000-0000-4000-8000-000000000001"
    )


def test_what_was_cleaned_stays_as_it_is(cleaner: Cleaner) -> None:
    once = cleaner.text(f"msg_{UUID} {'0a' * 32} ses_0123456789abABCDEFGHIJKLMN")
    assert cleaner.text(once) == once
    assert once.startswith("msg_00000000-") and " ses_000000000003" in once


def test_dates_of_versions_and_sizes_of_files_stay(cleaner: Cleaner) -> None:
    text = "anthropic-version: 2023-06-01, interleaved-thinking-2025-05-14, 1234567890 bytes"
    assert cleaner.text(text) == text


@pytest.mark.parametrize("spelled", ['{"a":"ż \\n","b":[1,2.5]}', '{"a": "ż \\n", "b": [1, 2.5]}', '{"a":"\\u017c"}'])
def test_json_keeps_its_spelling(cleaner: Cleaner, spelled: str) -> None:
    assert cleaner.body(spelled.encode(), "application/json", sent=True).decode() == spelled


def test_json_in_a_spelling_that_would_not_come_back_is_refused(cleaner: Cleaner) -> None:
    with pytest.raises(CannotClean, match="spelling"):
        cleaner.body(b'{"a" :1}', "application/json", sent=True)


def test_long_texts_keep_their_beginning_their_end_and_what_tells_something(cleaner: Cleaner) -> None:
    lines = [
        "one",
        "two",
        "three",
        *["fill"] * 200,
        "here is the mark",
        *["fill"] * 20,
        "cwd /tmp/x/work",
        "fill",
        "end",
    ]
    sent = json.dumps({"messages": [{"content": "\n".join(lines)}]}).encode()
    (message,) = json.loads(cleaner.body(sent, "", sent=True))["messages"]
    assert message["content"].split("\n") == [
        "one", "two", "three", "[…]", "here is the mark", "[…]", "cwd /home/user/project", "[…]", "end",
    ]  # fmt: skip


def test_edits_in_text_stay_whole_but_for_samples_in_a_system_prompt(cleaner: Cleaner) -> None:
    edit = "<<<<<<< SEARCH\n" + "line\n" * 100
    sent = json.dumps({"messages": [{"role": role, "content": edit} for role in ("system", "assistant")]}).encode()
    system, assistant = json.loads(cleaner.body(sent, "", sent=True))["messages"]
    assert assistant["content"] == edit
    assert len(system["content"]) < 100


def test_of_what_tools_take_names_and_types_are_left(cleaner: Cleaner) -> None:
    field = {"type": "string", "description": "long " * 50, "enum": ["a", "b"]}
    schema = {"type": "object", "properties": {"path": field}, "required": ["path"], "additionalProperties": False}
    sent = json.dumps({"tools": [{"name": "read", "description": "d" * 100, "input_schema": schema}]}).encode()
    assert json.loads(cleaner.body(sent, "", sent=True))["tools"] == [
        {
            "name": "read",
            "description": "d" * 30 + "[…]",
            "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        }
    ]


def test_a_folder_that_came_in_pieces_is_found_and_comes_in_pieces(cleaner: Cleaner) -> None:
    pieces = ['{"file_path": "/tmp', "/x/wor", 'k/a.txt"}']
    events = [{"delta": piece, "sequence_number": at} for at, piece in enumerate(pieces)]
    stream = "".join(f"event: d\ndata: {json.dumps(event)}\n\n" for event in [{"start": True}, *events, {"end": 1}])
    found = re.findall(r"data: (.*)\n\n", cleaner.body(stream.encode(), "text/event-stream", sent=False).decode())
    deltas = [json.loads(event)["delta"] for event in found[1:-1]]
    assert [len(delta) for delta in deltas] == [19, 19, 3]
    assert "".join(deltas) == '{"file_path": "/home/user/project/a.txt"}'


def test_pieces_for_which_nothing_is_left_are_gone_and_the_others_are_counted_again() -> None:
    cleaner = Cleaner({"/a/very/long/folder": "/b"}, DAY)
    pieces = ["/a/ve", "ry/lo", "ng/fo", "lder"]
    sent = [json.dumps({"delta": piece, "sequence_number": at}) for at, piece in enumerate(pieces)]
    sent.append(json.dumps({"end": 1, "sequence_number": 4}))
    assert cleaner.messages(sent, sent=False) == [
        '{"delta": "/b", "sequence_number": 0}', None, None, None, '{"end": 1, "sequence_number": 1}',
    ]  # fmt: skip


def test_chunks_are_cut_at_the_same_events(cleaner: Cleaner) -> None:
    events = [b'data: {"id":"%s"}\n\n' % UUID.encode(), b'data: {"x":"/tmp/x/work"}\n\n', b"data: [DONE]\n\n"]
    body = events[0] + events[1] + events[2]
    cuts = [len(events[0]), len(events[0]) + 3, len(body)]
    pieces = [body[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    cleaned = cleaner.chunks(sent, "text/event-stream")
    deframed = http1.deframe(cleaned, http1.Framing("chunked"))
    assert deframed.complete and deframed.data.endswith(b'data: {"x":"/home/user/project"}\n\ndata: [DONE]\n\n')
    assert re.findall(rb"([0-9a-f]+)\r\n", cleaned)[1] == b"3"


def test_a_head_keeps_its_order_and_gets_the_new_length(cleaner: Cleaner) -> None:
    head = f"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:1234\r\nContent-LENGTH: 99\r\nx-session: {UUID}\r\n\r\n".encode()
    assert cleaner.head(head, b"12345") == (
        b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:4141\r\nContent-LENGTH: 5\r\n"
        b"x-session: 00000000-0000-4000-8000-000000000001\r\n\r\n"
    )


def test_a_case_is_named_after_its_test() -> None:
    test = "tests/real_agents/test_x.py::test_a_short_session[pi, Chat Completions] (call)"
    assert name_of_test(test) == "pi-chat-completions-a-short-session"
    assert note_of_test(test) == "A short session (pi, Chat Completions)."


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_coded_stream_is_kept_plain_and_cut_where_it_was(coding: str, is_whole: bool) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    events = [b"data: {}\n\n", b"data: 2", b"\n\n"]
    plain = chunked(events) + (b"0\r\n\r\n" if is_whole else b"")
    same, coded = encode(head, plain, fields_of(head))
    assert same == head and coded != plain
    assert decode(coded, fields_of(head)) == plain
    cuts, body, _ = dechunked(coded)
    came = decode(chunked(cut_at(body, cuts)[:1]), fields_of(head))
    assert came == chunked(events[:1]), "the first event can be read when its chunk has come"


def test_a_coded_body_is_played_with_its_length() -> None:
    head = b"POST /x HTTP/1.1\r\ncontent-encoding: zstd\r\ncontent-length: 1\r\n\r\n"
    plain = b'{"input":"again and again and again and again and again and again"}'
    played, coded = encode(head, plain, fields_of(head))
    assert fields_of(played)["content-length"] == str(len(coded)) and len(coded) < len(plain)
    assert decode(coded, fields_of(played)) == plain


@pytest.mark.parametrize("coding", ["gzip", "nonsense"])
def test_a_body_that_cannot_be_decoded_is_refused(coding: str) -> None:
    with pytest.raises(CannotClean, match="cannot be decoded"):
        decode(b"no such thing", {"content-encoding": coding})


@pytest.mark.parametrize("name", sessions.names())
def test_no_recording_tells_who_or_where(name: str) -> None:
    for path in (sessions.CORPUS / name).iterdir():
        text = path.read_text("utf-8")
        hosts = set(re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", text))
        assert hosts <= {"4141"}, path
        ids = set(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", text))
        assert all(id.startswith("00000000-0000-") for id in ids), path
        assert not re.search(r"redacted:(?!0{12})|/tmp/(?!work)|pytest|(?<!<)/root/\.", text), path
        folders = set(re.findall(r"/(?:home|Users)/([\w.-]+)", text))
        assert folders <= {"user", "use", "us", "u"}, path  # in pieces, where a stream was cut


@pytest.mark.parametrize("name", sessions.names())
def test_a_recording_cleaned_once_more_is_the_same(name: str) -> None:
    recorded = sessions.load(name).exchanges
    again = clean(recorded, cleaner_of({}, date(2026, 1, 1)))
    assert [taken.opened.head for taken in again] == [taken.opened.head for taken in recorded]
    assert [(taken.response, taken.messages) for taken in again] == [
        (taken.response, taken.messages) for taken in recorded
    ]


@pytest.mark.parametrize("name", sessions.names())
def test_a_recording_taken_from_a_journal_of_itself_is_the_same(name: str, tmp_path: Path) -> None:
    session = sessions.load(name)
    writer = JournalWriter.open(tmp_path / "journal" / "worker-0", Journal())
    for _ in session.play(writer):
        assert writer.commit()
    writer.close()
    again = clean(take(tmp_path), cleaner_of({}, date(2026, 1, 1)))
    sessions.save(tmp_path / name, again)
    for path in (sessions.CORPUS / name).iterdir():
        if path.name not in ("README", "expected.json"):
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes(), path
