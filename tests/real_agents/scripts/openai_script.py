"""A small agent on OpenAI's SDK: over Chat Completions and over Responses, each with a loop of its own."""

from __future__ import annotations

import json

from folder_tools import TOOLS, attempt, parameters
from openai import OpenAI
from wanted import BASE_URL, KEY, MODEL, wanted

FUNCTIONS = [
    {"name": name, "description": tool.__doc__, "parameters": parameters(name)} for name, tool in TOOLS.items()
]
RULES = "You are a helpful agent. Use the tools."


def chat(client: OpenAI, messages: list, stream: bool) -> str:
    """One turn; `messages` grow."""
    tools = [{"type": "function", "function": function} for function in FUNCTIONS]
    while True:
        if stream:
            options = {"include_usage": True}
            with client.chat.completions.stream(
                model=MODEL, messages=messages, tools=tools, stream_options=options
            ) as events:
                for _ in events:
                    pass
                answer = events.get_final_completion().choices[0].message
        else:
            answer = client.chat.completions.create(model=MODEL, messages=messages, tools=tools).choices[0].message
        messages.append(answer.to_dict() if stream else answer)
        if not answer.tool_calls:
            return answer.content or ""
        for call in answer.tool_calls:
            said, _ = attempt(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})


def respond(client: OpenAI, **request):
    """One answer of the Responses API."""
    stream = request.pop("stream")
    given = {"model": MODEL, "instructions": RULES, "tools": [{"type": "function", **one} for one in FUNCTIONS]}
    if not stream:
        return client.responses.create(**given, **request)
    with client.responses.stream(**given, **request) as events:
        for _ in events:
            pass
        return events.get_final_response()


def results_of(answer) -> list:
    calls = [item for item in answer.output if item.type == "function_call"]
    said = [(call.call_id, attempt(call.name, json.loads(call.arguments))[0]) for call in calls]
    return [{"type": "function_call_output", "call_id": id, "output": text} for id, text in said]


def responses(client: OpenAI, items: list, stream: bool) -> str:
    """One turn; the whole history is sent each time."""
    while True:
        answer = respond(client, input=items, store=False, stream=stream)
        items += answer.output
        results = results_of(answer)
        if not results:
            return answer.output_text
        items += results


def kept(client: OpenAI, items: list, stream: bool, **kept_by) -> tuple[str, str]:
    """One turn of a history that the provider keeps: only what is new is sent."""
    while True:
        answer = respond(client, input=items, stream=stream, **kept_by)
        if "conversation" not in kept_by:
            kept_by = {"store": True, "previous_response_id": answer.id}
        items = results_of(answer)
        if not items:
            return answer.output_text, answer.id


def main() -> None:
    given = wanted()
    client = OpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY, max_retries=given.retries)
    said, history, last = "", [], {"store": True}
    if given.way == "chat":
        history.append({"role": "system", "content": RULES})
    if given.way == "conversation":
        last = {"conversation": client.conversations.create().id}
    for prompt in given.prompts:
        turn = {"role": "user", "content": prompt}
        if given.way in ("chat", "responses"):
            history.append(turn)
            said = (chat if given.way == "chat" else responses)(client, history, given.stream)
        else:
            said, id = kept(client, [turn], given.stream, **last)
            if given.way == "stored":
                last = {"store": True, "previous_response_id": id}
    print(said)


main()
