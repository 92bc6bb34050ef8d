"""A whole response object of the OpenAI Responses API as a `Reply`, and its errors as a line of text.

Source: the API reference, https://platform.openai.com/docs/api-reference/responses/object.
"""

from __future__ import annotations

from ocproxy.model import Json, Problem, Reply
from ocproxy.protocols.openai_responses_items import read_output, read_usage
from ocproxy.protocols.openai_responses_parts import Item
from ocproxy.protocols.problems import note

# What a response says over again of its request, and what has a place of its own in a Reply.
_NOT_EXTRA = {
    "id", "model", "output", "usage", "error", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text",
    "temperature", "top_p", "top_logprobs", "truncation", "reasoning", "prompt", "prompt_cache_key", "user", "store",
    "safety_identifier", "max_output_tokens", "max_tool_calls", "input",
}  # fmt: skip


def read_response(value: Item, problems: list[Problem]) -> Reply:
    """A response object: JSON body, or what the last event of a stream holds. One that runs in the background is
    complete as an answer, with the status that it has so far."""
    error = value.get("error")
    return Reply(
        id=_text(value, "id", problems),
        model=_text(value, "model", problems),
        parts=read_output(value.get("output"), problems),
        stop_reason=_stop_reason(value, problems),
        usage=read_usage(value.get("usage"), problems),
        error=error_text(value) if error is not None or value.get("status") == "failed" else None,
        extra={
            key: field for key, field in value.items() if key not in _NOT_EXTRA and field not in (None, {}, [], False)
        },
    )


def _stop_reason(value: Item, problems: list[Problem]) -> str | None:
    """Why an incomplete response ended ("max_output_tokens"), else its status."""
    details = value.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return reason if isinstance(reason, str) else _text(value, "status", problems)


def _text(value: Item, field: str, problems: list[Problem]) -> str | None:
    text = value.get(field)
    if isinstance(text, str | None):
        return text
    note(problems, "wrong_type", f"{field} of the response is not text")
    return None


def error_text(value: Json) -> str:
    """The error of a body, an event or a failed response: "rate_limit_exceeded: Slow down". It is an object or text
    under `error`, or its fields are at the top."""
    error = value.get("error") if isinstance(value, dict) else value
    if error is None:
        error = value
    if not isinstance(error, dict):
        return str(error)[:1000]
    kind = error.get("code") or error.get("type")
    words = [kind if kind != "error" else None, error.get("message") or error.get("detail")]
    text = ": ".join([str(word) for word in words if word is not None])
    return (text or "unknown error")[:1000]
