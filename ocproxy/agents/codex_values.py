"""Values of a JavaScript program as far as its source tells them, and the literals of the syntax tree.

Known values are plain Python: str, int, float, bool, None (null), lists and dicts of values. What is not known keeps
its source text. ECMA-262, "String Literals" and "Template Literals", for the escapes.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from tree_sitter import Node

Value = Any  # one of the above, or one of the classes below


class Unknown(msgspec.Struct, frozen=True):
    """A value that only the running program has."""

    source: str


class Partial(msgspec.Struct, frozen=True):
    """A text of which parts are not known; they stand in it as `${…}`."""

    text: str


class Result(msgspec.Struct, frozen=True):
    """What call number `call` gave, or a field of it; `as_json` once it was made a text by JSON.stringify."""

    call: int
    path: tuple[str | int, ...] = ()
    as_json: bool = False


class Tools(msgspec.Struct, frozen=True):
    """The global object `tools`."""


class Tool(msgspec.Struct, frozen=True):
    """A function of `tools`, not called yet."""

    name: str


class Function(msgspec.Struct, frozen=True):
    """A function of the program itself, with the variables that it sees."""

    node: Node
    seen: tuple[dict[str, Value], ...]


_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_CODE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))\Z")
_NUMBER = re.compile(r"-?(?:\d[\d_]*)(?:\.\d+)?(?:[eE][+-]?\d+)?\Z")
_NAMED: dict[str, Value] = {"true": True, "false": False, "null": None}
_LONGEST_SOURCE = 200


def source_of(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "surrogateescape")


def unknown(node: Node) -> Unknown:
    """The value of an expression that is not followed, by its source, cut to a length that a table can show."""
    text = source_of(node)
    return Unknown(text if len(text) <= _LONGEST_SOURCE else text[:_LONGEST_SOURCE] + "…")


def string_of(node: Node, *, raw: bool = False) -> str:
    """The text of a string literal, or of the fixed pieces of a template (`raw`: as String.raw leaves it)."""
    pieces = [source_of(child) if raw else _piece(child) for child in node.named_children]
    return joined("".join(pieces))


def _piece(node: Node) -> str:
    text = source_of(node)
    return _unescaped(text) if node.type == "escape_sequence" else text


def _unescaped(text: str) -> str:
    if found := _CODE.match(text):
        code = int(found[1] or found[2] or found[3], 16)
        return chr(code) if code < 0x110000 else text
    behind = text[1:]
    if behind[:1] in ("\n", "\r", "\u2028", "\u2029"):
        return ""  # a line that goes on
    return _SIMPLE.get(behind, behind)


def piece_of_template(node: Node, *, raw: bool) -> str:
    """One fixed piece of a template."""
    return source_of(node) if raw else _piece(node)


def joined(text: str) -> str:
    """Pairs of surrogates (\\ud83d\\ude80) as the characters that they mean."""
    if not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") if _pairs(text) else text


def _pairs(text: str) -> bool:
    """Whether all surrogates of the text are in pairs: lone ones cannot be joined, and stay."""
    return not re.search("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]", text)


def number_of(node: Node) -> Value:
    text = source_of(node)
    if not _NUMBER.match(text):
        return unknown(node)
    plain = text.replace("_", "")
    return int(plain) if plain.isdecimal() and len(plain) < 16 else float(plain)


def constant(node: Node) -> Value:
    """true, false, null."""
    return _NAMED[node.type]


def as_text(value: Value) -> str | Partial:
    """A value inside a template or behind a `+`: its text where it is known."""
    if isinstance(value, str | Partial):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, Unknown):
        return Partial(f"${{{value.source}}}")
    return Partial("${…}")


def concatenated(parts: list[Value]) -> str | Partial:
    """The texts of the values, one behind the other; Partial where one of them is not known."""
    texts = [as_text(part) for part in parts]
    whole = "".join(text.text if isinstance(text, Partial) else text for text in texts)
    return Partial(whole) if any(isinstance(text, Partial) for text in texts) else joined(whole)


def is_known(value: Value) -> bool:
    """Whether all of a value is known."""
    if isinstance(value, list):
        return all(map(is_known, value))
    if isinstance(value, dict):
        return all(map(is_known, value.values()))
    return value is None or isinstance(value, str | int | float)


def field_of(value: Value, name: str | int, node: Node) -> Value:
    """`value.name` or `value[name]`."""
    if isinstance(value, dict) and isinstance(name, str):
        return value.get(name, unknown(node))
    if isinstance(value, list) and isinstance(name, int) and 0 <= name < len(value):
        return value[name]
    if isinstance(value, Tools) and isinstance(name, str):
        return Tool(name)
    if isinstance(value, Result) and not value.as_json:
        return Result(value.call, (*value.path, name))
    return unknown(node)
