"""The table of agent and scenario: which test stands in which row and column, and how it is written in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

# Columns in their order. A test's function is `test_` and one of these; several may share a column.
COLUMNS: dict[str, tuple[str, ...]] = {
    "continued": (
        "a_continued_run_adds_to_the_same_session",
        "a_resumed_run_adds_to_the_same_session",
        "a_continued_run_after_a_restart_of_the_recorder_adds_to_the_same_session",
    ),
    "two at once": ("two_runs_at_once_in_one_folder_are_two_sessions",),
    "subagents": (
        "a_subagent_is_a_child_session",
        "subagents_are_child_sessions_that_tell_their_own_work_only",
        "subagents_without_identity_are_found_by_the_prompts_that_they_were_given",
    ),
    "faults": ("a_turn_that_broke_is_told_once_and_right",),
    "compaction": ("a_compacted_session_goes_on_as_the_same_session",),
    "background": (
        "the_end_of_a_background_command_is_told",
        "the_end_of_a_background_command_of_codex_is_told",
        "ends_of_background_commands_and_the_shells_folder_are_known",
    ),
    "MCP": ("files_that_an_mcp_server_writes_are_events",),
    "rejected": ("a_tool_that_the_user_forbids_is_rejected",),
    "side calls": ("titles_and_probes_are_calls_but_no_messages", "opencode_asks_for_a_title_that_is_no_message"),
}
EVERYTHING = "everything once"
OTHER = "other"

# Between these lines of a document the table is kept.
BEGIN, END = "<!-- table of scenarios: made by `make agents-table` -->", "<!-- end of the table of scenarios -->"

Ends = Mapping[tuple[str, str], Collection[str]]  # (row, column) -> the outcome of each of its tests
_SIGNS = {"passed": "✓", "failed": "✗", "skipped": "–"}


def place_of(nodeid: str, variants: Iterable[str]) -> tuple[str, str]:
    """(row, column) of a test: the variant that it names among its parameters, and the scenario of its function."""
    path, _, name = nodeid.partition("::")
    test, _, parameters = name.removesuffix("]").partition("[")
    file = Path(path).stem
    return _row(parameters, file, variants), _column(test.removeprefix("test_"), file)


def _row(parameters: str, file: str, variants: Iterable[str]) -> str:
    named = [one for one in variants if f"-{one}-" in f"-{parameters}-"]
    if named:
        return max(named, key=len)
    agents = {"claude_code": "Claude Code", "codex": "Codex", "opencode": "opencode", "aider": "aider"}
    agent = next((agent for word, agent in agents.items() if word in file), "")
    rows = [one for one in variants if one.split(",")[0] == agent]
    return rows[0] if rows else agent or "one agent"


def _column(test: str, file: str) -> str:
    if file == "test_everything":
        return EVERYTHING
    return next((column for column, tests in COLUMNS.items() if test in tests), OTHER)


def worst(ends: Iterable[str]) -> str:
    """Of several outcomes the one that counts."""
    return next(end for end in ("failed", "skipped", "passed") if end in ends)


def table(ends: Ends) -> list[str]:
    """Markdown lines. A cell has ✓ where all passed (with their number where there are several), ✗ where one failed, –
    where the agent could not be had, and nothing where no test plays the scenario with that agent."""
    columns = [EVERYTHING, *COLUMNS, OTHER]
    shown = [column for column in columns if any(at == column for _, at in ends)]
    rows = sorted({row for row, _ in ends}, key=str.casefold)
    lines = [["agent", *shown], ["---", *[":-:"] * len(shown)]]
    lines += [[row, *(_cell(ends.get((row, column), ()), column) for column in shown)] for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(shown) + 1)]
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
