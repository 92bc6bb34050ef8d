"""A small agent on Google's SDK: a loop of its own, a chat, and the SDK's automatic function calling."""

from __future__ import annotations

from folder_tools import TOOLS, attempt, parameters
from google import genai
from google.genai import types
from wanted import BASE_URL, KEY, MODEL, wanted

RULES = "You are a helpful agent. Use the tools."


def declared() -> types.Tool:
    functions = [
        types.FunctionDeclaration(name=name, description=tool.__doc__, parameters_json_schema=parameters(name))
        for name, tool in TOOLS.items()
    ]
    return types.Tool(function_declarations=functions)


def config(way: str) -> types.GenerateContentConfig:
    if way == "automatic":
        most = types.AutomaticFunctionCallingConfig(maximum_remote_calls=50)
        return types.GenerateContentConfig(
            system_instruction=RULES, tools=list(TOOLS.values()), automatic_function_calling=most
        )
    return types.GenerateContentConfig(system_instruction=RULES, tools=[declared()])


def results_of(parts: list) -> list:
    """The calls carried out; their ids are not sent back, as in the examples of the SDK."""
    found = []
    for call in (part.function_call for part in parts if part.function_call):
        said, failed = attempt(call.name, dict(call.args or {}))
        found.append(
            types.Part.from_function_response(name=call.name, response={"error" if failed else "result": said})
        )
    return found


def text_of(parts: list) -> str:
    return "".join(part.text or "" for part in parts if not part.thought)


def answer(client: genai.Client, contents: list, stream: bool) -> list:
    """The parts of one answer."""
    given = {"model": MODEL, "contents": contents, "config": config("generate")}
    if not stream:
        return client.models.generate_content(**given).candidates[0].content.parts
    chunks = client.models.generate_content_stream(**given)
    return [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]


def generate(client: genai.Client, contents: list, prompt: str, stream: bool) -> str:
    """One turn; `contents` grow."""
    contents.append(types.Content(role="user", parts=[types.Part(text=prompt)]))
    while True:
        parts = answer(client, contents, stream)
        contents.append(types.Content(role="model", parts=parts))
        results = results_of(parts)
        if not results:
            return text_of(parts)
        contents.append(types.Content(role="user", parts=results))


def converse(chat, message, stream: bool) -> str:
    """One turn of a chat, which keeps the history by itself."""
    while True:
        if stream:
            chunks = list(chat.send_message_stream(message))
        else:
            chunks = [chat.send_message(message)]
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
        message = results_of(parts) if chat._config.automatic_function_calling is None else []
        if not message:
            return text_of(parts)


def main() -> None:
    given = wanted()
    options = types.HttpOptions(base_url=BASE_URL, retry_options=types.HttpRetryOptions(attempts=given.retries + 1))
    client = genai.Client(api_key=KEY, http_options=options)
    said, contents = "", []
    chat = client.chats.create(model=MODEL, config=config(given.way))
    for prompt in given.prompts:
        if given.way == "generate":
            said = generate(client, contents, prompt, given.stream)
        else:
            said = converse(chat, prompt, given.stream)
    print(said)


main()
