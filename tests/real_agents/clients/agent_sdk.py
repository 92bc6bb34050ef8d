"""A real Claude Agent SDK for Python: a script of a few lines, run by the Python that the SDK is installed for.

The SDK's package brings a Claude Code of its own and runs it with JSON over its standard input and output, so hooks,
permission questions and tools of the script's own process cross between the two, never the wire.
"""

from __future__ import annotations

import json
from typing import Any

from tests.real_agents.client import Finished, Variant
from tests.real_agents.clients.claude_code import TOOLS, ClaudeCode
from tests.real_agents.installation import Package

# Prints a line of JSON with the session and the last words. A test says more by the options `options` (arguments of
# ClaudeAgentOptions, as Python) and `before` (what they need, lines of Python).
_SCRIPT = """
import json, sys
import anyio
from claude_agent_sdk import *

{before}

OPTIONS = ClaudeAgentOptions({options})


def tell(message):
    if isinstance(message, ResultMessage):
        print(json.dumps({{"session_id": message.session_id, "result": message.result, "is_error": message.is_error}}))


async def once(prompt):
    async for message in query(prompt=prompt, options=OPTIONS):
        tell(message)


async def in_turns(prompts):
    async with ClaudeSDKClient(options=OPTIONS) as client:
        for prompt in prompts:
            await client.query(prompt)
            async for message in client.receive_response():
                tell(message)


anyio.run({run}, {given})
"""
FREE = 'permission_mode="bypassPermissions"'


class AgentSdk(ClaudeCode):
    """`Finished` is what the last result message says. More prompts, as arguments, are turns of one client."""

    package = Package("claude-agent-sdk", "PyPI", "claude-agent-sdk", "python", required=True)

    def command(self, prompt: str, *arguments: str) -> list[str]:
        turns = bool(arguments) or "turns" in self.options
        given: Any = [prompt, *arguments] if turns else prompt
        script = self.home / "agent.py"
        self.home.mkdir(parents=True, exist_ok=True)
        text = _SCRIPT.format(
            before=self.options.get("before", ""),
            options=self.options.get("options", FREE),
            run="in_turns" if turns else "once",
            given=repr(given),
        )
        script.write_text(text, "utf-8")
        return [str(self.installation.program), str(script)]

    def read_result(self, output: str) -> Finished:
        result: dict[str, Any] = json.loads(output.strip().split("\n")[-1])
        assert not result["is_error"], output
        return Finished(result["session_id"], result["result"])


VARIANTS = [
    Variant("Claude Agent SDK, query", AgentSdk, TOOLS, "claude-code", "anthropic-messages"),
    Variant("Claude Agent SDK, client", AgentSdk, TOOLS, "claude-code", "anthropic-messages", options={"turns": "one"}),
]
