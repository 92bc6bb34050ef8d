"""What must hold of the record whatever the agent went through: nothing lost, nothing twice, the same tree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ocproxy.demo.provider import Served
from ocproxy.demo.script import text_of
from tests.real_agents.stage import Stage, apply, conversation, recorded, reduced
from tests.real_agents.work import files_of
from tests.support.dialects import responses
from tests.support.scripted import dialect_of, request_of

Json = dict[str, Any]
Said = list[tuple[str, ...]]
CHANGES = ("write", "edit", "delete", "move")


def replayed(stage: Stage[Any], *shown: Json) -> dict[str, bytes]:
    """The starting tree with the applied events of these sessions, in the order in which they took place. Each has a
    diff, but a write of what the file holds already."""
    tree = stage.copy_of_start("replayed")
    events = [event for one in shown for event in one["file_events"]]
    for event in sorted(events, key=lambda event: str(event["updated_at"] or event["created_at"])):
        if event["status"] == "applied" and event["event_type"] in CHANGES:
            assert event["diff"] or _changes_nothing(event, stage.workdir, tree, shown), event
            if event["diff"]:
                apply(event["diff"], tree)
    return files_of(tree)


def _changes_nothing(event: Json, workdir: Path, tree: Path, shown: Iterable[Json]) -> bool:
    """Whether an event whose diff is empty (not unknown) is a write, and the tree has the file as its tool use says."""
    uses = [part for one in shown for part in parts_of(one, "tool_use") if part["id"] == event["tool_use_id"]]
    file = tree / (workdir / event["file_path"]).relative_to(workdir)
    is_empty = event["event_type"] == "write" and event["diff"] == "" and file.is_file()
    return is_empty and all(file.read_text("utf-8") in use["input"].values() for use in uses)


def assert_the_tree_is_told(stage: Stage[Any], *shown: Json) -> None:
    assert replayed(stage, *shown) == files_of(stage.workdir)


def assert_nothing_is_told_twice(*shown: Json) -> None:
    """Of several sessions: no event of one is told in another, no call is asked for by two messages."""
    events = [event for one in shown for event in one["file_events"]]
    told = Counter((event["tool_use_id"], event["event_type"], event["file_path"]) for event in events)
    assert {key: count for key, count in told.items() if count > 1} == {}
    for one in shown:
        used = Counter(part["id"] for part in parts_of(one, "tool_use"))
        answered = Counter(part["tool_use_id"] for part in parts_of(one, "tool_result"))
        assert [id for counts in (used, answered) for id, count in counts.items() if count > 1] == []


def parts_of(shown: Json, kind: str) -> list[Json]:
    return [part for message in shown["messages"] for part in message["parts"] if part["type"] == kind]


def statuses(shown: Json, *types: str) -> list[tuple[str, str]]:
    """(tool use, status) of the events of these types (all, where none is named), in order."""
    found = [event for event in shown["file_events"] if not types or event["event_type"] in types]
    return [(event["tool_use_id"], event["status"]) for event in found]


def assert_the_last_history_is_told(stage: Stage[Any], shown: Json, turns: Sequence[Served]) -> None:
    """What the agent sent last, and what came back, are messages of the session, each once and in that order. Answers
    that broke off may stand between, and be sent without the end that they came with; several that were sent as one
    are told as they came."""
    last = turns[-1]
    dialect = dialect_of(last)
    assert dialect and last.reply
    wire = _joined([*dialect.history(request_of(last)), dialect.said(last.reply)], dialect is responses)
    told = [_kept(recorded(message)) for message in shown["messages"]]
    places = []
    for role, said in _apart([_kept(reduced(message)) for message in wire], told):
        left = [at for at, (whose, _) in enumerate(told) if whose == role and at not in places]
        whole = [at for at in left if told[at][1] == said]
        begun = [at for at in left if role == "assistant" and told[at][1][: len(said)] == said]
        places.append(next(iter(whole or begun), -1))
    assert places == sorted(places) and places[0] >= 0, (places, [message["role"] for message in wire])


def assert_the_begun_answer_is_told(shown: Json, turns: Sequence[Served]) -> None:
    """The last answer broke off in a text, and the agent took it for the whole: what was asked and then that text, as
    far as it came, are the messages, and no call that would have followed."""
    last = turns[-1]
    dialect = dialect_of(last)
    assert dialect and last.reply
    *asked, (role, said) = [_kept(recorded(message)) for message in shown["messages"]]
    assert asked == [_kept(reduced(message)) for message in _joined(dialect.history(request_of(last)), False)]
    assert role == "assistant" and [kind for kind, _ in said] == ["text"]
    whole, told = text_of(dialect.said(last.reply)), said[0][1]
    left = whole.removeprefix(told)
    assert told and left and left != whole
    assert told[-8:].encode() in last.sent and left[:8].encode() not in last.sent, "it is told as far as it came"


def _apart(wire: Sequence[tuple[str, Said]], told: Sequence[tuple[str, Said]]) -> list[tuple[str, Said]]:
    """An answer that is told in several is those, if they say all of it and no more; so are the results behind it, each
    told with those of the calls of one answer."""
    apart: list[tuple[str, Said]] = []
    left: list[Said] = []  # the answers that the results behind are of
    for role, said in wire:
        answers = _answers_of(role, said, told)
        if len(answers) > 1:
            calls = [block for block in said if block[0] == "tool_use"]
            assert _words(said) == "".join(map(_words, answers)), (said, answers)
            assert sorted(calls) == sorted(block for one in answers for block in one if block[0] == "tool_use")
            apart += [(role, one) for one in answers]
            left = answers
        elif left and any(block[0] == "tool_result" for block in said):
            ids = [{block[1] for block in one if block[0] == "tool_use"} for one in left]
            divided = [[block for block in said if block[0] == "tool_result" and block[1] in some] for some in ids]
            assert sum(map(len, divided)) == len(said), said
            apart += [(role, some) for some in divided if some]
            left = []
        else:
            apart.append((role, said))
    return apart


def _answers_of(role: str, said: Said, told: Sequence[tuple[str, Said]]) -> list[Said]:
    """The answers that ask for the calls of a message, with the one before them where its text begins with theirs."""
    calls = [block for block in said if block[0] == "tool_use"]
    places = [at for at, (whose, blocks) in enumerate(told) if whose == role and any(call in blocks for call in calls)]
    answers = [told[at][1] for at in places]
    before = [blocks for whose, blocks in told[: places[0]] if whose == role][-1:] if places else []
    if before and _words(said) == "".join(map(_words, [*before, *answers])) != _words(answers[0]):
        return [*before, *answers]
    return answers


def _words(said: Said) -> str:
    return "".join(block[1] for block in said if block[0] == "text")


def _joined(messages: Sequence[Json], of_items: bool) -> list[Json]:
    """Results that stand one after the other are one message: some protocols send a message for each. So are the items
    of one answer (`of_items`), which Responses sends back side by side."""
    joined: list[Json] = []
    for message in messages:
        both = [*joined[-1:], message]
        if len(both) > 1 and (all(map(_is_of_results, both)) or (of_items and all(map(_is_answer, both)))):
            joined[-1] = {**joined[-1], "content": [*joined[-1]["content"], *message["content"]]}
        else:
            joined.append(message)
    return joined


def _is_answer(message: Json) -> bool:
    return bool(message["role"] == "assistant")


def _is_of_results(message: Json) -> bool:
    content = message["content"]
    return isinstance(content, list) and {block["type"] for block in content} == {"tool_result"}


def _kept(message: tuple[str, Said]) -> tuple[str, Said]:
    """Thinking is not sent back as it came, and arguments are rewritten: calls count by id and name."""
    role, blocks = message
    return role, [block[:3] if block[0] == "tool_use" else block for block in blocks if block[0] != "reasoning"]


def tries(turns: Sequence[Served]) -> list[int]:
    """How many times each turn was asked for, by what the requests say: in the order of the first tries."""
    counts: dict[str, int] = {}
    for turn in turns:
        dialect = dialect_of(turn)
        assert dialect
        asked = json.dumps([_kept(reduced(message)) for message in dialect.history(request_of(turn))])
        counts[asked] = counts.get(asked, 0) + 1
    return list(counts.values())


def recorded_tries(shown: Json) -> list[int]:
    """The same by the record: calls of one turn ask with the same message."""
    asked = [call["request_message_id"] for call in shown["calls"] if call["kind"] == "main"]
    return list(Counter(asked).values())


def names_written(shown: Json) -> set[str]:
    events = [event for event in shown["file_events"] if event["event_type"] in CHANGES]
    return {Path(event["file_path"]).name for event in events if event["status"] == "applied"}


def assert_the_messages_are_what_was_said(shown: Json, turns: Sequence[Served]) -> None:
    """The messages of a session are what crossed the wire in these requests and their answers, once."""
    assert _flat(map(recorded, shown["messages"])) == _flat(map(reduced, conversation(list(turns))))


def _flat(messages: Iterable[tuple[str, Said]]) -> Said:
    """Without the limits of messages, which some protocols draw otherwise than we do."""
    return [(role, *block) for role, blocks in messages for block in blocks]


def uses(shown: Json) -> list[str]:
    """The tool uses that made events, each once, in order."""
    return list(dict.fromkeys(event["tool_use_id"] for event in shown["file_events"]))


def uses_of_short(*names: str) -> list[str]:
    """All tool uses of the scripts `work.short` with these names."""
    return [f"toolu_{name}_{place}" for name in names for place in ("s0_t0", "s1_t0", "s1_t1")]


def assert_the_failed_try_is_told(stage: Stage[Any], shown: Json, status: int, outcome: str) -> None:
    """One call of the session failed, so; all tries of a turn ask with one message; and a rebuild tells the same. What
    was asked over a connection that the provider had just closed (502), the relay asks once more: nobody notices."""
    assert_nothing_is_told_twice(shown)
    calls = [call for call in shown["calls"] if call["kind"] == "main"]
    harmed = [
        (c["status"], c["outcome"]) for c in calls if c["error"] or (c["status"], c["outcome"]) != (200, "complete")
    ]
    if harmed or status != 502:
        assert harmed == [(status, outcome)]
        assert recorded_tries(shown) == tries(stage.turns())
    stage.recorder.stop()
    stage.recorder.run("rebuild")
    assert stage.show(shown["session"]["id"]) == shown


def two_sessions(stage: Stage[Any], *arguments: str) -> list[Json]:
    """Two runs with the same prompt at the same time, as they are told."""
    for process in [stage.agent.start("Do it.", *arguments) for _ in range(2)]:
        stage.agent.finish(process)
    stage.recorder.flush()
    shown = [stage.show(row["id"]) for row in stage.sessions()]
    assert len(shown) == 2
    assert_nothing_is_told_twice(*shown)
    return shown
