"""What the user, the settings or a hook keep Claude Code from doing, next to what it does and what fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script, Step
from tests.real_agents.clients.claude_code import TOOLS, ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, statuses
from tests.real_agents.stage import Stage, conversation, recorded, reduced, staged
from tests.real_agents.terminal import refuse
from tests.real_agents.work import files_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
Open = Callable[[], AbstractContextManager[Stage[ClaudeCode]]]

_SAYS_NO = "echo 'not in this house' >&2; exit 2"
# Settings, arguments, options; then what becomes of a command, of one that leaves with 4, of a write, of a read of a
# file that is not there, of `rm`, and of a read.
FORBIDDEN: dict[str, tuple[Json, tuple[str, ...], dict[str, str], str]] = {
    "deny rules": ({"permissions": {"deny": ["Bash(rm:*)", "Read(README.md)"]}}, (), {}, "did fail did fail no no"),
    "disallowed tools": ({}, ("--disallowedTools", "Write", "Bash(rm:*)"), {}, "did fail no fail no did"),
    "hook": (
        {"hooks": {"PreToolUse": [{"matcher": "Write", "hooks": [{"type": "command", "command": _SAYS_NO}]}]}},
        (),
        {},
        "did fail no fail did did",
    ),
    "default mode": ({}, (), {"asks": "yes"}, "did no no fail no did"),
}
_WORDS = {"did": "applied", "fail": "failed", "no": "rejected"}


def script(folder: Path) -> Script:
    calls = (
        TOOLS.bash("echo one"),
        TOOLS.bash("exit 4"),
        TOOLS.write(folder / "new.txt", "new\n"),
        TOOLS.read(folder / "missing.txt"),
    )
    more = (TOOLS.bash("rm -f scratch/nothing.txt"), TOOLS.read(folder / "README.md"))
    return Script("work", (Step(text="Four at once.", calls=calls), Step(text="Two.", calls=more), Step(text="Done.")))


@pytest.mark.parametrize("way", FORBIDDEN)
def test_a_tool_that_the_user_forbids_is_rejected(way: str, installation: Installation, tmp_path: Path) -> None:
    settings, arguments, options, becomes = FORBIDDEN[way]
    with staged(tmp_path, ClaudeCode, installation, lambda workdir: [script(workdir)]) as stage:
        stage.agent.options = options
        stage.agent.write_settings(settings)
        finished = stage.agent.run("Do it.", *arguments)
        stage.recorder.flush()
        shown = stage.show(stage.session(finished.session)["id"])
        expected = [reduced(message) for message in conversation(stage.asked(finished.session))]
        assert [recorded(message) for message in shown["messages"]] == expected
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
    ids = [f"toolu_work_s{step}_t{place}" for step, count in enumerate((4, 2)) for place in range(count)]
    assert statuses(shown) == list(zip(ids, (_WORDS[word] for word in becomes.split()), strict=True))


@pytest.mark.parametrize(("answer", "key"), [("escape", "\x1b"), ("no", "3")], ids=["escape", "no"])
@pytest.mark.parametrize("tool", ["write", "edit"])
def test_a_question_that_the_user_answers_with_no_is_a_rejection(
    answer: str, key: str, tool: str, installation: Installation, tmp_path: Path
) -> None:
    def scripts(folder: Path) -> list[Script]:
        changes = {
            "write": TOOLS.write(folder / "new.txt", "new\n"),
            "edit": TOOLS.edit(folder / "input.txt", "beta", "BETA"),
        }
        reading = Step(text="Reading.", calls=(TOOLS.read(folder / "input.txt"),))
        work = Script("work", (reading, Step(text="Asking.", calls=(changes[tool],)), Step(text="Done.")))
        return [work, Script("second", (Step(text="Then not."),))]

    with staged(tmp_path, ClaudeCode, installation, scripts) as stage:
        with stage.agent.on_screen("[[script:work]] Do it.", "--permission-mode", "default") as screen:
            refuse(screen, "Do you want to", key, "ejected")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert files_of(stage.workdir) == files_of(stage.before)
        expected = [reduced(message) for message in conversation(stage.asked(session["opencode_id"]))]
        assert [recorded(message) for message in shown["messages"]] == expected
        kinds = {call["kind"] for call in stage.recorder.ask("calls")}
    assert statuses(shown) == [("toolu_work_s0_t0", "applied"), ("toolu_work_s1_t0", "rejected")]
    assert shown["file_events"][1]["note"].startswith("The user doesn't want to proceed with this tool use.")
    assert kinds == {"main", "title", "probe"}
