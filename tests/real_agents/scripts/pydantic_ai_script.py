"""An agent made with Pydantic AI, over each protocol that it speaks."""

from __future__ import annotations

from folder_tools import TOOLS
from pydantic_ai import Agent, ModelRetry, UsageLimits
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
from wanted import BASE_URL, KEY, MODEL, wanted


def model_of(way: str):
    if way == "messages":
        return AnthropicModel(MODEL, provider=AnthropicProvider(api_key=KEY, base_url=BASE_URL))
    if way == "gemini":
        return GoogleModel(MODEL, provider=GoogleProvider(api_key=KEY, base_url=BASE_URL))
    provider = OpenAIProvider(base_url=f"{BASE_URL}/v1", api_key=KEY)
    return (OpenAIChatModel if way == "chat" else OpenAIResponsesModel)(MODEL, provider=provider)


def main() -> None:
    given = wanted()
    agent = Agent(model_of(given.way), instructions="Use the tools.", retries=5)
    for name, tool in TOOLS.items():
        register(agent, name, tool)
    said, history = "", []
    for prompt in given.prompts:
        follow = drain if given.stream else None  # with somebody who follows the events, answers are streamed
        limits = UsageLimits(request_limit=None)
        result = agent.run_sync(prompt, message_history=history, usage_limits=limits, event_stream_handler=follow)
        said = result.output
        history = result.all_messages()
    print(said)


async def drain(_, events) -> None:
    async for _ in events:
        pass


def register(agent: Agent, name: str, tool) -> None:
    """A tool that fails asks the model to try again."""

    def retried(*given, **named):
        try:
            return tool(*given, **named)
        except Exception as error:  # whatever goes wrong, the model is told
            raise ModelRetry(str(error)) from error

    retried.__name__, retried.__doc__, retried.__annotations__ = name, tool.__doc__, tool.__annotations__
    retried.__wrapped__ = tool  # its signature
    agent.tool_plain(retried)


main()
