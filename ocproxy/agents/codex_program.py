"""Code mode: the actions of a program, and what its result says of each. See `codex_script` for how it is read.

A result holds no more than what the program printed: first `Script completed | failed | running with cell ID N`, then
an item for each print. Prints are matched with the program's own, so the exit code of a command is known where its
program printed it, and only there. A program that fails ends at the call that failed; what was printed before tells how
far it came. All texts seen with 0.169.0.
"""

from __future__ import annotations

import re

import msgspec

from ocproxy.agents import mcp_files
from ocproxy.agents.base import Action, Answer, CommandEnd
from ocproxy.agents.codex_results import Ran, command_answer, command_end, is_rejected
from ocproxy.agents.codex_script import Call, Print, Program, read_program
from ocproxy.agents.codex_shell import actions_of, patch_actions
from ocproxy.agents.codex_values import Partial, Result, Value, as_text, is_known
from ocproxy.agents.generic import first_line
from ocproxy.agents.shapes import degraded
from ocproxy.model import EventType, Json, Status, ToolResult, ToolUse

_HEAD = re.compile(
    r"\AScript (?P<end>completed|failed|running with cell ID (?P<cell>\w+))\nWall time [^\n]*\nOutput:\n"
)
_ERROR = "Script error:\n"
_PLACE = re.compile(r"\n\s+at exec_main\.mjs:(\d{1,7}):(\d{1,7})")
_BAD_PATCH = ("apply_patch verification failed: ", "patch rejected: ")
_COMPUTED = "worked out from a program: the value that it had when it ran is not in the recording"
_EDIT = Action(EventType.EDIT)
_PERHAPS = "the program may not have come to it"
_NOT_PRINTED = "the program did not print how it ended"
_NOT_REACHED = "the program failed before it"
_RUNS_ON = "the program runs on; how it ends is in a later result"


def actions_of_program(text: str) -> tuple[Action, ...]:
    """What the tool calls of a program ask for, in their order."""
    return tuple(action for group in _grouped(read_program(text)) for action in group)


def _grouped(program: Program) -> list[tuple[Action, ...]]:
    """For each call its actions."""
    return [_marked(call, _actions(call)) for call in program.calls]


def _actions(call: Call) -> tuple[Action, ...]:
    given = call.given if isinstance(call.given, dict) else {}
    if call.name == "exec_command":
        if "cmd" not in given and is_known(call.given):
            return _unknown(call, EventType.BASH, "the tool exec_command has no field cmd")
        folder = given.get("workdir")
        command = given.get("cmd", call.given)
        if is_known(command) and not isinstance(command, str):
            return _unknown(call, EventType.BASH, "the tool exec_command has a field cmd that is no text")
        return _of_command(command, folder if isinstance(folder, str) else None)
    if call.name == "apply_patch":
        text = call.given
        if not isinstance(text, str | Partial):
            return _unknown(call, EventType.EDIT, "the tool apply_patch has no text") if is_known(text) else (_EDIT,)
        found = patch_actions(text if isinstance(text, str) else text.text)
        return found or _unknown(call, EventType.EDIT, "the tool apply_patch has no patch of the known form")
    if call.name == "view_image":
        path = given.get("path")
        if is_known(path) and not (isinstance(path, str) and path):
            return _unknown(call, EventType.READ, "the tool view_image has no field path")
        return (Action(EventType.READ, path=_shown(path), follows_shell=False),)
    if call.name.startswith("mcp__"):
        known = {name: value for name, value in given.items() if is_known(value)}
        return mcp_files.actions(ToolUse("", call.name, known)) or ()
    return ()


def _of_command(command: Value, folder: str | None) -> tuple[Action, ...]:
    if isinstance(command, str):
        return actions_of(command, folder)
    return (Action(EventType.BASH, command=_shown(command), follows_shell=False),)


def _unknown(call: Call, kind: EventType, why: str) -> tuple[Action, ...]:
    """What is left to say of a call that has another shape (`shapes.degraded`)."""
    given = call.given if isinstance(call.given, dict) else {}
    known = {name: value for name, value in given.items() if is_known(value)}
    found = degraded(ToolUse("", call.name, known), kind, why)
    return tuple(msgspec.structs.replace(action, follows_shell=False) for action in found)


def _shown(value: Value) -> str:
    text = as_text(value)
    return text.text if isinstance(text, Partial) else text


def _marked(call: Call, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Inferred: what depends on values that the program worked out, and what it may not have come to."""
    is_literal = is_known(call.given) and not call.computed
    if is_literal and call.certain:
        return actions
    if is_literal:
        told = [(action, action.doubt or _PERHAPS) for action in actions]
        return tuple(msgspec.structs.replace(action, certainty="inferred", doubt=doubt) for action, doubt in told)
    computed = {"certainty": "inferred", "doubt": _COMPUTED, "unknown_shape": False}
    return tuple(msgspec.structs.replace(action, **computed) for action in actions)


def answer_of_program(text: str, result: ToolResult) -> Answer:
    """What the result of a program says of each of its actions."""
    program = read_program(text)
    groups = _grouped(program)
    head, items = _items(result)
    found = _HEAD.match(head)
    if found is None:  # rejected, aborted, not a program at all
        return Answer(Status.UNKNOWN, note=first_line(result.text))
    if found["cell"]:
        return _running(program, groups, found["cell"])
    failed = found["end"] == "failed"
    error = items.pop() if failed and items and (items[-1] or "").startswith(_ERROR) else None
    ends = _Ends(program, items, (error or "").removeprefix(_ERROR) if failed else None)
    each = [one for number, group in enumerate(groups) for one in ends.answers(number, group)]
    status = Status.FAILED if failed else Status.APPLIED
    note = first_line((error or "").removeprefix(_ERROR)) or None
    return Answer(status, note=note, each=tuple(each))


def ends_of_program(text: str, result: ToolResult) -> tuple[CommandEnd, ...]:
    """The ends of commands of earlier programs, for which this one waited with `write_stdin` to their sessions."""
    program = read_program(text)
    head, items = _items(result)
    found = _HEAD.match(head)
    if found is None or found["end"] != "completed":
        return ()
    ends = _Ends(program, items, None)
    told = []
    for number, call in enumerate(program.calls):
        session = call.given.get("session_id") if isinstance(call.given, dict) else None
        if call.name == "write_stdin" and type(session) is int and (ran := ends.ran(number)) is not None:
            told.append(command_end(str(session), ran))
    return tuple([end for end in told if end is not None])


def _running(program: Program, groups: list[tuple[Action, ...]], cell: str) -> Answer:
    """A program that goes on. The end of its only command can be told later."""
    commands = [number for number, group in enumerate(groups) if group and group[0].event_type is EventType.BASH]
    background = f"cell {cell}" if len(commands) == len(program.calls) == 1 else None
    each = tuple(Answer(Status.UNKNOWN, note=_RUNS_ON) for group in groups for _ in group)
    return Answer(Status.UNKNOWN, note=_RUNS_ON, each=each, background=background)


def _items(result: ToolResult) -> tuple[str, list[str | None]]:
    """The head of a result and its items: texts, None for an image."""
    content: Json = result.content
    if not isinstance(content, list):
        return result.text, []
    items = [item.get("text") if isinstance(item, dict) else None for item in content]
    texts = [item if isinstance(item, str) else None for item in items]
    return texts[0] or "" if texts else "", texts[1:]


def printed_code(result: ToolResult) -> tuple[int | None, str] | None:
    """(exit code, output) of the only command result that a program printed as JSON; None without one."""
    found = [code for item in _items(result)[1] if item and (code := _command_result(item)) is not None]
    return (found[0].code, found[0].output) if len(found) == 1 else None


class _Ends:
    """How each call of a program ended, by what it printed and where it failed. `error` is None where it did not."""

    def __init__(self, program: Program, items: list[str | None], error: str | None) -> None:
        self._program = program
        self._error = error
        prints = [step for step in program.steps if isinstance(step, Print)]
        complete = len(items) == len(prints) if error is None else len(items) <= len(prints)
        self._is_matched = program.is_followed and complete
        self._printed = dict(enumerate(items)) if self._is_matched else {}
        self._reached, self._doubtful = self._progress(len(items))

    def _progress(self, printed: int) -> tuple[set[int], set[int]]:
        """Calls that are done for certain, and those among which the failing one is."""
        calls = [step for step in self._program.steps if isinstance(step, int)]
        if self._error is None:
            return set(calls), set()
        if not self._program.is_valid or self._error.startswith("SyntaxError"):
            return set(), set()
        if not self._is_matched:
            return set(), set(calls)
        reached: set[int] = set()
        doubtful: set[int] = set()
        count = 0
        for step in self._program.steps:
            if isinstance(step, Print):
                count += 1
                if count > printed:
                    break
                reached |= doubtful
                doubtful = set()
            else:
                doubtful.add(step)
        return self._narrowed(reached, doubtful)

    def _narrowed(self, reached: set[int], doubtful: set[int]) -> tuple[set[int], set[int]]:
        """By the place that the error names, or by its being about a patch when there is one only."""
        calls = self._program.calls
        place = _PLACE.search(self._error or "")
        if place is not None:
            before = {number for number in doubtful if calls[number].place < (int(place[1]), int(place[2]))}
            here = {number for number in doubtful - before if calls[number].place == (int(place[1]), int(place[2]))}
            return reached | before, here
        if (self._error or "").startswith(_BAD_PATCH):
            patches = [number for number in sorted(doubtful) if calls[number].name == "apply_patch"]
            if len(patches) == 1:
                return reached | {number for number in doubtful if number < patches[0]}, {patches[0]}
        return reached, doubtful

    def answers(self, number: int, group: tuple[Action, ...]) -> list[Answer]:
        """For each action of call `number`."""
        call = self._program.calls[number]
        if number in self._doubtful:
            is_sure = len(self._doubtful) == 1
            note = first_line(self._error or "") or None
            ended = Status.REJECTED if is_rejected(self._error or "") else Status.FAILED
            return [Answer(ended if is_sure else Status.UNKNOWN, note=note) for _ in group]
        if number not in self._reached:
            status = Status.FAILED if call.certain else Status.UNKNOWN
            return [Answer(status, note=_NOT_REACHED) for _ in group]
        if not call.certain or not call.awaited:
            return [Answer(Status.UNKNOWN, note=_PERHAPS) for _ in group]
        if call.name == "exec_command" and group and group[0].event_type is EventType.BASH:
            return self._of_command(number, group)
        if call.name.startswith("mcp__"):
            return [self._of_server(number)] * len(group)
        return [Answer(Status.APPLIED) for _ in group]

    def _of_command(self, number: int, group: tuple[Action, ...]) -> list[Answer]:
        ran = self.ran(number)
        if ran is not None and ran.session is not None:
            ran = self._went_on(number, ran)
        if ran is None:
            return [Answer(Status.UNKNOWN, note=_NOT_PRINTED) for _ in group]
        answer = command_answer(group, ran)
        if ran.code is None and ran.session is None:
            answer = msgspec.structs.replace(answer, each=(_without_end(answer.each[0]), *answer.each[1:]))
        return list(answer.each)

    def ran(self, number: int) -> Ran | None:
        """The result of a command as far as the program printed it."""
        found: Ran | None = None
        for step, text in self._prints_of(number):
            if step.path == ():
                return _command_result(text)
            if step.path == ("output",) and found is None:
                found = Ran(None, None, text, "tokens truncated" in text)
            elif step.path == ("exit_code",) and re.fullmatch(r"-?\d{1,10}", text):
                found = Ran(int(text), None, found.output if found else "", found is None)
        return found

    def _went_on(self, number: int, begun: Ran) -> Ran:
        """The end of a command that the same program waited for, with `write_stdin` to its session."""
        for later, call in enumerate(self._program.calls):
            session = call.given.get("session_id") if isinstance(call.given, dict) else None
            if call.name == "write_stdin" and session == Result(number, ("session_id",)):
                end = self.ran(later)
                if end is not None and end.code is not None:
                    return Ran(end.code, None, begun.output + end.output, begun.is_cut or end.is_cut)
        return begun

    def _of_server(self, number: int) -> Answer:
        """MCP servers flag their errors, in the whole result only."""
        for step, text in self._prints_of(number):
            said = _decoded(text) if step.path == () else None
            if isinstance(said, dict) and isinstance(said.get("isError"), bool):
                failed = said["isError"]
                return Answer(Status.FAILED if failed else Status.APPLIED, note=first_line(text) if failed else None)
        return Answer(Status.UNKNOWN, note=_NOT_PRINTED)

    def _prints_of(self, number: int) -> list[tuple[Result, str]]:
        """What was printed of call `number`, and which part of its result that is."""
        prints = [step.value for step in self._program.steps if isinstance(step, Print)]
        return [
            (value, text)
            for index, value in enumerate(prints)
            if isinstance(value, Result) and value.call == number and (text := self._printed.get(index)) is not None
        ]


def _without_end(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, note=_NOT_PRINTED)


def _decoded(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _command_result(text: str) -> Ran | None:
    """The object that `tools.exec_command` gives, printed whole."""
    said = _decoded(text)
    if not isinstance(said, dict) or not isinstance(said.get("output"), str):
        return None
    code, session = said.get("exit_code"), said.get("session_id")
    output: str = said["output"]
    return Ran(
        code if type(code) is int else None,
        str(session) if type(session) is int else None,
        output,
        "tokens truncated" in output,
    )
