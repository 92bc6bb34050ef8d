"""What the request bodies of all JSON protocols have in common: an object, with a model and whether to stream."""

from __future__ import annotations

from ocproxy.errors import DecodeError
from ocproxy.model import Json, Problem
from ocproxy.protocols import json_value
from ocproxy.protocols.problems import note


def decode_object(body: bytes, problems: list[Problem]) -> dict[str, Json] | None:
    """The JSON object that a request body is; None, with a Problem, where it is none."""
    try:
        value = json_value.decode(body, problems)
    except DecodeError as error:
        note(problems, "bad_json", f"the request body is not JSON: {error}")
        return None
    if not isinstance(value, dict):
        note(problems, "wrong_type", "the request body is not an object")
        return None
    return value


def model_and_stream(
    value: dict[str, Json], params: dict[str, Json], problems: list[Problem]
) -> tuple[str | None, bool]:
    """`model` and `stream` of a request. What is not of its type goes into `params`, with a Problem."""
    model, stream = value.get("model"), value.get("stream")
    if not isinstance(model, str | None):
        note(problems, "wrong_type", "model is not text")
        params["model"] = model
    if not isinstance(stream, bool | None):
        note(problems, "wrong_type", "stream is not a boolean")
        params["stream"] = stream
    return model if isinstance(model, str) else None, stream is True
