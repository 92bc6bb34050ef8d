"""A small agent on litellm: one loop over OpenAI's, Anthropic's and Google's APIs, and its own ways to two of them."""

from __future__ import annotations

import asyncio
import json

import litellm
from folder_tools import TOOLS, attempt, parameters
from wanted import BASE_URL, KEY, MODEL, Wanted, wanted

RULES = "You are a helpful agent. Use the tools."
FUNCTIONS = [
    {"name": name, "description": tool.__doc__, "parameters": parameters(name)} for name, tool in TOOLS.items()
]
BASES = {"openai": f"{BASE_URL}/v1", "anthropic": BASE_URL, "gemini": f"{BASE_URL}/v1beta"}


async def complete(provider: str, messages: list, given: Wanted) -> str:
    """One turn in the form of Chat Completions, whatever the provider speaks."""
    tools = [{"type": "function", "function": function} for function in FUNCTIONS]
    call = {"model": f"{provider}/{MODEL}", "api_base": BASES[provider], "api_key": KEY, "num_retries": given.retries}
    while True:
        if given.stream:
            chunks = await litellm.acompletion(messages=messages, tools=tools, stream=True, **call)
            answer = litellm.stream_chunk_builder([chunk async for chunk in chunks], messages=messages)
        else:
            answer = litellm.completion(messages=messages, tools=tools, **call)
        message = answer.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content
        for use in message.tool_calls:
            said, _ = attempt(use.function.name, json.loads(use.function.arguments))
            messages.append({"role": "tool", "tool_call_id": use.id, "content": said})


def respond(items: list) -> str:
    """One turn over Responses."""
    tools = [{"type": "function", **function} for function in FUNCTIONS]
    while True:
        answer = litellm.responses(
            model=f"openai/{MODEL}", input=items, tools=tools, instructions=RULES, api_base=BASES["openai"], api_key=KEY
        )
        items += [item.model_dump(exclude_none=True) for item in answer.output]
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            return answer.output_text
        for call in calls:
            said, _ = attempt(call.name, json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})


async def message(messages: list) -> str:
    """One turn over Messages, in Anthropic's own form."""
    tools = [{"name": one["name"], "input_schema": one["parameters"]} for one in FUNCTIONS]
    while True:
        answer = await litellm.anthropic_messages(
            model=f"anthropic/{MODEL}",
            messages=messages,
            tools=tools,
            max_tokens=4000,
            api_base=BASES["anthropic"],
            api_key=KEY,
        )
        messages.append({"role": "assistant", "content": answer["content"]})
        calls = [block for block in answer["content"] if block["type"] == "tool_use"]
        if not calls:
            return answer["content"][-1]["text"]
        results = [(call["id"], attempt(call["name"], call["input"])[0]) for call in calls]
        said = [{"type": "tool_result", "tool_use_id": id, "content": text} for id, text in results]
        messages.append({"role": "user", "content": said})


async def main() -> None:
    given = wanted()
    said, messages = "", []
    if given.way in BASES:
        messages.append({"role": "system", "content": RULES})
    for prompt in given.prompts:
        messages.append({"role": "user", "content": prompt})
        if given.way in BASES:
            said = await complete(given.way, messages, given)
        else:
            said = respond(messages) if given.way == "responses" else await message(messages)
    print(said)


asyncio.run(main())
