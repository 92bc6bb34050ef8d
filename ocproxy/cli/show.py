"""`ocproxy show`: one session: what was said, what was done, what it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.calls import call_kind, call_note, seconds
from ocproxy.cli.files import event_lines, event_note, event_target
from ocproxy.cli.invocation import Invocation, Json, SessionId
from ocproxy.cli.sessions import cost_of, name_of, nest, parent_note
from ocproxy.cli.terminal import STATUS_STYLES, amount, clock, days, money, one_line, plain, print_table
from ocproxy.service.answers import ask

COMMAND = typer.Typer()
Full = Annotated[bool, typer.Option("--full", help="Nothing folded: attached texts and results whole.")]

_RESULT_LINES = 8  # of a tool's output: enough to recognise it; --full and --json have all of it
_RESULT_CHARACTERS = 300  # of one of those lines: some tools answer with a file in one line of JSON
_ASKED = 80  # characters of what a result is of
_SYSTEM_LINES = 2  # of a message that the agent's program wrote to the model
_ROLES = {"user": "bold cyan", "assistant": "bold magenta", "system": "bold yellow"}
_CALL_HEADS = ("STARTED", "KIND", "MODEL~", "END", "SECONDS#", "IN#", "CACHED#", "OUT#", "COST#", "NOTE~")


@COMMAND.command()
def show(ctx: typer.Context, session: SessionId, full: Full = False, as_json: Json = False) -> None:
    """Show one session: messages, tool uses, file events, calls."""
    run: Invocation = ctx.obj
    found = ask(run.settings(), lambda store: query.show(store, session))
    if as_json:
        run.print_json(found)
        return
    for line in (*_head(found), *_conversation(found, full), *_subagents(found)):
        run.out.print(line, soft_wrap=True)
    run.out.print(Text("\nCalls", style="bold"))
    dated = not run.out.is_terminal or days(call["started_at"] for call in found["calls"]) > 1
    turns = [[call] for call in found["calls"]] if full else list(_turns(found["calls"]))
    print_table(run.out, _CALL_HEADS, [_call_row(tries, dated) for tries in turns])


def _head(found: dict[str, Any]) -> Iterator[Text]:
    session, subagents = found["session"], found["subagents"]
    counted = any(call["output_tokens"] is not None or call["input_tokens"] is not None for call in found["calls"])
    yield Text(one_line(name_of(session)), style="bold")
    facts = {
        "id": session["id"],
        "agent": f"{session['agent_name']} {session.get('agent_version') or ''}",
        "agent's id": session["opencode_id"] if session["opencode_id"] != session["id"] else None,
        "parent": (session["parent_id"] or "") + parent_note(session),
        "run": session.get("run"),
        "folder": session["workdir"],
        "model": session["model"],
        "began": clock(session["created_at"]),
        "last call": clock(session["updated_at"]),
        "pruned": f"{clock(session['pruned_at'])}: its content was removed" if session["pruned_at"] else None,
        "tokens": f"{amount(session['input_tokens'])} in, {amount(session['cache_read_tokens'])} read from cache,"
        f" {amount(session['cache_write_tokens'])} written to it, {amount(session['output_tokens'])} out"
        if counted
        else "the provider did not say",
    }
    facts["cost"] = cost_of(session)
    if session["unpriced_calls"]:
        facts["cost"] += f" ({session['unpriced_calls']} calls have no price)"
    if any(child["cost_usd"] for child in subagents):
        facts["cost"] += f", its subagents {money(sum(child['cost_usd'] or 0 for child in subagents))}"
    for name, value in facts.items():
        if value and value.strip():
            yield Text(f"  {name:<11}", style="dim").append(one_line(value), style="default")


def _conversation(found: dict[str, Any], full: bool) -> Iterator[Text]:
    talk = _Talk(found, full)
    for message in found["messages"]:
        yield Text(f"\n{message['role']}", style=_ROLES.get(message["role"], "bold")).append(
            f"  {clock(message['created_at'], date=False)}", style="dim"
        )
        yield from talk.message(message)


class _Talk:
    """How the messages of one session look."""

    def __init__(self, found: dict[str, Any], full: bool) -> None:
        self._full = full
        self._workdir = found["session"]["workdir"]
        parts = [part for message in found["messages"] for part in message["parts"]]
        self._tools = {part["id"]: part["name"] for part in parts if part["type"] == "tool_use"}
        self._ends: dict[str, list[str]] = {}  # of the calls that gave an answer
        for call in found["calls"]:
            if call["message_id"]:
                self._ends.setdefault(call["message_id"], []).append(call["outcome"])
        self._of_use: dict[str, list[dict[str, Any]]] = {}
        self._of_message: dict[str, list[dict[str, Any]]] = {}
        for event in found["file_events"]:
            if event["tool_use_id"] in self._tools:
                self._of_use.setdefault(event["tool_use_id"], []).append(event)
            else:  # a file that the agent's program attached, an edit that the model wrote as text
                self._of_message.setdefault(event["message_id"], []).append(event)

    def message(self, message: dict[str, Any]) -> Iterator[Text]:
        folded = not self._full and message["role"] != "assistant"
        results = sum(part["type"] == "tool_result" for part in message["parts"])
        for part in message["parts"]:
            if part["type"] == "tool_result" and results > 1:
                yield Text(f"  {self._asked(part['tool_use_id'])}:", style="dim")
            if not folded or part["type"] != "text":
                yield from self._part(part)
        if folded:
            yield from _spoken(message)
        for event in self._of_message.get(message["id"], []):
            yield self._event(event["tool_name"], event)
        ends = self._ends.get(message["id"])
        if ends and "complete" not in ends:
            yield Text(f"[the answer broke off: {ends[-1]}]", style="yellow")

    def _asked(self, use: str) -> str:
        """What a result is of, where a message has several."""
        events = self._of_use.get(use, [])
        target = event_target(events[0], self._workdir) if events else ""
        return one_line(f"{self._tools.get(use, 'result')} {target}".strip(), _ASKED)

    def _part(self, part: dict[str, Any]) -> Iterator[Text]:
        match part["type"]:
            case "text":
                yield Text(plain(part["text"]).rstrip("\n"))
            case "reasoning":
                yield Text(plain(part["text"] or "(redacted thinking)"), style="dim italic")
            case "tool_use":
                yield from self._use(part)
            case "tool_result":
                yield from _tool_result(part, self._full)
            case other:
                kind = part.get("media_type") or part.get("kind") or other
                yield Text(f"[{one_line(str(kind))}]", style="dim")

    def _use(self, part: dict[str, Any]) -> Iterator[Text]:
        events = self._of_use.get(part["id"], [])
        if not events:
            given = one_line(json.dumps(part["input"], ensure_ascii=False))
            yield Text("* ").append(one_line(part["name"]), style="bold").append(f" {given}", style="dim")
        for event in events:
            yield self._event(part["name"], event)

    def _event(self, tool: str, event: dict[str, Any]) -> Text:
        """The tool and, where its name does not tell it, what it did; to what; how that ended."""
        line = Text("* ").append(one_line(tool), style="bold")
        kind = event["event_type"]
        if kind not in re.split("[^a-z]+", tool.lower()) and kind != "bash":
            line.append(f" {kind}")
        line.append(f" {event_target(event, self._workdir)}  ")
        if lines := event_lines(event):
            line.append(f"{lines}  ", style="dim")
        line.append(event["status"], style=STATUS_STYLES.get(event["status"], ""))
        note = event_note(event)
        return line.append(f"  ({note})" if note else "", style="dim")


def _spoken(message: dict[str, Any]) -> Iterator[Text]:
    """What was said in a message. What the agent's program attached, often hundreds of lines, is only counted."""
    sent = sum(part["text"].count("\n") + 1 for part in message["parts"] if part["type"] == "text")
    lines = plain(message["spoken"] or "").split("\n") if message["spoken"] else []
    if message["role"] == "system":
        lines = lines[:_SYSTEM_LINES]
    yield from (Text(line) for line in lines)
    if left := max(sent - len(lines), 0):
        yield Text(f"[{_lines(left)} that the agent's program attached; --full shows them]", style="dim italic")


def _lines(count: int, more: str = "") -> str:
    return f"{count} {more}line{'' if count == 1 else 's'}"


def _tool_result(part: dict[str, Any], full: bool) -> Iterator[Text]:
    lines = plain(part["text"].removesuffix("\n")).split("\n")
    style = "red" if part.get("is_error") else "dim"
    for line in lines if full else lines[:_RESULT_LINES]:
        cut = not full and len(line) > _RESULT_CHARACTERS
        yield Text(f"  | {line[:_RESULT_CHARACTERS]}…" if cut else f"  | {line}", style=style)
    if len(lines) > _RESULT_LINES and not full:
        yield Text(f"  | … {_lines(len(lines) - _RESULT_LINES, 'more ')}", style=style)


def _subagents(found: dict[str, Any]) -> Iterator[Text]:
    if found["subagents"]:
        yield Text("\nSubagents", style="bold")
    for session, depth in nest(found["subagents"]):
        line = Text(f"  {session['id']}  {'  ' * (depth - 1)}{'└ ' * bool(depth)}{one_line(name_of(session))}")
        did = f"  {session['calls']} calls, {session['file_events']} file events"
        yield line.append(parent_note(session)).append(did, style="dim")


def _turns(calls: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The calls, those that asked with the same message together: an agent tries again when a call fails."""
    turns: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        turns.setdefault(call["request_message_id"] or call["id"], []).append(call)
    yield from turns.values()


def _cost(tries: list[dict[str, Any]]) -> float | None:
    """What all tries of a turn cost together."""
    costs = [call["cost_usd"] for call in tries if call["cost_usd"] is not None]
    return sum(costs) if costs else None


def _call_row(tries: list[dict[str, Any]], dated: bool) -> tuple[str | Text, ...]:
    """The last of some tries of a turn; of those before only how they ended."""
    call = tries[-1]
    note = call_note(call)
    if before := [one_line(one["error"] or one["outcome"], 60) for one in tries[:-1]]:
        note = f"tried {len(tries)} times (before: {', '.join(before)})" + (f"; {note}" if note else "")
    return (
        clock(call["started_at"], date=dated),
        call_kind(call),
        one_line(call["model"]),
        call["outcome"],
        seconds(call),
        amount(call["input_tokens"]),
        amount(call["cache_read_tokens"]),
        amount(call["output_tokens"]),
        money(_cost(tries)),
        note,
    )
