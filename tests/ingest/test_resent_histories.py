"""Agents resend their history with each call, and change it: one session all the same, and every message once.

What is changed here was measured on the wire of the agents that the tests name. Each conversation has two tool calls,
so that what is changed stands at the beginning, in the middle and at the end of a history.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations import assistant, result, text, use, user
from tests.support.playing import Change, Client, Json, Stage, is_a_line

pytestmark = pytest.mark.anyio

CLAUDE = {"user-agent": "claude-cli/2.1.329 (external, cli)", "x-claude-code-session-id": "s"}
CODEX = {"originator": "codex_exec", "session-id": "s", "thread-id": "s"}
OPENCODE = {"user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4", "x-session-id": "ses_1"}
PI = {"user-agent": "pi (linux 6.1; x64)"}
QWEN = {"user-agent": "QwenCode/0.24.4 (linux; x64)"}
GEMINI = {"user-agent": "GeminiCLI-tui/0.61.0/m (linux; x64)"}
CLINE = "You are Cline, an agent."
CLIENTS: dict[str, Client] = {
    "claude-code": Client("messages", CLAUDE),
    "codex": Client("responses", CODEX),
    "gemini-cli": Client("gemini", GEMINI),
    "qwen-code": Client("chat", QWEN),
    **{f"opencode {name}": Client(name, OPENCODE) for name in ("messages", "chat", "responses", "gemini")},
    **{f"pi {name}": Client(name, PI) for name in ("messages", "chat", "responses", "gemini")},
    **{f"cline {name}": Client(name, system=CLINE) for name in ("messages", "chat", "responses", "gemini")},
    **{f"pydantic-ai {name}": Client(name, {"user-agent": "pydantic-ai/2.68.0"}) for name in ("chat", "responses")},
    **{f"unknown {name}": Client(name) for name in ("messages", "chat", "responses", "gemini")},
}
# How the agents call the tool that runs a command, and the one that writes a file.
SHELL = {"claude-code": "Bash", "codex": "exec_command", "gemini-cli": "run_shell_command"}
SHELL |= {"qwen-code": "run_shell_command", "cline": "run_commands", "opencode": "bash", "pi": "bash"}
WRITE = {"claude-code": "Write", "gemini-cli": "write_file", "qwen-code": "write_file", "cline": "editor"}
WRITE |= {"opencode": "write", "pi": "write", "codex": "write_file"}
PATH = {"opencode": "filePath", "pi": "path", "cline": "path"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def story(name: str, first: str = "t1", second: str = "t2") -> list[Json]:
    """Two tool calls and two prompts, with the tools of the agent."""
    agent = name.partition(" ")[0]
    command: dict[str, Json] = {"cline": {"commands": ["cd /w && make"]}, "codex": {"cmd": "cd /w && make"}}
    given = command.get(agent, {"command": "cd /w && make"})
    content = "new_text" if agent == "cline" else "content"
    written = {PATH.get(agent, "file_path"): "/w/a.txt", content: "alpha\n"}
    thought = {"type": "thinking", "thinking": "Well.", "signature": "c2ln"}
    return [
        user("Build it."),
        assistant(thought, "I run it.", use(first, SHELL.get(agent, "bash"), **given)),
        user(result(first, "built")),
        assistant(use(second, WRITE.get(agent, "write_file"), **written)),
        user(result(second, "done")),
        assistant("It is built."),
        user("Once more?"),
        assistant("No."),
    ]


async def assert_is_told_once(stage: Stage, turns: list[Json]) -> None:
    told = await stage.told()
    assert len(told.sessions) == 1
    kept = [row for row in told.messages[0] if row.role != "system"]
    assert [row.role for row in kept] == [turn["role"] for turn in turns], told.lines()
    assert is_a_line(told.messages[0]), told.lines()
    assert [event.event_type.value for event in told.events] == ["bash", "write"]
    assert all(event.status != "requested" for event in told.events)


def listed(body: Json) -> list[Json]:
    """The messages, items or contents of a request, whatever the protocol calls them."""
    found: list[Json] = body.get("messages") or body.get("input") or body["contents"]
    return found


# --- what is changed


def mark_for_caching(body: Json) -> None:
    """`cache_control` on the last part of the newest two messages."""
    for message in body["messages"][-2:]:
        message["content"][-1]["cache_control"] = {"type": "ephemeral"}


def make_texts_plain(body: Json) -> None:
    """A message of one text becomes a string, but for the newest, which is marked."""
    mark_for_caching(body)
    for message in body["messages"][:-2]:
        if [block["type"] for block in message["content"]] == ["text"]:
            message["content"] = message["content"][0]["text"]


def list_texts(body: Json) -> None:
    """A string becomes a list of one text; so do results."""
    for message in listed(body):
        for field in ("content", "output"):
            if isinstance(message.get(field), str):
                kind = "input_text" if field == "output" else "text"
                message[field] = [{"type": kind, "text": message[field]}]


def rewrite_inputs(body: Json) -> None:
    for message in body["messages"]:
        for block in message["content"]:
            if block["type"] == "tool_use":
                block["input"] = {"replace_all": False, **block["input"]}
                if "command" in block["input"]:
                    block["input"]["command"] = "make"


def turn_keys_round(body: Json) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(inner) for key, inner in reversed(value.items())}
        return [turned(inner) for inner in value] if isinstance(value, list) else value

    for field, value in list(body.items()):
        body[field] = turned(value)


def respell_arguments(body: Json) -> None:
    """The arguments of calls without the spaces, and in another order."""
    for message in listed(body):
        calls = [call["function"] for call in message.get("tool_calls") or []]
        for call in [*calls, *([message] if "arguments" in message else [])]:
            given = json.loads(call["arguments"])
            call["arguments"] = json.dumps(dict(reversed(given.items())), separators=(",", ":"))


def drop_thoughts(body: Json) -> None:
    for message in listed(body):
        message.pop("reasoning_content", None)
        for field in ("content", "parts"):
            if isinstance(message.get(field), list):
                message[field] = [
                    part for part in message[field] if part.get("type") != "thinking" and not part.get("thought")
                ]
    if "input" in body:
        body["input"] = [item for item in body["input"] if item["type"] != "reasoning"]


def tell_thoughts_in_tags(body: Json) -> None:
    """As Pydantic AI tells thoughts that are not sealed: as a text of their own, or before the text."""
    for at, said in enumerate(listed(body)):
        if "reasoning_content" in said:
            said["content"] = f"<think>\n{said.pop('reasoning_content')}\n</think>\n\n{said['content']}"
        if said.get("type") == "reasoning":
            thought = said["summary"][0]["text"]
            body["input"][at] = {"role": "assistant", "content": f"<think>\n{thought}\n</think>"}


def drop_item_ids(body: Json) -> None:
    for item in body["input"]:
        item.pop("id", None)


def change_item_ids(body: Json) -> None:
    for number, item in enumerate(body["input"]):
        item["id"] = f"x_{number}"


def add_reminders(body: Json) -> None:
    """As Claude Code's older layout: glued to results, and as a text behind the prompt."""
    for message in body["messages"]:
        for block in message["content"]:
            if block["type"] == "tool_result":
                block["content"] += "\n<system-reminder>\n<total_tokens>9</total_tokens>\n</system-reminder>"
        if message["role"] == "user":
            message["content"].append(text("<system-reminder>\nAs you like.\n</system-reminder>"))


def remind_in_chat(body: Json) -> None:
    first = next(message for message in body["messages"] if message["role"] == "user")
    listing = "<system-reminder>I'm currently working in the directory: /w\n- a.txt</system-reminder>"
    first["content"] = [{"type": "text", "text": listing}, {"type": "text", "text": first["content"]}]


def repeat_results(body: Json) -> None:
    for content in body["contents"]:
        answers = [part for part in content["parts"] if "functionResponse" in part]
        content["parts"] += answers


def resign_thoughts(body: Json) -> None:
    for content in body["contents"]:
        for part in content["parts"]:
            if "thoughtSignature" in part:
                part["thoughtSignature"] = "skip_thought_signature_validator"


def drop_signatures(body: Json) -> None:
    for content in body["contents"]:
        for part in content["parts"]:
            part.pop("thoughtSignature", None)


def resume_gemini(body: Json) -> None:
    """All that Gemini CLI does to a history when it resumes it: another listing of the folder too."""
    drop_thoughts(body)
    resign_thoughts(body)
    repeat_results(body)
    listing = "<session_context>\nfiles: b.txt\n</session_context>"
    body["contents"][0]["parts"].insert(0, {"text": listing})


def shuffle_metadata(body: Json) -> None:
    fields = [(f"key{n}", f"value{n}") for n in range(9)] + [("session_id", "s"), ("thread_id", "s")]
    random.Random(len(body["input"])).shuffle(fields)
    body["client_metadata"] = dict(fields)


def change_system(body: Json) -> None:
    if "messages" in body and body["messages"][0]["role"] == "system":
        body["messages"][0]["content"] += " Today is another day."
    elif "instructions" in body:
        body["instructions"] += " Today is another day."


CHANGES: list[tuple[str, Change]] = [
    *((name, mark_for_caching) for name in ("claude-code", "opencode messages", "pi messages", "cline messages")),
    *((name, make_texts_plain) for name in ("claude-code", "opencode messages", "pi messages", "unknown messages")),
    *((name, list_texts) for name in ("unknown chat", "qwen-code", "opencode chat", "unknown responses", "codex")),
    ("claude-code", rewrite_inputs),
    *((name, turn_keys_round) for name in CLIENTS),
    *((name, respell_arguments) for name in CLIENTS if name.endswith((" chat", " responses", "codex"))),
    *((name, drop_thoughts) for name in CLIENTS),
    *((name, tell_thoughts_in_tags) for name in ("pydantic-ai chat", "pydantic-ai responses")),
    *((name, drop_item_ids) for name in ("opencode responses", "unknown responses")),
    ("unknown responses", change_item_ids),
    ("claude-code", add_reminders),
    ("qwen-code", remind_in_chat),
    *((name, repeat_results) for name in ("gemini-cli", "unknown gemini")),
    *((name, resign_thoughts) for name in ("gemini-cli", "unknown gemini", "opencode gemini")),
    *((name, drop_signatures) for name in CLIENTS if name.endswith("gemini") or name == "gemini-cli"),
    ("gemini-cli", resume_gemini),
    ("codex", shuffle_metadata),
    *((name, change_system) for name in ("unknown chat", "qwen-code", "unknown responses", "pi chat")),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("when", ["always", "at the end"])
async def test_a_history_that_is_changed_is_told_once(stage: Stage, name: str, change: Change, when: str) -> None:
    client, turns = CLIENTS[name], story(name)
    body = client.body(turns[:7])
    change(body)
    assert json.dumps(body) != json.dumps(client.body(turns[:7]))
    if when == "always":
        stage.play(client, turns, change)
    else:
        stage.play(client, turns[:6])
        stage.call(client, turns[:7], turns[7], change)
    await assert_is_told_once(stage, turns)


@pytest.mark.parametrize("protocol", ["messages", "chat", "responses", "gemini"])
@pytest.mark.parametrize("ids", [("t1", "t2"), ("call_0", "call_0")], ids=["same ids", "weak ids"])
async def test_two_unknown_agents_at_once_are_told_apart(stage: Stage, protocol: str, ids: tuple[str, str]) -> None:
    """The same prompt and the same calls with the same ids; only what came back differs. Their calls alternate."""
    client = CLIENTS[f"unknown {protocol}"]
    stories = [story(client.protocol, *ids), story(client.protocol, *ids)]
    stories[1][1] = assistant("I do it.", *stories[1][1]["content"][2:])
    for turns in stories:
        stage.call(client, turns[:1], turns[1])
    for at in (3, 5, 7):
        for turns in stories:
            stage.call(client, turns[:at], turns[at])
    told = await stage.told()
    assert [len(messages) for messages in told.messages] == [8, 8]
    assert all(is_a_line(messages) for messages in told.messages)
    assert [sum(event.session_id == row.id for event in told.events) for row in told.sessions] == [2, 2]


async def test_the_name_of_a_run_keeps_the_same_conversation_apart(stage: Stage) -> None:
    client, turns = CLIENTS["unknown chat"], story("unknown chat")
    for at in (1, 3, 5, 7):
        for run in ("one", "two"):
            stage.call(client, turns[:at], turns[at], run=run)
    told = await stage.told()
    assert sorted(row.run or "" for row in told.sessions) == ["one", "two"]
    assert [len(messages) for messages in told.messages] == [8, 8]


@pytest.mark.parametrize("name", [name for name in CLIENTS if name.endswith("gemini") or name == "gemini-cli"])
@pytest.mark.parametrize("change", [turn_keys_round, drop_thoughts, drop_signatures, repeat_results])
async def test_a_history_without_call_ids_that_is_changed_is_told_once(stage: Stage, name: str, change: Change) -> None:
    turns = story(name, "none1", "none2")
    stage.play(CLIENTS[name], turns, change)
    await assert_is_told_once(stage, turns)
