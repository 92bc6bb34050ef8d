"""Which upstream a request is for."""

from __future__ import annotations

import pytest

from ocproxy.relay.routes import CONTROL, Route, choose, origin_form

UPSTREAMS = frozenset({"anthropic", "openai", "gemini", "local"})


def route(target: bytes, hints: str = "", upstreams: frozenset[str] = UPSTREAMS) -> Route:
    return choose(target, hints, upstreams, "anthropic")


@pytest.mark.parametrize(
    ("target", "upstream"),
    [
        (b"/v1/messages?beta=true", "anthropic"),
        (b"/v1/messages/count_tokens", "anthropic"),
        (b"/v1/messages/batches/b1/results", "anthropic"),
        (b"/any/prefix/messages", "anthropic"),
        (b"/api/hello", "anthropic"),
        (b"/v1/chat/completions", "openai"),
        (b"/v1/chat/completions/c1/messages", "openai"),
        (b"/prefix/responses", "openai"),
        (b"/v1/responses/r1/cancel", "openai"),
        (b"/v1/threads/t1/messages", "openai"),
        (b"/v1/models", "openai"),
        (b"/v1", "openai"),
        (b"/v1beta/models/gemini-2:streamGenerateContent?alt=sse", "gemini"),
        (b"/v1/models/gemini-2:generateContent", "gemini"),
        (b"/x/models/g:countTokens", "gemini"),
        (b"/v1/tunedModels/g%3AgenerateContent", "gemini"),
        (b"/v1beta/openai/chat/completions", "gemini"),
        (b"/backend-api/plugins", "anthropic"),
        (b"/messages-of-mine", "anthropic"),
        (b"/", CONTROL),
        (b"/?a=b", CONTROL),
        (b"/api/sessions", CONTROL),
        (b"/ui/x.js", CONTROL),
        (b"/apis", "anthropic"),
    ],
)
def test_the_end_of_the_path_says_where_to(target: bytes, upstream: str) -> None:
    found = route(target)
    assert (found.upstream, found.target, found.run) == (upstream, target, None)


@pytest.mark.parametrize(
    ("target", "upstream", "rest"),
    [
        (b"/local/v1/messages", "local", b"/v1/messages"),
        (b"/openai/v1/messages?x", "openai", b"/v1/messages?x"),
        (b"/gemini", "gemini", b"/"),
        (b"/local?x=/y", "local", b"/?x=/y"),
        (b"/locals/v1/messages", "anthropic", b"/locals/v1/messages"),
    ],
)
def test_the_name_of_an_upstream_in_front_decides_and_is_removed(target: bytes, upstream: str, rest: bytes) -> None:
    assert route(target)[:2] == (upstream, rest)


@pytest.mark.parametrize(
    ("target", "run", "upstream", "rest"),
    [
        (b"/run/r1/v1/messages", "r1", "anthropic", b"/v1/messages"),
        (b"/run/a%20b/local/x", "a b", "local", b"/x"),
        (b"/run/r1", "r1", "anthropic", b"/"),
        (b"/run/r1/", "r1", "anthropic", b"/"),
        (b"/run/r1?x", "r1", "anthropic", b"/?x"),
        (b"/run/r1/api/hello", "r1", "anthropic", b"/api/hello"),
        (b"/run/r1/api/sessions", "r1", "anthropic", b"/api/sessions"),
        (b"/run/%ff/v1/models", "\ufffd", "openai", b"/v1/models"),
        (b"/run/", None, "anthropic", b"/run/"),
    ],
)
def test_a_run_in_front_is_a_tag_and_is_removed(target: bytes, run: str | None, upstream: str, rest: bytes) -> None:
    found = route(target)
    assert (found.run, found.upstream, found.target) == (run, upstream, rest)


@pytest.mark.parametrize(
    ("target", "hints", "upstream"),
    [
        (b"/v1/models", "anthropic-version", "anthropic"),
        (b"/v1/chat/completions", "anthropic-version", "anthropic"),
        (b"/v1/models", "x-goog-api-key", "gemini"),
        (b"/elsewhere", "x-goog-api-key", "gemini"),
        (b"/v1/messages", "x-goog-api-key", "anthropic"),
        (b"/local/v1/models", "anthropic-version", "local"),
    ],
)
def test_a_header_says_it_where_the_path_does_not(target: bytes, hints: str, upstream: str) -> None:
    assert route(target, hints).upstream == upstream


def test_an_upstream_that_is_not_configured_falls_to_the_default() -> None:
    found = route(b"/v1/chat/completions", upstreams=frozenset({"anthropic"}))
    assert (found.upstream, found.dialect) == ("anthropic", "openai")


ADDED = [
    (b"/backend-api/codex/responses", "chatgpt", "openai"),
    (b"/backend-api/plugins?x=1", "chatgpt", "openai"),
    (b"/model/anthropic.claude-v2:0/invoke-with-response-stream", "bedrock", "anthropic"),
    (b"/model/arn%3Aaws%3Ax%2Fy/converse", "bedrock", "anthropic"),
    (b"/model/claude/count-tokens", "bedrock", "anthropic"),
    (b"/inference-profiles", "bedrock", "anthropic"),
    (b"/v1/projects/p/locations/l/endpoints/123:streamGenerateContent", "vertex", "gemini"),
    (b"/v1internal:countTokens", "codeassist", "gemini"),
    (b"/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict", "vertex", "anthropic"),
    (b"/v1/projects/p/locations/l/publishers/google/models/gemini-3:generateContent", "vertex", "gemini"),
]


@pytest.mark.parametrize(("target", "upstream", "dialect"), ADDED)
def test_paths_of_other_clouds_go_to_the_upstream_that_was_added_for_them(
    target: bytes, upstream: str, dialect: str
) -> None:
    found = route(target, upstreams=UPSTREAMS | {"chatgpt", "bedrock", "vertex", "codeassist"})
    assert (found.upstream, found.target, found.dialect) == (upstream, target, dialect)
    assert route(b"/local" + target, upstreams=UPSTREAMS | {upstream}).upstream == "local"


@pytest.mark.parametrize(
    ("target", "upstream"),
    [
        (b"/v1internal:streamGenerateContent?alt=sse", "gemini"),
        (b"/backend-api/codex/responses", "openai"),
        (b"/model/claude/invoke", "anthropic"),
        (b"/v1/projects/p/locations/l/publishers/google/models/gemini-3:generateContent", "gemini"),
    ],
)
def test_without_it_they_go_where_their_end_says(target: bytes, upstream: str) -> None:
    assert route(target).upstream == upstream


@pytest.mark.parametrize(
    ("target", "dialect"),
    [
        (b"/v1/messages", "anthropic"),
        (b"/local/v1/messages", "anthropic"),
        (b"/gemini/x", "gemini"),
        (b"/local/x", "openai"),
        (b"/v1beta/models", "gemini"),
    ],
)
def test_errors_speak_the_clients_protocol(target: bytes, dialect: str) -> None:
    assert route(target).dialect == dialect


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/x", b"/x"),
        (b"//evil/x", b"//evil/x"),
        (b"http://LOCALHOST:4141/x?y", b"/x?y"),
        (b"HTTP://localhost:4141", b"/"),
        (b"http://localhost:4141?x", b"/?x"),
        (b"http://localhost:41410/x", None),
        (b"http://user@localhost:4141/x", None),
        (b"http://evil/localhost:4141/", None),
        (b"https://localhost:4141/", None),
        (b"localhost:4141", None),
        (b"*", None),
    ],
)
def test_an_absolute_target_is_ours_only_under_our_own_name(target: bytes, path: bytes | None) -> None:
    assert origin_form(target, {b"localhost:4141"}) == path
