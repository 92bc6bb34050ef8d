"""JSON as it really arrives: decodes what msgspec decodes, and mends what can be mended.

The values given back are safe for everything downstream: no lone surrogates (they cannot be written as UTF-8), no NaN
or infinity, no deeper than `MAX_DEPTH`. What was mended is told as a Problem.
"""

from __future__ import annotations

import json
import math
import re

import msgspec

from ocproxy.errors import DecodeError
from ocproxy.model import Json, Problem
from ocproxy.protocols.problems import note

# Encoders recurse once a level and Python stops them at 1,000, callers included. Real tool schemas reach about 20.
MAX_DEPTH = 200

_decode = msgspec.json.Decoder().decode
# One escape at a time, so that `\\ud800` (a backslash and text) is not taken for a surrogate. Group 1: a lone half.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|[^\n])"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(data: bytes | str, problems: list[Problem]) -> Json:
    """The JSON value in `data` (UTF-8). Raises DecodeError with the reason when there is none.

    Mended, with a Problem: a byte order mark, bytes that are not UTF-8, lone surrogates (both become U+FFFD), numbers
    beyond a double (they stay as text).
    """
    try:
        value = _decode(data)
    except RecursionError:
        raise DecodeError(f"JSON is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # msgspec.DecodeError and UnicodeError are both ValueErrors
        value = _decode_mended(data, str(error), problems)
    # A level takes two bytes at least, so short data needs no look.
    if len(data) > 2 * MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise DecodeError(f"JSON is nested deeper than {MAX_DEPTH} levels")
    return value


def _decode_mended(data: bytes | str, reason: str, problems: list[Problem]) -> Json:
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    text = _SURROGATE.sub("\ufffd", text.removeprefix("\ufeff"))
    text = _ESCAPE.sub(lambda match: "\\ufffd" if match[1] else match[0], text)
    try:
        value = json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_refuse)
    except RecursionError:
        raise DecodeError(f"JSON is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise DecodeError(reason) from None
    note(problems, "mended_json", f"the JSON was not clean and was mended: {reason}")
    return value


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _int(text: str) -> int | str:
    # Python refuses to convert more than 4,300 digits (and a double has 309): such a number means nothing to us.
    return int(text) if len(text) <= 309 else text


def _refuse(text: str) -> Json:
    raise ValueError(f"{text} is not JSON")


def _deeper_than(value: Json, limit: int) -> bool:
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return bool(level)
