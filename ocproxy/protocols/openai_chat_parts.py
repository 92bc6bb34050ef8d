"""Content, reasoning and whole messages of the OpenAI Chat Completions API, as parts.

Source: the API reference, "Create chat completion", https://platform.openai.com/docs/api-reference/chat/create. It has
no reasoning: `reasoning_content` is DeepSeek's (https://api-docs.deepseek.com/guides/reasoning_model), also Qwen's and
older vLLM's; `reasoning` and `reasoning_details` are OpenRouter's
(https://openrouter.ai/docs/use-cases/reasoning-tokens), `reasoning` also newer vLLM's; parts of type `thinking` are
Mistral's. What is not known stays whole as `Opaque`, with a Problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ocproxy.model import Json, Media, Opaque, Part, Problem, Reasoning, Text
from ocproxy.protocols.openai_chat_calls import read_calls, read_function_call
from ocproxy.protocols.problems import note

Fields = dict[str, Json]

REASONING_FIELDS = ("reasoning_content", "reasoning")
_READ_OF_ASSISTANT = {
    *("role", "content", "refusal", "images", "audio", "tool_calls", "function_call", "reasoning_details"),
    *REASONING_FIELDS,
}
_DATA_URL = re.compile(r"data:([\w.+-]{1,60}/[\w.+-]{1,100})[;,]")
_AUDIO_TYPES = {"mp3": "audio/mpeg", "pcm16": "audio/pcm"}


def read_content(content: Json, problems: list[Problem]) -> list[Part]:
    """The parts of `content`: text, a list of parts, or nothing. Empty text says nothing: clients send "" for null."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Text(content)]
    if isinstance(content, list):
        return [_read_part(part, problems) for part in content]
    note(problems, "wrong_type", f"content is neither text nor a list but {type(content).__name__}")
    return [Opaque("content", content)]


def read_assistant(message: Fields, problems: list[Problem], *, ended: bool = True) -> tuple[list[Part], Fields]:
    """The parts of an assistant's message, always in the same order, and its other fields.

    The order of a stream is not kept: clients send the message back as one object, which has none. `ended`: the whole
    message is known to have ended.
    """
    parts = _read_reasoning(message, problems)
    parts += read_content(message.get("content"), problems)
    refusal, images, audio = message.get("refusal"), message.get("images"), message.get("audio")
    if isinstance(refusal, str) and refusal:
        parts.append(Text(refusal, {"type": "refusal"}))
    elif refusal:
        parts.append(_malformed("refusal", refusal, problems))
    if isinstance(images, list):  # OpenRouter, models that draw
        parts += [_read_part(image, problems) for image in images]
    elif images is not None:
        parts.append(_malformed("images", images, problems))
    if isinstance(audio, dict):
        parts.append(Media("audio", None, audio))
    elif audio is not None:
        parts.append(_malformed("audio", audio, problems))
    parts += read_calls(message.get("tool_calls"), problems, ended=ended)
    parts += read_function_call(message.get("function_call"), problems, ended=ended)
    return parts, {key: value for key, value in message.items() if key not in _READ_OF_ASSISTANT and value is not None}


def plain_text(content: Json) -> str:
    """All text of a tool message's content, joined by newlines. Images give nothing; what is no content is JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [_text_of(item) for item in content]
        return "\n".join([text for text in texts if text])
    return "" if content is None else msgspec.json.encode(content).decode()


def _text_of(item: Json) -> str:
    if isinstance(item, dict):
        item = item.get("text")
    return item if isinstance(item, str) else ""


def _read_part(part: Json, problems: list[Problem]) -> Part:
    if isinstance(part, str):  # lists of plain text: not in the reference, but accepted by some servers
        return Text(part)
    if not isinstance(part, dict):
        note(problems, "wrong_type", f"a content part is not an object but {type(part).__name__}")
        return Opaque("content", part)
    kind = part.get("type")
    if not isinstance(kind, str):
        note(problems, "wrong_type", "a content part has no type")
        return Opaque("untyped", part)
    reader = _READERS.get(kind)
    if reader is None:
        note(problems, "unknown_block", f"content parts of type {kind!r} are not known; kept as they came")
        return Opaque(kind, part)
    return reader(part) or _malformed(kind, part, problems)


def _malformed(kind: str, value: Json, problems: list[Problem]) -> Opaque:
    note(problems, "malformed_block", f"a part of type {kind!r} lacks a field or has one of a wrong type")
    return Opaque(kind, value)


def _rest(part: Fields, *known: str) -> Fields:
    return {key: value for key, value in part.items() if key not in known and value is not None}


def _read_text(part: Fields) -> Part | None:
    text = part.get("text")
    return Text(text, _rest(part, "type", "text")) if isinstance(text, str) else None


def _read_refusal(part: Fields) -> Part | None:
    text = part.get("refusal")
    return Text(text, _rest(part, "refusal")) if isinstance(text, str) else None


def _read_thinking(part: Fields) -> Part | None:
    thinking = part.get("thinking")
    if not isinstance(thinking, str | list):
        return None
    return Reasoning(plain_text(thinking), extra=_rest(part, "type", "thinking"))


def _read_media(kind: str) -> Callable[[Fields], Part | None]:
    def read(part: Fields) -> Part | None:
        holder = part.get(part["type"].removeprefix("input_"))
        holder = part.get(part["type"]) if holder is None else holder
        return Media(kind, _media_type(kind, holder), part) if isinstance(holder, dict | str) else None

    return read


def _media_type(kind: str, holder: Json) -> str | None:
    """What the data says of itself: a data URL, or the format of audio."""
    if isinstance(holder, str):
        found = _DATA_URL.match(holder)
        return found[1] if found else None
    for field in ("url", "file_data", "data"):
        value = holder.get(field)
        if isinstance(value, str) and (found := _DATA_URL.match(value)):
            return found[1]
    form = holder.get("format")
    if not isinstance(form, str):
        return None
    return form if "/" in form else _AUDIO_TYPES.get(form, f"{kind}/{form}")


_READERS: dict[str, Callable[[Fields], Part | None]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "refusal": _read_refusal,
    "thinking": _read_thinking,
    "image_url": _read_media("image"),
    "input_image": _read_media("image"),
    "input_audio": _read_media("audio"),
    "audio_url": _read_media("audio"),
    "video_url": _read_media("video"),
    "file": _read_media("document"),
    "input_file": _read_media("document"),
}


def _read_reasoning(message: Fields, problems: list[Problem]) -> list[Part]:
    """One part for each detail; the plain fields too, where they say something else than the details and each other."""
    parts: list[Part] = []
    details = message.get("reasoning_details")
    if isinstance(details, list):
        parts += [_read_detail(detail, problems) for detail in details]
    elif details is not None:
        parts.append(_malformed("reasoning_details", details, problems))
    told = [part.text for part in parts if isinstance(part, Reasoning)]
    known = {_unspaced(text) for text in ("", "".join(told), *told)}
    plain: list[Part] = []
    for field in REASONING_FIELDS:
        text = message.get(field)
        if isinstance(text, str):
            if _unspaced(text) not in known:
                plain.append(Reasoning(text))
                known.add(_unspaced(text))
        elif text is not None:
            plain.append(_malformed(field, text, problems))
    return plain + parts


def _unspaced(text: str) -> str:
    """Details are joined with or without newlines, by whoever joins them."""
    return "".join(text.split())


def _read_detail(detail: Json, problems: list[Problem]) -> Part:
    kind = detail.get("type") if isinstance(detail, dict) else None
    if not isinstance(detail, dict) or not isinstance(kind, str):
        return _malformed("reasoning_details", detail, problems)
    field = {"reasoning.text": "text", "reasoning.summary": "summary", "reasoning.encrypted": "data"}.get(kind)
    if field is None:
        note(problems, "unknown_block", f"reasoning details of type {kind!r} are not known; kept as they came")
        return Reasoning("", extra=detail)  # whatever it is, it comes and goes with reasoning
    value, signature = detail.get(field), detail.get("signature")
    if not isinstance(value, str | None) or not isinstance(signature, str | None):
        return _malformed(kind, detail, problems)
    extra = _rest(detail, field, "signature", "index")
    if field == "data":
        return Reasoning("", signature or None, value, extra)
    return Reasoning(value or "", signature or None, None, extra)
