"""Codex: who it says it is, what its calls are for, what of its history stays. Seen up to 0.169.0.

It says everything twice, in headers and in `client_metadata` of the body; over a WebSocket only the body is that of the
call, the headers are those of the connection. All threads of a session share its id, and each agent is a thread; the
first one's id is the session's. A title is asked for by a session of its own, which only its metadata gives away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ocproxy.agents import codex_patch, codex_program, codex_results, codex_tools, mcp_files
from ocproxy.agents.base import Action, Answer, CallFacts, Checkout, CommandEnd, News, Replacement
from ocproxy.agents.generic import Generic, first_line
from ocproxy.model import (
    CallKind,
    Identity,
    Json,
    Message,
    ModelRequest,
    Opaque,
    Part,
    Status,
    Text,
    ToolResult,
    ToolUse,
)

_USER_AGENT = re.compile(r"\A[Cc]odex[\w .-]*?/(\d[\w.+-]*)")
_CWD = re.compile(r"<environment_context>.{0,2000}?<cwd>([^<]+)</cwd>", re.S)
_ENVIRONMENT = re.compile(r"\A\s*<environment_context>.*</environment_context>\s*\Z", re.S)
_SPAWNED = "You are now a newly spawned child agent."
_SUMMARY = "You are performing a CONTEXT CHECKPOINT COMPACTION"
_TITLED = "\nUser prompt:\n"  # in front of the prompt that a title is asked for
_TURN = "x-codex-turn-metadata"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


class Codex(Generic):
    """OpenAI's terminal agent."""

    name = "codex"

    def recognises(self, facts: CallFacts) -> bool:
        headers = facts.headers
        if headers.get("originator", "").lower().startswith("codex") or _TURN in headers:
            return True
        return _USER_AGENT.match(headers.get("user-agent", "")) is not None

    def identity(self, facts: CallFacts) -> Identity:
        said = _said(facts)
        session, thread = said.get("session-id"), said.get("thread-id")
        parent = said.get("x-codex-parent-thread-id")
        version = _USER_AGENT.match(facts.headers.get("user-agent", ""))
        if _turn(said).get("thread_source") == "thread_title":
            session = thread = None  # made for this one call
        is_part = thread is not None and session is not None and thread != session
        name = _turn(said).get("agent_name")
        identity = Identity(
            agent=self.name,
            session=session or thread,
            agent_id=thread if is_part else None,
            parent_agent_id=parent if is_part and parent != session else None,
            workdir=_workdir(facts.request, _turn(said)),
            version=version[1] if version else None,
            # It begins with its parent's history, and what it is asked to do is sealed: its name says most.
            title=name if is_part and isinstance(name, str) else None,
        )
        return self.tagged(identity, facts.tags)

    def checkout(self, facts: CallFacts) -> Checkout:
        """The commit of the working folder, which the turn's metadata names where it is a repository."""
        turn = _turn(_said(facts))
        workspaces = turn.get("workspaces")
        told = workspaces.get(_workdir(facts.request, turn)) if isinstance(workspaces, dict) else None
        commit = told.get("latest_git_commit_hash") if isinstance(told, dict) else None
        return Checkout(commit=commit) if isinstance(commit, str) and _COMMIT.fullmatch(commit) else Checkout()

    def kind(self, facts: CallFacts) -> CallKind:
        request = facts.request
        if request is None or request.endpoint != "generate":
            return super().kind(facts)
        turn = _turn(_said(facts))
        if request.params.get("generate") is False or turn.get("request_kind") == "prewarm":
            return CallKind.PROBE
        if turn.get("thread_source") == "thread_title":
            return CallKind.TITLE
        if turn.get("request_kind") == "compaction" or _asks_for_summary(request):
            return CallKind.SUMMARY
        return CallKind.MAIN

    def about(self, facts: CallFacts) -> str | None:
        if facts.request is None or self.kind(facts) is not CallKind.TITLE:
            return None
        texts = [p.text for m in facts.request.messages if m.role == "user" for p in m.parts if isinstance(p, Text)]
        return texts[-1].partition(_TITLED)[2] or None if texts else None

    def title(self, facts: CallFacts) -> str | None:
        if facts.reply is None or self.kind(facts) is not CallKind.TITLE:
            return None
        text = "".join(part.text for part in facts.reply.parts if isinstance(part, Text))
        said = _decoded(text)
        title = said.get("title") if isinstance(said, dict) else None
        return title.strip() or None if isinstance(title, str) else None

    def inherited(self, messages: Sequence[Sequence[Part]]) -> int:
        """Up to the message that tells a subagent that it is one: the last one, since a subagent's subagent was given
        its parent's too. Calls that its parent still waits for stand before it with answers of their own (`aborted`).
        """
        for number in reversed(range(len(messages))):
            if any(isinstance(part, Text) and part.text.startswith(_SPAWNED) for part in messages[number]):
                return number
        return 0

    def spoken(self, text: str) -> str:
        return "" if _ENVIRONMENT.match(text) else text.strip()

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        use = codex_tools.qualified(use)
        found = codex_tools.actions(use)
        return found if found is not None else super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        use = codex_tools.qualified(use)
        if codex_tools.is_program(use):
            return codex_program.answer_of_program(use.input["input"], result)
        if use.name.startswith("mcp__"):
            return _server_answer(use, result)
        asked = codex_tools.actions(use)
        if asked is None and not codex_results.is_refused(result.text):
            return super().answer(use, result)
        return codex_results.answer(asked or (), result.text)

    def news(self, said: Text | ToolResult, use: ToolUse | None) -> News:
        """Later results of a command that runs on: of `write_stdin`, also in a program, and of `wait`
        for a program."""
        if not isinstance(said, ToolResult) or use is None:
            return News()
        if codex_tools.is_program(codex_tools.qualified(use)):
            return News(ended=codex_program.ends_of_program(use.input["input"], said))
        if use.name == "write_stdin":
            end = codex_results.end_of(str(use.input.get("session_id")), said.text)
            return News(ended=(end,)) if end else News()
        if use.name == "wait" and (printed := codex_program.printed_code(said)) is not None:
            code, output = printed
            status = codex_results.status_of(code)
            note = first_line(output) or None if status is Status.FAILED else None
            return News(ended=(CommandEnd(f"cell {use.input.get('cell_id')}", status, code, note),))
        return News()

    def replace(self, text: str, replacement: Replacement) -> str | None:
        if replacement.whole_lines:
            return codex_patch.apply_hunk(text, replacement)
        return super().replace(text, replacement)

    def replace_all(self, text: str, replacements: Sequence[Replacement]) -> str | None:
        if all(replacement.whole_lines for replacement in replacements):
            return codex_patch.apply_hunks(text, replacements)
        return super().replace_all(text, replacements)


def _server_answer(use: ToolUse, result: ToolResult) -> Answer:
    """MCP tools as functions: the server's text behind a line of the time that it took; errors are not flagged."""
    text = re.sub(r"\AWall time: [^\n]*\nOutput:\n", "", result.text)
    if text.startswith(("unsupported call: ", "tool call error: ", "Error: ")):
        return Answer(Status.FAILED, note=first_line(text))
    if re.match(r"\AUser (?:rejected|cancelled) MCP tool call", text, re.I):
        return Answer(Status.REJECTED, note=first_line(text))
    return mcp_files.answer(use, text, Status.APPLIED, None)


def _said(facts: CallFacts) -> dict[str, str]:
    """What the call says of itself, by header names; the body's word counts more."""
    metadata = facts.request.params.get("client_metadata") if facts.request else None
    body = metadata if isinstance(metadata, dict) else {}
    own = {name.replace("_", "-"): value for name, value in body.items() if isinstance(value, str) and value}
    return {**facts.headers, **own}


def _turn(said: dict[str, str]) -> dict[str, Json]:
    turn = _decoded(said.get(_TURN, ""))
    return turn if isinstance(turn, dict) else {}


def _decoded(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _workdir(request: ModelRequest | None, turn: dict[str, Json]) -> str | None:
    """The last environment message counts: the folder can change. Else the turn's only workspace, a repository."""
    for message in reversed(request.messages if request else ()):
        for part in message.parts:
            if isinstance(part, Text) and (found := _CWD.search(part.text)):
                return found[1].strip()
    workspaces = turn.get("workspaces")
    return next(iter(workspaces)) if isinstance(workspaces, dict) and len(workspaces) == 1 else None


def _asks_for_summary(request: ModelRequest) -> bool:
    last: Message | None = request.messages[-1] if request.messages else None
    if last is None:
        return False
    if any(isinstance(part, Opaque) and part.kind == "compaction_trigger" for part in last.parts):
        return True
    return any(isinstance(part, Text) and part.text.lstrip().startswith(_SUMMARY) for part in last.parts)


AGENT = Codex()
