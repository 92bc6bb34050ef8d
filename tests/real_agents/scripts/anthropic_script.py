"""A small agent on Anthropic's SDK: a loop of its own, the SDK's tool runner, and Anthropic's own tool types."""

from __future__ import annotations

from anthropic import Anthropic, beta_tool
from anthropic_tools import run_typed
from folder_tools import TOOLS, attempt, parameters
from wanted import BASE_URL, KEY, MODEL, wanted

RULES = "You are a helpful agent. Use the tools."
TYPED = [
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    {"type": "bash_20250124", "name": "bash"},
]
OWN = [{"name": name, "description": tool.__doc__, "input_schema": parameters(name)} for name, tool in TOOLS.items()]


def loop(client: Anthropic, messages: list, stream: bool, typed: bool) -> str:
    """One turn; `messages` grow."""
    while True:
        given = {"model": MODEL, "max_tokens": 4000, "system": RULES, "messages": messages}
        given["tools"] = TYPED if typed else OWN
        if stream:
            with client.messages.stream(**given) as events:
                answer = events.get_final_message()
        else:
            answer = client.messages.create(**given)
        messages.append({"role": "assistant", "content": answer.content})
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            return answer.content[-1].text
        results = []
        for call in calls:
            said, failed = (run_typed if typed else attempt)(call.name, call.input)
            result = {"type": "tool_result", "tool_use_id": call.id, "content": said}
            results.append({**result, "is_error": failed} if failed or typed else result)
        messages.append({"role": "user", "content": results})


def runner(client: Anthropic, messages: list, stream: bool) -> str:
    """One turn of the SDK's own loop, which tells of failing tools by itself."""
    tools = [beta_tool(tool) for tool in TOOLS.values()]
    given = {"model": MODEL, "max_tokens": 4000, "system": RULES, "messages": messages, "tools": tools}
    if stream:
        for answers in client.beta.messages.tool_runner(**given, stream=True):
            answer = answers.get_final_message()
    else:
        *_, answer = client.beta.messages.tool_runner(**given)
    return answer.content[-1].text


def main() -> None:
    given = wanted()
    client = Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=given.retries)
    said, messages = "", []
    for prompt in given.prompts:
        messages.append({"role": "user", "content": prompt})
        if given.way == "runner":
            said = runner(client, messages, given.stream)
        else:
            said = loop(client, messages, given.stream, given.way == "typed")
    print(said)


main()
