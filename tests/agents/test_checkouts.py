"""What agents tell of the repository that they work in."""

from __future__ import annotations

from typing import Any

import pytest

from ocproxy.agents import claude_code, codex, generic, qwen_code
from ocproxy.agents.base import CallFacts, Checkout
from ocproxy.model import Message, ModelRequest, Text

CLAUDE = (
    "This is the git status at the start of the conversation. Note that this status is a snapshot in time, and will not"
    " update during the conversation.\n\nCurrent branch: fix/it-1\n\nMain branch (you will usually use this for PRs):"
    " main\n\nStatus:\n(clean)"
)
QWEN = (
    "Git snapshot at conversation start. This snapshot is frozen in time and may become stale; prefer live git commands"
    " when current state matters.\n```text\ngit: Current branch: fix/it-2\ngit: Status:\ngit: (clean)\n```"
)
TURN = '{"workspaces":{"/w":{"latest_git_commit_hash":"0123abc","has_changes":true},"/x":{}}}'


def facts(system: str = "", said: str = "", headers: dict[str, str] | None = None, **params: Any) -> CallFacts:
    message = Message("user", (Text(said),))
    request = ModelRequest("m", False, (Text(system),), (message,), (), params)
    return CallFacts("POST", "/v1", headers or {}, {}, None, request, None)


def in_folder(path: str) -> CallFacts:
    """As Codex tells it."""
    said = f"<environment_context><cwd>{path}</cwd></environment_context>"
    return facts(said=said, headers={"x-codex-turn-metadata": TURN})


@pytest.mark.parametrize(
    ("agent", "told", "checkout"),
    [
        (claude_code.AGENT, facts(CLAUDE), Checkout(branch="fix/it-1")),
        (claude_code.AGENT, facts(said=f"<system-reminder>{CLAUDE}</system-reminder>"), Checkout(branch="fix/it-1")),
        (claude_code.AGENT, facts(said=CLAUDE), Checkout()),  # the user's own words
        (claude_code.AGENT, facts("Current branch: main"), Checkout()),
        (qwen_code.AGENT, facts(QWEN), Checkout(branch="fix/it-2")),
        (qwen_code.AGENT, facts(said=QWEN), Checkout()),
        (
            codex.AGENT,
            facts(
                said="<environment_context><cwd>/w</cwd></environment_context>", headers={"x-codex-turn-metadata": TURN}
            ),
            Checkout(commit="0123abc"),
        ),
        (
            codex.AGENT,
            facts(
                said="<environment_context><cwd>/x</cwd></environment_context>", headers={"x-codex-turn-metadata": TURN}
            ),
            Checkout(),
        ),
        (codex.AGENT, facts(headers={"x-codex-turn-metadata": '{"workspaces":[1]}'}), Checkout()),
        (generic.AGENT, facts(CLAUDE), Checkout()),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_branch_or_commit_is_what_the_program_itself_says(agent: Any, told: CallFacts, checkout: Checkout) -> None:
    assert agent.checkout(told) == checkout
