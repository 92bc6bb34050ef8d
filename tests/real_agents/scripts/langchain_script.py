"""An agent made with LangChain's `create_agent`, on each of its chat models."""

from __future__ import annotations

from folder_tools import TOOLS
from langchain.agents import create_agent
from langchain.tools import tool
from langchain_anthropic import ChatAnthropic
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from wanted import BASE_URL, KEY, MODEL, Wanted, wanted


def model_of(given: Wanted):
    common = {"model": MODEL, "max_retries": given.retries}
    if given.way == "messages":
        return ChatAnthropic(base_url=BASE_URL, api_key=KEY, streaming=given.stream, max_tokens=4000, **common)
    if given.way == "gemini":
        return ChatGoogleGenerativeAI(base_url=BASE_URL, google_api_key=KEY, streaming=given.stream, **common)
    responses = given.way == "responses"
    return ChatOpenAI(
        base_url=f"{BASE_URL}/v1", api_key=KEY, streaming=given.stream, use_responses_api=responses, **common
    )


def main() -> None:
    given = wanted()
    agent = create_agent(model_of(given), tools=[safe(one) for one in TOOLS.values()], system_prompt="Use the tools.")
    messages: list = []
    for prompt in given.prompts:
        messages.append({"role": "user", "content": prompt})
        messages = agent.invoke({"messages": messages}, {"recursion_limit": 200})["messages"]
    print(messages[-1].text)


def safe(function):
    """A tool whose failure is told to the model."""

    def told(**given):
        try:
            return function(**given)
        except Exception as error:  # whatever goes wrong, the model is told
            return f"Error: {error}"

    return tool(function.__name__, description=function.__doc__, args_schema=tool(function).args_schema)(told)


main()
