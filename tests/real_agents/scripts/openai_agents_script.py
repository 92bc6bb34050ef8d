"""An agent made with the OpenAI Agents SDK: with functions, with OpenAI's own tool types, with a handoff."""

from __future__ import annotations

import asyncio

from agents import (
    Agent,
    OpenAIProvider,
    RunConfig,
    Runner,
    SQLiteSession,
    apply_diff,
    function_tool,
    responses_websocket_session,
    set_tracing_disabled,
)
from agents.editor import ApplyPatchOperation
from agents.tool import ApplyPatchTool, ShellCallOutcome, ShellCommandOutput, ShellResult, ShellTool
from folder_tools import TOOLS, Path, bash, subprocess, write_file
from openai import AsyncOpenAI
from wanted import BASE_URL, KEY, MODEL, Wanted, wanted


class Editor:
    """Carries out what the model's patches ask for."""

    def create_file(self, operation: ApplyPatchOperation) -> str:
        write_file(operation.path, apply_diff("", operation.diff or "", mode="create"))
        return f"Created {operation.path}"

    def update_file(self, operation: ApplyPatchOperation) -> str:
        text = Path(operation.path).read_bytes().decode()
        write_file(operation.path, apply_diff(text, operation.diff or ""))
        return f"Updated {operation.path}"

    def delete_file(self, operation: ApplyPatchOperation) -> str:
        Path(operation.path).unlink()
        return f"Deleted {operation.path}"


def shell(request) -> ShellResult:
    output = []
    for command in request.data.action.commands:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
        end = ShellCallOutcome(type="exit", exit_code=done.returncode)
        output.append(ShellCommandOutput(command=command, stdout=done.stdout, stderr=done.stderr, outcome=end))
    return ShellResult(output=output)


def tools_of(way: str) -> list:
    if way == "typed":
        return [ShellTool(executor=shell), ApplyPatchTool(editor=Editor())]
    return [function_tool(tool) for tool in TOOLS.values()]


def agent_of(way: str) -> Agent:
    worker = Agent(name="worker", instructions="Use the tools.", tools=tools_of(way), model=MODEL)
    if way != "handoff":
        return worker
    return Agent(name="boss", instructions="Hand over.", tools=[function_tool(bash)], handoffs=[worker], model=MODEL)


async def play(given: Wanted) -> str:
    agent, session, said = agent_of(given.way), SQLiteSession("one"), ""
    client = AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY, max_retries=given.retries)
    provider = OpenAIProvider(openai_client=client, use_responses=given.way != "chat")
    for prompt in given.prompts:
        config = RunConfig(model_provider=provider)
        if given.stream:
            run = Runner.run_streamed(agent, prompt, session=session, run_config=config, max_turns=50)
            async for _ in run.stream_events():
                pass
        else:
            run = await Runner.run(agent, prompt, session=session, run_config=config, max_turns=50)
        said = run.final_output
    return said


async def play_over_websocket(given: Wanted) -> str:
    agent, session, said = agent_of(given.way), SQLiteSession("one"), ""
    base = f"{BASE_URL}/v1"
    async with responses_websocket_session(
        api_key=KEY, base_url=base, websocket_base_url=base.replace("http", "ws")
    ) as ws:
        for prompt in given.prompts:
            run = ws.run_streamed(agent, prompt, session=session, max_turns=50)
            async for _ in run.stream_events():
                pass
            said = run.final_output
    return said


def main() -> None:
    given = wanted()
    set_tracing_disabled(True)
    print(asyncio.run(play_over_websocket(given) if given.way == "websocket" else play(given)))


main()
