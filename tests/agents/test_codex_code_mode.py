"""Codex's code mode: programs of a real run with their results, and programs that are hard to follow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocproxy.agents.codex import AGENT
from ocproxy.files.derive import FileLedger
from ocproxy.model import EventType, Status, ToolResult, ToolUse
from tests.agents.replayed import conversation, events, rebuilt, requests, told, tree_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPUTED = "worked out from a program: the value that it had when it ran is not in the recording"


def _program(text: str) -> ToolUse:
    return ToolUse("1", "exec", {"input": text})


def _asked(text: str) -> list[tuple[str | None, str]]:
    return [(action.command or action.path, action.certainty) for action in AGENT.actions(_program(text))]


def _ended(program: str, *items: str, head: str = "Script completed") -> list[tuple[Status, int | None]]:
    texts = [f"{head}\nWall time 0.1 seconds\nOutput:\n", *items]
    content = [{"type": "input_text", "text": text} for text in texts]
    answer = AGENT.answer(_program(program), ToolResult("1", "\n".join(texts), content=content))
    return [(one.status, one.exit_code) for one in answer.each]


def test_a_recorded_run_is_told_call_by_call() -> None:
    batch = conversation(AGENT, *requests("codex_code_mode"))
    lines = [f"{line} [{event.certainty}]" for line, event in zip(told(batch), events(batch), strict=True)]
    assert lines == [
        "bash applied 0: cat input.txt [exact]",
        "read applied: input.txt [exact]",
        "write applied: lit.txt [inferred]",  # whether there was a file is not known
        "bash applied 0: echo one [exact]",  # both of a Promise.all
        "bash failed 3: exit 3 [exact]",
        "bash applied 0: echo p [inferred]",  # a loop over a literal list
        "bash applied 0: echo q [inferred]",
        "bash unknown: echo 0 [inferred]",  # a loop with a counter
        "bash applied 0: cat lit.txt [exact]",  # a template with a constant
        "read applied: lit.txt [exact]",
        "bash unknown: pwd [exact]",  # not printed
        "bash applied 0: ls ${…} [inferred]",
        "edit applied: lit.txt [exact]",
        "edit failed: lit.txt [inferred]",
        "bash applied 0: echo before [exact]",  # the program failed behind it
        "bash unknown: exit 5 [exact]",
        "bash unknown: echo repaired [inferred]",  # inside an if
        "write applied: mcp.txt [inferred]",
        "bash applied: sleep 1; echo late; exit 4 [exact]",  # goes on in the background
        "bash unknown: echo silent [exact]",
        "bash unknown: echo a1 [inferred]",  # by map
        "bash unknown: echo a2 [inferred]",
        "bash failed 1: cat missing.txt [exact]",
        "read failed: missing.txt [exact]",
        "delete applied: lit.txt [exact]",  # a patch in a heredoc
        'bash applied 0: ${`date +%s`.replace("s", "Y")} [inferred]',
    ]


def test_the_diffs_of_a_recorded_run_give_the_tree_that_it_left(tmp_path: Path) -> None:
    batch = conversation(AGENT, *requests("codex_code_mode"))
    assert rebuilt(tmp_path, "codex_code_mode", batch) == tree_after("codex_code_mode")


def test_literal_arguments_are_exact_and_computed_ones_inferred() -> None:
    assert _asked('await tools.exec_command({cmd: "ls"});') == [("ls", "exact")]
    assert _asked("const c = 'ls';\nawait tools.exec_command({cmd: `${c} -l`});") == [("ls -l", "exact")]
    (action,) = AGENT.actions(_program("await tools.exec_command({cmd: await load()});"))
    assert (action.certainty, action.doubt) == ("inferred", COMPUTED)


@pytest.mark.parametrize(
    "text",
    [
        "this is no program (",
        "",
        "const {",
        "tools.exec_command(",
        "`${`${`${`",
        "tools.apply_patch(null)",
        "await tools.exec_command(...args)",
        "\ud800",
        "(" * 3000,
        "[" * 500 + "]" * 500,
        "for (;;) { await tools.exec_command({cmd: 'x'}) }",
        "const f = () => f(); f();",
    ],
)
def test_no_program_is_too_broken_to_be_read(text: str) -> None:
    actions = AGENT.actions(_program(text))
    answer = AGENT.answer(_program(text), ToolResult("1", "Script failed\nWall time 0.1 seconds\nOutput:\n"))
    assert len(answer.each) in (0, len(actions))


def test_a_syntax_error_says_that_nothing_was_run() -> None:
    program = 'await tools.exec_command({cmd: "ls"});\nthis is none ('
    error = "Script error:\nSyntaxError: Unexpected identifier 'is'"
    ((status, code),) = _ended(program, error, head="Script failed")
    assert status is not Status.APPLIED
    assert code is None


def test_a_patch_that_the_policy_forbids_is_rejected() -> None:
    write = 'text(await tools.apply_patch("*** Begin Patch\\n*** Add File: a\\n+a\\n*** End Patch\\n"));'
    why = "patch rejected: writing is blocked by read-only sandbox; rejected by user approval settings"
    error = f"Script error:\n{why}"
    assert _ended(write, error, head="Script failed") == [(Status.REJECTED, None)]
    both = f'await tools.exec_command({{cmd: "x"}});\n{write}'
    assert [status for status, _ in _ended(both, error, head="Script failed")] == [Status.UNKNOWN, Status.REJECTED]


def test_what_a_program_prints_tells_the_exit_codes_and_nothing_else_does() -> None:
    both = 'const r = await tools.exec_command({cmd: "x"});\ntext(r.output);\ntext(r.exit_code);'
    assert _ended(both, "a\n", "3") == [(Status.FAILED, 3)]
    assert _ended('await tools.exec_command({cmd: "x"});') == [(Status.UNKNOWN, None)]
    assert _ended('text(await tools.exec_command({cmd: "x"}));', '{"exit_code":0,"output":""}') == [(Status.APPLIED, 0)]


def test_calls_behind_the_place_of_an_error_were_not_reached() -> None:
    program = (
        'text(await tools.exec_command({cmd: "a"}));\nthrow new Error("x");\nawait tools.exec_command({cmd: "b"});'
    )
    printed = '{"exit_code":0,"output":""}'
    error = "Script error:\nError: x\n    at exec_main.mjs:2:7"
    assert _ended(program, printed, error, head="Script failed")[0] == (Status.APPLIED, 0)
    assert _ended(program, printed, error, head="Script failed")[1][0] is not Status.APPLIED


def test_a_program_that_runs_on_leaves_its_command_open() -> None:
    program = 'text(await tools.exec_command({cmd: "make"}));'
    text = "Script running with cell ID 4\nWall time 10.0 seconds\nOutput:\n"
    answer = AGENT.answer(_program(program), ToolResult("1", text, content=[{"type": "input_text", "text": text}]))
    assert (answer.background, [one.status for one in answer.each]) == ("cell 4", [Status.UNKNOWN])


def test_the_end_of_a_command_that_ran_on_is_told_by_the_program_that_asks_for_it() -> None:
    begun = '{"chunk_id":"f9a836","wall_time_seconds":0.25,"session_id":84805,"original_token_count":0,"output":""}'
    ended = '{"chunk_id":"0f1c22","wall_time_seconds":0.9,"exit_code":4,"original_token_count":2,"output":"late\\n"}'
    start = 'await tools.exec_command({"cmd": "sleep 1; exit 4", "yield_time_ms": 250})'
    both = f'text(JSON.stringify({start}));\ntext(JSON.stringify(await tools.exec_command({{cmd: "ls"}})));'
    look = "text(JSON.stringify(await tools.write_stdin({session_id: 84805, chars: ''})));"
    ledger = FileLedger("s", "/w", AGENT)
    for id, program, said in (
        ("1", both, (begun, '{"exit_code":0,"output":""}')),
        ("2", look, (begun,)),
        ("3", look, (ended,)),
    ):
        texts = ["Script completed\nWall time 0.6 seconds\nOutput:\n", *said]
        content = [{"type": "input_text", "text": text} for text in texts]
        ledger.take("assistant", (ToolUse(id, "exec", {"input": program}),), "m", NOW)
        told = ledger.take("user", (ToolResult(id, "\n".join(texts), content=content),), "m", NOW)
        codes = [(event.command, event.status, event.exit_code) for event in told]
        assert (
            codes
            == {
                "1": [("sleep 1; exit 4", Status.APPLIED, None), ("ls", Status.APPLIED, 0)],
                "2": [],
                "3": [("sleep 1; exit 4", Status.FAILED, 4)],
            }[id]
        )


def test_servers_say_their_errors_in_the_whole_result() -> None:
    program = 'text(await tools.mcp__files__write_file({path: "a", content: "b"}));'
    (action,) = AGENT.actions(_program(program))
    assert (action.event_type, action.path, action.certainty) == (EventType.WRITE, "a", "exact")
    assert _ended(program, '{"content":[],"isError":false}') == [(Status.APPLIED, None)]
    assert _ended(program, '{"content":[],"isError":true}') == [(Status.FAILED, None)]
