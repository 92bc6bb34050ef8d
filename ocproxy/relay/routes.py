"""Which upstream a request is for, judged by its path's end so that any prefix works. Pure.

    /run/NAME/…                      in front of anything: a tag, removed
    /UPSTREAM/…                      an upstream of the configuration, by name; the name is removed
    /  /api/…  /ui/…                 the control process (but /api/hello is Claude Code's probe: anthropic)
    /backend-api/…                   chatgpt, where there is an upstream of that name: Codex with a ChatGPT login
    …/model/ID/invoke  …/converse    bedrock, where there is one
    …/publishers/P/models/ID:verb    vertex, where there is one; …/locations/L/endpoints/ID:verb too
    /v1internal:verb                 codeassist, where there is one: Gemini CLI with a Google login
    …/v1beta/…  …/models/ID:verb     gemini
    …/messages and below             anthropic, except below OpenAI's threads
    …/chat/completions, …/responses, …/v1/…
                                     openai; but what the header anthropic-version or x-goog-api-key says comes first
    anything else                    what such a header says, else the default upstream

Sources: platform.claude.com/docs/en/api, platform.openai.com/docs/api-reference, ai.google.dev/api; for Bedrock the
InvokeModel and Converse operations of docs.aws.amazon.com/bedrock/latest/APIReference, for Vertex AI rawPredict and
generateContent of cloud.google.com/vertex-ai/docs/reference/rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

CONTROL: Final = ""  # the name that means: forward to the control process
_RUN = re.compile(rb"/run/([^/?#]+)(?=[/?#]|$)")
_FIRST = re.compile(rb"/([^/?#]+)(?=[/?#]|$)")
# `/v1internal:` is Gemini with a Google login; `:rawPredict` is another publisher's model.
_GEMINI = re.compile(
    rb"/v1(?:alpha|beta)\d*(?:/|$)|/v1internal:[A-Za-z]+$"
    rb"|/(?:models|tunedModels|endpoints)/[^/]+(?::|%3[Aa])(?!rawPredict|streamRawPredict)[A-Za-z]+$"
)
_OPENAI = re.compile(rb"/(?:chat/completions|responses|threads)(?:/|$)")
_MESSAGES = re.compile(rb"/messages(?:/|$)")
_V1 = re.compile(rb"/v1(?:/|$)")
# What only an upstream that the user added can take: its name, its paths, and how errors look there.
_ADDED = (
    ("chatgpt", re.compile(rb"^/backend-api(?:/|$)"), "openai"),
    (
        "bedrock",
        re.compile(rb"/model/[^/]+/(?:invoke|converse|count-tokens)[a-z-]*$|/inference-profiles$"),
        "anthropic",
    ),
    ("vertex", re.compile(rb"/publishers/anthropic/models/[^/]+(?::|%3[Aa])[A-Za-z]+$"), "anthropic"),
    (
        "vertex",
        re.compile(rb"/(?:publishers/[^/]+/models|locations/[^/]+/endpoints)/[^/]+(?::|%3[Aa])[A-Za-z]+$"),
        "gemini",
    ),
    ("codeassist", re.compile(rb"/v1internal:[A-Za-z]+$"), "gemini"),
)


class Route(NamedTuple):
    """Where a request goes. `target` is what the upstream is asked for, before its own base path."""

    upstream: str  # a name of the configuration, or CONTROL
    target: bytes
    run: str | None
    dialect: str  # "anthropic", "openai" or "gemini": how our own errors are shaped


@lru_cache(maxsize=1024)  # agents ask for the same few targets again and again
def choose(target: bytes, hints: str, upstreams: frozenset[str], default: str) -> Route:
    """The route of a request in origin form (`target` starts with "/"). `hints` are the names of the headers
    anthropic-version and x-goog-api-key where present."""
    run = None
    if target.startswith(b"/run/") and (found := _RUN.match(target)):
        run = unquote_to_bytes(found[1]).decode("utf-8", "replace")
        target = _rooted(target[found.end() :])
    first = _FIRST.match(target)
    name = first[1].decode("latin-1") if first else ""
    path = target.partition(b"?")[0]
    if not (first and name in upstreams) and (added := _added(path, upstreams)):
        return Route(added[0], target, run, added[1])
    meant = _meant(path, hints)
    if first and name in upstreams:
        rest = _rooted(target[first.end() :])
        said = name if name in ("anthropic", "openai", "gemini") else _meant(rest.partition(b"?")[0], hints)
        return Route(name, rest, run, said or "openai")
    if run is None and (path == b"/" or (name in ("api", "ui") and path != b"/api/hello")):
        return Route(CONTROL, target, None, "openai")
    if path.endswith(b"/api/hello"):
        meant = "anthropic"
    upstream = meant if meant in upstreams else default
    return Route(upstream, target, run, meant or "openai")


def _added(path: bytes, upstreams: frozenset[str]) -> tuple[str, str] | None:
    """The name of an upstream that the user added for such paths, and the dialect of its errors."""
    for name, pattern, dialect in _ADDED:
        if name in upstreams and pattern.search(path):
            return name, dialect
    return None


def _meant(path: bytes, hints: str) -> str:
    if _GEMINI.search(path):
        return "gemini"
    compatible = _OPENAI.search(path)
    if not compatible and _MESSAGES.search(path):
        return "anthropic"
    if "anthropic-version" in hints:
        return "anthropic"
    if "x-goog-api-key" in hints:
        return "gemini"
    return "openai" if compatible or _V1.search(path) else ""


def _rooted(rest: bytes) -> bytes:
    return rest if rest.startswith(b"/") else b"/" + rest


def origin_form(target: bytes, own: Collection[bytes]) -> bytes | None:
    """The target as a path. An absolute form is one only when its authority is in `own` (lower case): upstreams come
    from the configuration, never from a request. None: this is not ours to serve."""
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() != b"http":
        return None
    cut = re.search(rb"[/?#]", rest)
    authority, path = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, b"/")
    return _rooted(path) if authority.lower() in own else None
