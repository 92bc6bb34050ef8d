"""An agent made with deepagents on a real folder: its own file tools, its shell, a subagent."""

from __future__ import annotations

from deepagents import create_deep_agent
from deepagents.backends.local_shell import LocalShellBackend
from folder_tools import Path
from langchain_openai import ChatOpenAI
from wanted import BASE_URL, KEY, MODEL, wanted


def main() -> None:
    given = wanted()
    model = ChatOpenAI(
        model=MODEL, base_url=f"{BASE_URL}/v1", api_key=KEY, max_retries=given.retries, streaming=given.stream
    )
    backend = LocalShellBackend(root_dir=Path.cwd(), virtual_mode=False, inherit_env=True)
    agent = create_deep_agent(model=model, backend=backend)
    messages: list = []
    for prompt in given.prompts:
        messages.append({"role": "user", "content": prompt})
        messages = agent.invoke({"messages": messages}, {"recursion_limit": 500})["messages"]
    print(messages[-1].text)


main()
