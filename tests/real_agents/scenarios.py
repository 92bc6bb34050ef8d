"""The tables of agent and scenario: which test stands in which row and column, and how they are written in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

EVERYTHING = "everything once"
OTHER = "other"

# Columns in their order, a table for each group. A test's function is `test_` and one of these; several may share one.
TESTS: dict[str, tuple[str, ...]] = {
    "continued": (
        "a_continued_run_adds_to_the_same_session",
        "a_resumed_run_adds_to_the_same_session",
        "a_continued_run_after_a_restart_of_the_recorder_adds_to_the_same_session",
        "a_session_that_goes_on_in_the_terminal_is_the_same_session",
        "turns_of_a_client_are_one_session",
    ),
    "forked": ("a_forked_session_tells_its_own_work_only", "a_fork_is_a_session_that_tells_its_own_work_only"),
    "two runs at once": ("two_runs_at_once_in_one_folder_are_two_sessions",),
    "compaction": ("a_compacted_session_goes_on_as_the_same_session",),
    "MCP": ("files_that_an_mcp_server_writes_are_events",),
    "image": (
        "an_image_that_the_agent_looks_at_is_a_read_of_its_file",
        "an_image_that_the_user_attaches_is_a_part_of_the_prompt",
    ),
    "background command": (
        "the_end_of_a_background_command_is_told",
        "ends_of_background_commands_and_the_shells_folder_are_known",
    ),
    "rejected": (
        "a_tool_that_the_user_forbids_is_rejected",
        "a_tool_that_the_user_refuses_when_asked_is_rejected",
        "a_question_that_the_user_answers_with_no_is_a_rejection",
        "a_turn_that_the_user_takes_back_leaves_its_call_requested",
        "a_call_that_auto_mode_refuses_is_rejected_and_its_checks_are_no_messages",
    ),
    "side calls": ("titles_and_probes_are_calls_but_no_messages", "a_title_is_a_call_but_no_message"),
    "as recorded": ("a_short_session",),
    "one subagent": ("a_subagent_is_a_child_session",),
    "two subagents at once": (
        "subagents_at_once_are_child_sessions_that_tell_their_own_work_only",
        "subagents_without_identity_are_found_by_the_prompts_that_they_were_given",
        "two_subagents_with_the_same_prompt_are_told_apart",
    ),
    "nested": ("a_subagent_of_a_subagent_is_under_it",),
    "in the background": ("subagents_in_the_background_are_child_sessions",),
}
# A turn that broke names its fault among its parameters.
_BROKEN = "a_turn_that_broke_is_told_once_and_right"
FAULTS: dict[str, tuple[str, ...]] = {
    "429, retried": ("429 and retry",),
    "500": ("500", "529"),
    "drop before the head": ("drop before the head",),
    "drop in text": ("drop in text",),
    "drop in a tool use": ("drop in a tool use", "drop between tool uses"),
    "drop after a tool use": ("drop after a tool use", "drop after two tool uses"),
    "error event": ("error event", "error event after a tool use"),
}
_SUBAGENTS = ("one subagent", "two subagents at once", "nested", "in the background")
GROUPS: dict[str, tuple[str, ...]] = {
    "Sessions and tools": (EVERYTHING, *(column for column in TESTS if column not in _SUBAGENTS)),
    "Subagents": _SUBAGENTS,
    "Turns that broke": tuple(FAULTS),
}

# Between these lines of a document the table is kept.
BEGIN, END = "<!-- table of scenarios: made by `make agents-table` -->", "<!-- end of the table of scenarios -->"

Ends = Mapping[tuple[str, str], Collection[str]]  # (row, column) -> the outcome of each of its tests
_SIGNS = {"passed": "✓", "failed": "✗", "skipped": "–"}


def place_of(nodeid: str, variants: Iterable[str]) -> tuple[str, str]:
    """(row, column) of a test: the variant that it names among its parameters, and the scenario of its function."""
    path, _, name = nodeid.partition("::")
    test, _, parameters = name.removesuffix("]").partition("[")
    file = Path(path).stem
    return _row(parameters, file, variants), _column(test.removeprefix("test_"), parameters, file)


def _row(parameters: str, file: str, variants: Iterable[str]) -> str:
    """The longest variant that is named; else one of the agent that parameters or file name, best the one of which
    they name the model or protocol."""
    named = [one for one in variants if f"-{one}-" in f"-{parameters}-"]
    if named:
        return max(named, key=len)
    agents = {"claude_code": "Claude Code", "codex": "Codex", "opencode": "opencode", "aider": "aider"}
    agent = next((agent for word, agent in agents.items() if word in file), "") or parameters.partition(",")[0]
    rows = [one for one in variants if one.partition(",")[0] == agent]
    said = [one for one in rows if one.partition(", ")[2] in parameters.split("-")]
    return next(iter(said or rows), agent or "one agent")


def _column(test: str, parameters: str, file: str) -> str:
    if file == "test_everything":
        return EVERYTHING
    if test == _BROKEN:
        said = parameters.split("-")
        return next((column for column, faults in FAULTS.items() if any(one in said for one in faults)), OTHER)
    return next((column for column, tests in TESTS.items() if test in tests), OTHER)


def worst(ends: Iterable[str]) -> str:
    """Of several outcomes the one that counts."""
    return next(end for end in ("failed", "skipped", "passed") if end in ends)


def tables(ends: Ends) -> list[str]:
    """Markdown lines: a table a group of columns. A cell has ✓ where all passed (with their number where there are
    several), ✗ where one failed, – where the agent could not be had, and nothing where no test plays the scenario with
    that agent."""
    lines: list[str] = []
    for group, columns in GROUPS.items():
        shown = [column for column in columns if any(at == column for _, at in ends)]
        if shown:
            lines += [*([""] if lines else []), f"**{group}**", "", *_table(ends, shown)]
    return lines


def _table(ends: Ends, columns: Collection[str]) -> list[str]:
    rows = sorted({row for row, column in ends if column in columns}, key=str.casefold)
    lines = [["agent", *columns], ["---", *[":-:"] * len(columns)]]
    lines += [[row, *(_cell(ends.get((row, column), ()), column) for column in columns)] for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns) + 1)]
    return [
        "| " + " | ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]


def _cell(ends: Collection[str], column: str) -> str:
    if not ends:
        return ""
    count = Counter(ends)
    told = f"{count['passed']}/{len(ends)}" if count["passed"] < len(ends) else str(len(ends))
    return _SIGNS[worst(ends)] + (f" {told}" if len(ends) > 1 and column != EVERYTHING else "")


def keep(file: Path, lines: Iterable[str]) -> None:
    """Put the lines between the two marks of a document."""
    text = file.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise ValueError(f"{file} has no place for the table: the lines {BEGIN!r} and {END!r} are missing")
    file.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), "utf-8")
