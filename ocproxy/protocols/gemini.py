"""The Gemini API: `…/models/ID:generateContent`, `:streamGenerateContent` and their kin, wherever they are served.

That is Google's AI Studio (`/v1/…`, `/v1beta/…`), Vertex AI (`…/locations/L/publishers/google/models/ID:verb`), Code
Assist (`/v1internal:verb`, which wraps requests and responses once more), and gateways with no prefix at all.
Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/tokens, https://ai.google.dev/api/embeddings;
of Code Assist's envelope the source of its client, https://github.com/google-gemini/gemini-cli.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from ocproxy.model import Json, ModelRequest, Problem
from ocproxy.protocols.base import Protocol, ReplyDecoder
from ocproxy.protocols.gemini_body import BodyDecoder
from ocproxy.protocols.gemini_history import read_contents, read_parts
from ocproxy.protocols.gemini_parts import Block, camel, camel_name
from ocproxy.protocols.problems import note
from ocproxy.protocols.request_object import decode_object

# Verb -> our endpoint.
_ENDPOINTS = {
    "generateContent": "generate",
    "streamGenerateContent": "generate",
    "countTokens": "count_tokens",
    "embedContent": "embed",
    "batchEmbedContents": "embed",
}
_VERBS = "|".join(_ENDPOINTS)
_PATH = re.compile(rf"(?:/(?:models|tunedModels|endpoints)/(.+?)|/v1internal)(?::|%3[aA])({_VERBS})$")
# Only these versions are Gemini's alone; /v1/models is everybody's.
_MODELS = re.compile(r"(/v1(?:alpha|beta)\d*)?/models(?:/([^/:]+))?$")
# Fields that a request is wrapped in: of Code Assist, of a token count.
_ENVELOPES = ("request", "generateContentRequest")
_READ = {"model", "contents", "systemInstruction", "tools", *_ENVELOPES}


class Gemini:
    """`ocproxy.protocols.base.Protocol` for the Gemini API."""

    name = "gemini"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """POST to a path that ends in a verb of the API, whatever is before it; GET of the list of models or of one."""
        if method == "POST":
            return _PATH.search(path) is not None
        found = _MODELS.search(path) if method == "GET" else None
        return found is not None and (found[1] is not None or "x-goog-api-key" in headers)

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        problems: list[Problem] = []
        found = _PATH.search(path)
        if found is None:
            model = _MODELS.search(path)
            return ModelRequest(model[2] if model else None, False, (), (), (), endpoint="models"), problems
        value = decode_object(body, problems)
        return (_read_request(found, value, problems) if value is not None else None), problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        found = _PATH.search(path)
        endpoint = _ENDPOINTS[found[2]] if found else "models"
        return BodyDecoder(endpoint, status, headers.get("content-type", ""))


def _read_request(path: re.Match[str], value: Block, problems: list[Problem]) -> ModelRequest:
    verb = path[2]
    inner = next((camel(value)[field] for field in _ENVELOPES if isinstance(camel(value).get(field), dict)), value)
    params = {
        key: item for key, item in {**value, **inner}.items() if key not in _READ and camel_name(key) not in _READ
    }
    outer, value = value, camel(inner)
    if _ENDPOINTS[verb] == "embed":
        return ModelRequest(_model(path, outer), False, (), (), (), params, "embed")
    if "contents" not in value:
        note(problems, "wrong_type", "the request has no contents")
    elif not isinstance(value["contents"], list | dict | str):
        params["contents"] = value["contents"]
    tools = value.get("tools")
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list | None) or not all(isinstance(tool, dict) for tool in tools or ()):
        note(problems, "wrong_type", "tools is not a list of objects")
        params["tools"] = tools
    system = value.get("systemInstruction")
    system = camel(system).get("parts") if isinstance(system, dict) and "parts" in system else system
    if not isinstance(system, list | dict | str | None):
        params["systemInstruction"] = system
    return ModelRequest(
        model=_model(path, value) or _model(path, outer),
        stream=verb.startswith("stream"),
        system=tuple(read_parts(system, problems)),
        messages=read_contents(value.get("contents", []), problems),
        tools=tuple([tool for tool in tools if isinstance(tool, dict)]) if isinstance(tools, list) else (),
        params=params,
        endpoint=_ENDPOINTS[verb],
    )


def _model(path: re.Match[str], value: dict[str, Json]) -> str | None:
    if path[1] is not None:
        return unquote(path[1])
    model = value.get("model")
    return model.removeprefix("models/") if isinstance(model, str) else None


PROTOCOL: Protocol = Gemini()
