"""A conversation on OpenAI's SDK with an image, an answer that comes with reasoning, and a refusal; no tools."""

from __future__ import annotations

from openai import OpenAI
from wanted import BASE_URL, KEY, MODEL, wanted

DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def answer(client: OpenAI, messages: list, stream: bool) -> dict:
    """The SDK's own message, with the fields that it does not know."""
    if not stream:
        return client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.to_dict()
    with client.chat.completions.stream(model=MODEL, messages=messages) as events:
        for _ in events:
            pass
        return events.get_final_completion().choices[0].message.to_dict()


def main() -> None:
    given = wanted()
    client = OpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY, max_retries=0)
    messages, said = [], {}
    for prompt in given.prompts:
        image = {"type": "image_url", "image_url": {"url": DOT}}
        messages.append({"role": "user", "content": [{"type": "text", "text": prompt}, image]})
        said = answer(client, messages, given.stream)
        messages.append(said)
    print(said.get("refusal") or said.get("content"))


main()
