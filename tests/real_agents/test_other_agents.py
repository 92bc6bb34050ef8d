"""What the common script does not play: subagents that say nothing of themselves, edits in text, an agent with a shell
alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import END, Call, Script, Step, text_of
from tests.real_agents.clients import variants
from tests.real_agents.clients.aider import Aider
from tests.real_agents.clients.mini_swe_agent import MiniSweAgent
from tests.real_agents.conftest import Installed
from tests.real_agents.stage import apply, staged
from tests.real_agents.work import delegating, files_of, short
from tests.support.dialects import Dialect
from tests.support.scripted import Scripted

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
_BY_NAME = {variant.name: variant for variant in variants()}


@pytest.mark.parametrize("name", ["Gemini CLI", "Qwen Code", "Cline"])
def test_subagents_without_identity_are_found_by_the_prompts_that_they_were_given(
    installed: Installed, tmp_path: Path, name: str
) -> None:
    variant = _BY_NAME[name]

    def scripts(folder: Path) -> list[Script]:
        children = [short(child, folder, variant.tools) for child in ("child", "other")]
        if name == "Gemini CLI":  # a subagent ends by a tool
            ending = Step(calls=(Call("complete_task", {"result": {"response": "done"}}),))
            children = [Script(child.name, (*child.steps[:-1], ending)) for child in children]
        return [delegating("parent", folder, variant.tools, "child", "other"), *children]

    with staged(tmp_path, variant.client, installed(variant.client), scripts) as stage:
        stage.agent.options = variant.options
        stage.agent.run("[[script:parent]] Do the work.")
        stage.recorder.flush()
        (parent,) = [row for row in stage.sessions() if not row["parent_id"]]
        children = [row for row in stage.sessions() if row["parent_id"]]
        assert [row["parent_id"] for row in children] == [parent["id"]] * 2
        assert {row["parent_certainty"] for row in children} == {"inferred"}
        written = {row["id"]: changes(stage.show(row["id"])) for row in [parent, *children]}
        assert written[parent["id"]] == ["parent.txt"]
        assert sorted(written[row["id"]] for row in children) == [["child.txt"], ["other.txt"]]


def changes(shown: Json) -> list[str]:
    return [Path(event["file_path"]).name for event in shown["file_events"] if event["event_type"] in ("write", "edit")]


class InText(Scripted):
    """Plays a script without calls: the step is found by the script's own answers in the history."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        history = dialect.history(request)
        if "one-line Git commit messages" in text_of(history[0]):
            return Script("side", (Step(text="fix: the files"),)), 0, Step(text="fix: the files")
        (script,) = self.scripts.values()
        own = {step.text.strip() for step in script.steps}
        number = sum(m["role"] == "assistant" and text_of(m).strip() in own for m in history)
        return script, number, script.steps[number] if number < len(script.steps) else END


def block(path: str, old: str, new: str) -> str:
    return f"{path}\n```\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n```\n\n"


# In each answer one block fails: aider asks again only then, and only what it says next settles the others.
EDITS = (
    "Editing.\n\n"
    + block("input.txt", "beta\n", "BETA\nand one more\n")
    + block("notes.md", "", "# Notes\n\nünïcødé 🚀\n")
    + block("input.txt", "no such text\n", "x\n")
    + block("src/app.py", "    return 1\n", "    return 11\n"),
    "Once more.\n\n"
    + block("src/app.py", "return 2\n", "    return 22\n")
    + block("src/app.py", "no such text\n", "x\n")
    + block("README.md", "With two lines.\n", "")
    + block("no_newline.txt", "last without a newline\n", "the end\n")
    + "```bash\nls\n```\n",
    "All done. Ünïcødé 🚀.",
)


@pytest.mark.parametrize("name", ["aider"])
def test_edits_in_text_and_files_in_messages_are_events(installed: Installed, tmp_path: Path, name: str) -> None:
    script = Script(name, tuple(Step(text=text) for text in EDITS))
    with staged(tmp_path, Aider, installed(Aider), lambda _: [script], InText) as stage:
        files = ("input.txt", "src/app.py", "README.md", "no_newline.txt")
        finished = stage.agent.run("Do the work.", "--edit-format", "diff", *files)
        assert EDITS[-1] in finished.result
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        tree = stage.copy_of_start("replayed")
        for event in shown["file_events"]:
            if event["event_type"] == "edit" and event["status"] == "applied":
                assert event["certainty"] == "exact", event
                apply(event["diff"], tree)
        assert files_of(tree) == files_of(stage.workdir)
        edits = [(e["file_path"], e["status"]) for e in shown["file_events"] if e["event_type"] == "edit"]
        assert edits == [
            ("input.txt", "applied"),
            ("notes.md", "applied"),
            ("input.txt", "failed"),
            ("src/app.py", "applied"),
            ("src/app.py", "applied"),
            ("src/app.py", "failed"),
            ("README.md", "applied"),
            ("no_newline.txt", "applied"),
        ]
        reads = [event for event in shown["file_events"] if event["event_type"] == "read"]
        assert {event["tool_name"] for event in reads} == {"attachment"}
        assert {event["file_path"] for event in reads} == {
            "input.txt", "src/app.py", "README.md", "no_newline.txt", "notes.md",
        }  # fmt: skip
        answers = [message["content"] for message in shown["messages"] if message["role"] == "assistant"]
        assert [answer.strip() for answer in answers] == [text.strip() for text in EDITS]
        kinds = [call["kind"] for call in stage.recorder.ask("calls")]
        assert sorted(kinds) == ["commit", "commit", "main", "main", "main"]


@pytest.mark.parametrize("name", ["mini-swe-agent"])
def test_the_last_command_of_a_run_has_no_result(installed: Installed, tmp_path: Path, name: str) -> None:
    commands = [("cat input.txt", 0), ("echo out; exit 3", 3), ("mkdir -p scratch && echo x > scratch/x", 0)]
    last = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo done"
    steps = [Step(text="A step.", calls=(Call("bash", {"command": command}),)) for command in [*dict(commands), last]]
    with staged(tmp_path, MiniSweAgent, installed(MiniSweAgent), lambda _: [Script(name, tuple(steps))]) as stage:
        stage.agent.run("Do the work.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        assert session["agent_name"] == "mini-swe-agent"
        told = [(e["command"], e["exit_code"], e["status"]) for e in stage.show(session["id"])["file_events"]]
        statuses = {0: "applied", 3: "failed"}
        assert told == [*((command, code, statuses[code]) for command, code in commands), (last, None, "requested")]
