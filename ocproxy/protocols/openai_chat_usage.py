"""Usage and errors of the OpenAI Chat Completions API and of the many servers that speak it.

Source: the API reference, "The chat completion object", https://platform.openai.com/docs/api-reference/chat/object;
where servers differ the line says who.
"""

from __future__ import annotations

from ocproxy.model import Json, Problem, Usage
from ocproxy.protocols.counts import read_count
from ocproxy.protocols.problems import note

Fields = dict[str, Json]

# Each count has the places where it may be, the API's own first.
_CACHE_READ = (
    ("prompt_tokens_details", "cached_tokens"),
    ("", "prompt_cache_hit_tokens"),  # DeepSeek
    ("", "cached_tokens"),  # Moonshot
    ("", "cache_read_input_tokens"),  # LiteLLM
)
_CACHE_WRITE = (
    ("prompt_tokens_details", "cache_write_tokens"),  # OpenRouter
    ("prompt_tokens_details", "cache_creation_tokens"),  # LiteLLM
    ("", "cache_creation_input_tokens"),  # LiteLLM
)
_REASONING = (("completion_tokens_details", "reasoning_tokens"), ("", "reasoning_tokens"))
_COUNTED = {
    *("prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "cached_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "reasoning_tokens"),
}
_COUNTED_DETAILS = {"cached_tokens", "cache_write_tokens", "cache_creation_tokens", "reasoning_tokens"}
# An error says as much as a person reads; gateways put whole bodies of theirs behind it.
_ERROR_CHARACTERS = 1000


def read_usage(usage: Json, problems: list[Problem]) -> Usage:
    """The `usage` object of a completion. `prompt_tokens` of this API includes what a cache served or took; our `input`
    does not."""
    if not isinstance(usage, dict):
        if usage is not None:
            note(problems, "wrong_type", f"usage is not an object but {type(usage).__name__}")
        return Usage()
    prompt = read_count(usage, "prompt_tokens", problems)
    output = _output(usage, problems)
    read, write = _first(usage, _CACHE_READ, problems), _first(usage, _CACHE_WRITE, problems)
    fresh = prompt
    if prompt is not None:
        cached = (read or 0) + (write or 0)
        if cached <= prompt:
            fresh = prompt - cached
        else:  # a gateway that counts as the provider behind it does
            note(problems, "wrong_usage", "the cache has more tokens than the prompt; taken as not counted in it")
    return Usage(
        input=fresh,
        output=output,
        cache_read=read,
        cache_write=write,
        reasoning=_first(usage, _REASONING, problems),
        extra=_rest(usage, (prompt or 0) + (output or 0)),
    )


def _output(usage: Fields, problems: list[Problem]) -> int | None:
    """`completion_tokens`, with reasoning where a server counts that beside it: the total tells (xAI, and Gemini's
    compatible endpoint)."""
    prompt, output = (read_count(usage, f"{kind}_tokens", problems) for kind in ("prompt", "completion"))
    thought = _first(usage, _REASONING, problems)
    if output is not None and thought and usage.get("total_tokens") == (prompt or 0) + output + thought:
        return output + thought
    return output


def _first(usage: Fields, places: tuple[tuple[str, str], ...], problems: list[Problem]) -> int | None:
    for field, key in places:
        holder = usage.get(field) if field else usage
        if isinstance(holder, dict) and (count := read_count(holder, key, problems)) is not None:
            return count
    return None


def _rest(usage: Fields, total: int) -> Fields:
    """What is not counted elsewhere: audio and prediction tokens, costs, a total that is not the sum."""
    rest: Fields = {}
    for key, value in usage.items():
        if key in ("prompt_tokens_details", "completion_tokens_details") and isinstance(value, dict):
            value = {k: v for k, v in value.items() if k not in _COUNTED_DETAILS and v} or None
        if value is not None and key not in _COUNTED and not (key == "total_tokens" and value == total):
            rest[key] = value
    return rest


def error_text(value: Json) -> str:
    """The error of an error body or event: "invalid_request_error (context_length_exceeded): too long".

    Shapes seen: `error` as object or text (OpenAI, OpenRouter), a list of such (Gemini's compatible endpoint), the
    fields of the error at the top (vLLM), `detail` as text or list (FastAPI), `errors` (Cloudflare), `Message` (AWS).
    """
    text = _describe(value, 0)
    return (text or "unknown error")[:_ERROR_CHARACTERS]


def _describe(value: Json, depth: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth < 3:
        return "; ".join([text for item in value[:5] if (text := _describe(item, depth + 1))])
    if not isinstance(value, dict) or depth >= 3:
        return "" if value is None else str(value)[:_ERROR_CHARACTERS]
    for field in ("error", "errors", "detail"):
        if value.get(field):
            return _describe(value[field], depth + 1)
    kind, code = value.get("type"), value.get("code")
    if kind == "error":
        kind = None
    words = [str(word) for word in (kind, code) if word is not None]
    name = f"{words[0]} ({words[1]})" if len(words) == 2 and words[0] != words[1] else "".join(words[:1])
    message = next((value[key] for key in ("message", "Message", "msg", "title") if value.get(key)), None)
    said = message if isinstance(message, str) else _describe(message, depth + 1)
    return ": ".join([part for part in (name, said) if part])
