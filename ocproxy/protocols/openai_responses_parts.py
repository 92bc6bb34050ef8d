"""Content of items of the OpenAI Responses API: text, refusals, images, files, audio, reasoning.

Source: the API reference, https://platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

from typing import Any

from ocproxy.model import Json, Media, Opaque, Part, Problem, Text
from ocproxy.protocols.problems import note

# An item, or a part of one: an object of the API.
Item = dict[str, Any]

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "summary_text": "text", "refusal": "refusal"}
_TEXTS["reasoning_text"] = "text"
_MEDIA = {
    "input_image": "image", "output_image": "image", "computer_screenshot": "image", "input_file": "document",
    "input_audio": "audio", "output_audio": "audio",
}  # fmt: skip
# What one agent tells another, where only the provider can read it.
_KNOWN_OPAQUE = {"encrypted_content"}


def read_content(content: Json, problems: list[Problem]) -> tuple[Part, ...]:
    """The parts of the content of a message: text, a list of parts, or nothing."""
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, list):
        return tuple([_read_part(part, problems) for part in content])
    if content is not None:
        note(problems, "wrong_type", f"content is neither text nor a list but {kind_of(content)}")
        return (Opaque("content", content),)
    return ()


def _read_part(part: Json, problems: list[Problem]) -> Part:
    if isinstance(part, str):
        return Text(part)
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        note(problems, "wrong_type", "a part of a content has no type")
        return Opaque("untyped", part)
    if kind in _TEXTS:
        text = part.get(_TEXTS[kind])
        if isinstance(text, str):
            return Text(text, {**({"type": kind} if kind == "refusal" else {}), **rest(part, "type", _TEXTS[kind])})
        note(problems, "malformed_part", f"a part of type {kind!r} has no text")
        return Opaque(kind, part)
    if kind in _MEDIA:
        return media_of(kind, part)
    if kind not in _KNOWN_OPAQUE:
        note(problems, "unknown_part", f"parts of type {kind!r} are not known; kept as they came")
    return Opaque(kind, part)


def media_of(kind: str, part: Item) -> Media:
    """An image, file or sound; its media type is told by a data URL (RFC 2397) or by the format of the sound."""
    for field in ("image_url", "file_data", "file_url"):
        url = part.get(field)
        if isinstance(url, str) and url.startswith("data:"):
            return Media(_MEDIA[kind], url[5:200].partition(";")[0].partition(",")[0] or None, part)
    sound = part.get("input_audio")
    form = sound.get("format") if isinstance(sound, dict) else None
    return Media(_MEDIA[kind], f"audio/{form}" if isinstance(form, str) else None, part)


def plain_text(content: Json) -> str:
    """All text of a result, its parts joined by newlines. Images give nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    found = []
    for part in content:
        if isinstance(part, dict):
            kind = part.get("type")
            part = part.get(_TEXTS.get(kind, "text") if isinstance(kind, str) else "text")
        if isinstance(part, str):
            found.append(part)
    return "\n".join(found)


def rest(item: Item, *known: str) -> Item:
    """Every other field that says something: nulls and empty lists do not."""
    return {key: value for key, value in item.items() if key not in known and value is not None and value != []}


def kind_of(value: Json) -> str:
    """The name of a value's type, for a Problem."""
    return "nothing" if value is None else type(value).__name__
