"""Agents made with smolagents: one that writes Python, and one that calls tools."""

from __future__ import annotations

from folder_tools import TOOLS
from smolagents import CodeAgent, OpenAIServerModel, ToolCallingAgent, tool
from wanted import BASE_URL, KEY, MODEL, wanted


def main() -> None:
    given = wanted()
    model = OpenAIServerModel(model_id=MODEL, api_base=f"{BASE_URL}/v1", api_key=KEY)
    tools = [tool(one) for one in TOOLS.values()]
    common = {"model": model, "tools": tools, "max_steps": 30, "verbosity_level": 0, "stream_outputs": given.stream}
    if given.way == "code":
        agent = CodeAgent(additional_authorized_imports=["pathlib", "subprocess"], **common)
    else:
        agent = ToolCallingAgent(max_tool_threads=1, **common)
    for number, prompt in enumerate(given.prompts):
        print(agent.run(prompt, reset=number == 0))


main()
