"""Claude Code's identity, kinds of call and message keys, on recorded traffic of both layouts."""

from __future__ import annotations

from typing import Any

import pytest

from ocproxy.agents.base import CallFacts
from ocproxy.agents.claude_code import AGENT
from ocproxy.model import CallKind, Message, Reply, Text, ToolResult, ToolUse
from tests.agents.recorded import calls, facts, history

SESSION = "11111111-2222-4333-8444-555555555555"
LAYOUTS = ["newer_layout", "older_layout"]


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _body(text: str = "hello", **rest: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [_user(text)], **rest}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_of_a_run_says_the_same_session_folder_and_version(layout: str) -> None:
    for call in calls(layout):
        assert AGENT.recognises(call)
        identity = AGENT.identity(call)
        assert (identity.session, identity.workdir, identity.version) == (SESSION, "/home/user/project", "2.1.329")
        assert (identity.agent, identity.agent_id) == ("claude-code", None)
        assert AGENT.kind(call) is CallKind.MAIN


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_message_keeps_its_key_in_all_later_calls(layout: str) -> None:
    recorded = calls(layout)
    assert len(recorded) > 4
    before: list[str | None] = []
    for call in recorded:
        keys = [AGENT.key(message) for message in history(call)]
        assert None not in keys
        assert keys[: len(before)] == before
        assert len(set(keys)) >= len(keys) - 1  # the two prompts say the same
        before = keys


@pytest.mark.parametrize("layout", LAYOUTS)
def test_system_prompt_and_tools_have_one_key_for_the_whole_run(layout: str) -> None:
    assert len({AGENT.system_key(call.request) for call in calls(layout) if call.request}) == 1


def test_the_billing_line_and_cache_control_do_not_count_in_the_system_key() -> None:
    def key(suffix: str, text: str, **rest: Any) -> str:
        billing = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.329.{suffix};"}
        request = facts(_body(system=[billing, {"type": "text", "text": text, **rest}])).request
        assert request
        return AGENT.system_key(request)

    assert key("dd7", "prompt") == key("a01", "prompt", cache_control={"type": "ephemeral"})
    assert key("dd7", "prompt") != key("dd7", "other prompt")


def test_a_subagent_has_the_same_session_and_an_id_of_its_own() -> None:
    ids = {AGENT.identity(call).agent_id for call in calls("subagent")}
    assert ids == {None, "a0000000000000001"}
    assert {AGENT.identity(call).session for call in calls("subagent")} == {SESSION}


def test_tags_override_what_the_agent_says() -> None:
    call = calls("newer_layout")[0]
    tags = {"session": "mine", "workdir": "/else", "title": "T", "thread": "th"}
    tagged = AGENT.identity(CallFacts("POST", call.path, call.headers, tags, None, call.request, None))
    assert (tagged.session, tagged.workdir, tagged.title, tagged.thread) == ("mine", "/else", "T", "th")


@pytest.mark.parametrize(
    "user_id",
    ['{"device_id":"d","account_uuid":"","session_id":"%s"}' % SESSION, f"user_abc_account__session_{SESSION}"],  # noqa: UP031
)
def test_the_session_is_found_in_the_body_when_the_header_is_gone(user_id: str) -> None:
    call = facts(_body(metadata={"user_id": user_id}), headers={"user-agent": "claude-cli/1.0.9 (external, cli)"})
    assert AGENT.recognises(call)
    assert AGENT.identity(call).session == SESSION


@pytest.mark.parametrize("user_id", ["not json", "[1]", '{"session_id": 3}', None])
def test_an_odd_user_id_is_no_session(user_id: str | None) -> None:
    assert AGENT.identity(facts(_body(metadata={"user_id": user_id}))).session is None


def test_the_folder_comes_from_the_client_or_its_texts_but_not_from_the_prompt() -> None:
    guard = [{"type": "dangerous_tool_use", "classifier_context": {"live_cwd": "/live"}}]
    old = "<env>\nWorking directory: /old form\nIs directory a git repo: Yes\n</env>"
    assert AGENT.identity(facts(_body(safeguards=guard))).workdir == "/live"
    assert AGENT.identity(facts(_body(system=old))).workdir == "/old form"
    assert AGENT.identity(facts(_body("Primary working directory: /forged"))).workdir is None


def test_files_mentioned_in_the_prompt_do_not_hide_the_folder() -> None:
    assert AGENT.identity(calls("mentions")[0]).workdir == "/home/user/project"


def test_a_file_mentioned_in_the_prompt_does_not_name_the_folder() -> None:
    shown = (
        "<system-reminder>\nResult of calling the Read tool:\nPrimary working directory: /forged\n</system-reminder>"
    )
    assert AGENT.identity(facts(_body(shown))).workdir is None


def test_a_folder_that_the_shell_went_to_is_told_from_the_one_before() -> None:
    update = {"role": "system", "content": "# Environment update\n - Primary working directory: /w/sub (was /w)"}
    body = _body()
    assert AGENT.identity(facts({**body, "messages": [*body["messages"], update]})).workdir == "/w/sub"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (_body("quota", max_tokens=1), CallKind.QUOTA),
        (_body(output_config={"format": {"schema": {"properties": {"title": {}}}}}), CallKind.TITLE),
        (_body(system="You are naming a coding session so the user can pick it"), CallKind.TITLE),
        (_body(system="Analyze if this message indicates a new topic. {'isNewTopic': …}"), CallKind.TOPIC),
        (_body("CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.", tools=[{"name": "Read"}]), CallKind.SUMMARY),
        (_body("Your task is to create a detailed summary of the conversation so far"), CallKind.SUMMARY),
        (_body("[SUGGESTION MODE: Suggest what the user might type.]", tools=[{"name": "Read"}]), CallKind.CHECK),
        (_body(stop_sequences=["</block>"]), CallKind.SAFETY),
        (_body(system="You are a security monitor for autonomous agents"), CallKind.SAFETY),
        (_body("quota"), CallKind.MAIN),
        (_body("say what 'create a detailed summary of the conversation' means"), CallKind.MAIN),
    ],
)
def test_side_calls_are_told_from_the_conversation(body: dict[str, Any], kind: CallKind) -> None:
    assert AGENT.kind(facts(body)) is kind


def test_calls_without_a_request_have_kinds_too() -> None:
    assert AGENT.kind(facts(None, method="HEAD", path="/api/hello")) is CallKind.PROBE
    assert AGENT.kind(facts(None, method="GET", path="/v1/models?limit=5")) is CallKind.MODELS
    assert AGENT.kind(facts(None, method="POST", path="/v1/files")) is CallKind.OTHER
    assert AGENT.kind(facts(_body(), path="/v1/messages/count_tokens")) is CallKind.COUNT


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ('{"title": "Fix the tests"}', "Fix the tests"),
        ("no json", None),
        ('{"title": 3}', None),
    ],
)
def test_a_title_call_gives_its_title(said: str, title: str | None) -> None:
    naming = _body(output_config={"format": {"schema": {"properties": {"title": {}}}}})
    assert AGENT.title(facts(naming, reply=Reply(parts=(Text(said),)))) == title
    assert AGENT.title(facts(_body(), reply=Reply(parts=(Text(said),)))) is None


def test_what_the_agent_rewrites_does_not_change_a_key() -> None:
    plain = Message("user", (Text("do it"),))
    dressed = Message("user", (Text("<system-reminder>\ndate\n</system-reminder>\n"), Text(" do it\n")))
    assert AGENT.key(plain) == AGENT.key(dressed)
    use, rewritten = ToolUse("t1", "Bash", {"command": "cd /w && ls"}), ToolUse("t1", "Bash", {"command": "ls"})
    assert AGENT.key(Message("assistant", (use,))) == AGENT.key(Message("assistant", (rewritten,)))
    short, glued = ToolResult("t1", "a"), ToolResult("t1", "a\n\n<system-reminder>x</system-reminder>")
    assert AGENT.key(Message("user", (short,))) == AGENT.key(Message("user", (glued,)))
    assert AGENT.key(plain) != AGENT.key(Message("user", (Text("do that"),)))


def test_a_message_of_reminders_is_kept_from_a_user_and_dropped_from_the_system() -> None:
    reminder = (Text("<system-reminder>\n1 tokens left\n</system-reminder>"),)
    assert AGENT.key(Message("user", reminder)) == AGENT.key(Message("user", ()))
    assert AGENT.key(Message("system", reminder)) is None
    assert AGENT.key(Message("system", (Text("<task-notification>done</task-notification>"),))) is not None
