"""Credentials are replaced by fingerprints; everything else stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocproxy.errors import ServerError
from ocproxy.relay.head import RequestHead, ResponseHead
from ocproxy.relay.redaction import Redactor, is_credential, load_key

KEY = b"k" * 32


@pytest.mark.parametrize(
    "name",
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "set-cookie",
     "chatgpt-account-id", "x-amz-security-token", "my-secret", "ocp-apim-subscription-key", "helicone-auth",
     "cf-access-jwt-assertion", "x-goog-iap-jwt-assertion", "cf-access-client-secret", "x-authtoken", "x_auth_key",
     "x-portkey-apikey-2", "session-key", "x-session-key", "x-amz-credential", "cookie2", "set-cookie2",
     "private-token", "x-serverless-authorization", "x-auth-tokens", "dpop", "x-hub-signature-256", "authentication"],
)  # fmt: skip
def test_a_field_that_holds_a_secret_is_known(name: str) -> None:
    assert is_credential(name.encode())


@pytest.mark.parametrize(
    "name",
    ["anthropic-ratelimit-tokens-limit", "content-type", "sec-websocket-key", "idempotency-key", "x-tokens", "keyed",
     "anthropic-ratelimit-input-tokens-remaining", "x-ratelimit-remaining-tokens", "max-tokens", "x-max-token-count",
     "x-claude-code-session-id", "authority", "www-authenticate", "proxy-authenticate", "author", "x-author-name",
     "access-control-allow-credentials", "x-ratelimit-limit-token", "x-oauth-scopes", "request-id", "mcp-session-id",
     "anthropic-beta", "anthropic-organization-id", "surrogate-key", "sec-websocket-accept", "x-stainless-lang"],
)  # fmt: skip
def test_a_field_that_holds_none_stays(name: str) -> None:
    assert not is_credential(name.encode())


def test_a_fingerprint_is_the_same_for_the_same_secret_and_key_only() -> None:
    one, other = Redactor(KEY), Redactor(b"x" * 32)
    assert one.fingerprint(b"s") == Redactor(KEY).fingerprint(b"s") != one.fingerprint(b"t")
    assert one.fingerprint(b"s") != other.fingerprint(b"s")
    assert len(one.fingerprint(b"s")) == len("redacted:") + 12


def test_the_scheme_stays_and_names_no_secret() -> None:
    redactor = Redactor(KEY)
    assert redactor.line(b"AUTHORIZATION:  Bearer sk-1") == b"AUTHORIZATION:  Bearer " + redactor.fingerprint(b"sk-1")
    assert redactor.line(b"X-Api-Key:sk-1") == b"X-Api-Key:" + redactor.fingerprint(b"sk-1")


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (b"/x?key=SECRET", b"/x?key="),
        (b"/x?alt=sse&KEY=SECRET&b=1", b"&b=1"),
        (b"/x?access_token=SECRET", b"?access_token="),
        (b"/x?a=1;api_key=SECRET", b"/x?a=1;api_key="),
        (b"/x?X-Amz-Signature=SECRET", b"X-Amz-Signature="),
        (b"/x?client_secret=SECRET#f", b"#f"),
        (b"/x?k%65y=SECRET&b=1", b"?k%65y="),
        (b"/x?%6b%65%79=SECRET", b"%6b%65%79="),
        (b"/x?jwt=SECRET", b"jwt="),
        (b"/x?sig=SECRET&se=2026", b"&se=2026"),
        (b"/x?signature=SECRET", b"signature="),
        (b"/x?X-Goog-Signature=SECRET&X-Goog-Date=1", b"&X-Goog-Date=1"),
        (b"/x?X-Amz-Credential=SECRET", b"X-Amz-Credential="),
        (b"/callback?code=SECRET&state=s", b"&state=s"),
        (b"/x?accessToken=SECRET", b"accessToken="),
        (b"/x?auth[token]=SECRET", b"auth[token]="),
        (b"/x?key=SECRET;SECRET&b=1", b"&b=1"),
        (b"/x?a?key=SECRET", b"/x?a?key="),
        (b"/x#access_token=SECRET", b"#access_token="),
        (b"/x?to=https%3A%2F%2Fa%3Fb%3D1%26key%3dSECRET%26c%3D2&d=3", b"?to=https%3A%2F%2Fa%3Fb%3D1%26key%3dredacted:"),
        (b"/x?to=%2Fa%3Fcode%3DSECRET%26state%3D2&d=3", b"%26state%3D2&d=3"),
        (b"GET http://SECRET:SECRET@host:1/x HTTP/1.1", b"@host:1/x HTTP/1.1"),
        (b"GET http://SECRET@host HTTP/1.1", b"@host HTTP/1.1"),
        (b"CONNECT SECRET:SECRET@host:443 HTTP/1.1", b"@host:443 HTTP/1.1"),
    ],
)
def test_credentials_in_a_query_are_replaced(target: bytes, kept: bytes) -> None:
    redacted = Redactor(KEY).target(target)
    assert b"SECRET" not in redacted and kept in redacted and b"redacted:" in redacted


@pytest.mark.parametrize(
    "target",
    [b"/v1/x?pageToken=a&max_tokens=5&monkey=1&author=x", b"/key=SECRET", b"/x?", b"/x?key=",
     b"/x?beta=true", b"/models/claude@2026:rawPredict", b"/x?encode=1&codec=2&design=3", b"/x?to=a@b.c",
     b"/x?to=%2Fa%3Fb%3D1%26c%3D2"],
)  # fmt: skip
def test_other_parameters_stay(target: bytes) -> None:
    assert Redactor(KEY).target(target) == target


def test_only_the_values_of_credentials_change_in_a_head() -> None:
    raw = b"GET /x HTTP/1.1\r\nHost: a\r\nCookie: SECRET\r\nX: SECRET-free\r\ncookie: SECRET\r\n\r\n"
    redactor = Redactor(KEY)
    mark = redactor.fingerprint(b"SECRET")
    expected = raw.replace(b"Cookie: SECRET", b"Cookie: " + mark).replace(b"cookie: SECRET", b"cookie: " + mark)
    assert RequestHead(raw).redacted(redactor) == expected


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"Location: https://x.y/a?key=SECRET&alt=sse", [b"https://x.y/a?key=", b"&alt=sse"]),
        (b"Location: https://x.y/a#access_token=SECRET", [b"#access_token="]),
        (b'Link: <https://x.y/a?api_key=SECRET>; rel="next", </b?key=SECRET>', [b'>; rel="next", </b?key=', b">"]),
        (b"Content-Location: /a?token=SECRET", [b"/a?token="]),
        (b"Referer: https://SECRET:SECRET@x.y/a?b=1", [b"https://redacted:", b"@x.y/a?b=1"]),
        (b"Origin: https://SECRET@x.y", [b"@x.y"]),
        (b"X-Goog-Upload-URL: https://x.y/u?upload_id=1&key=SECRET", [b"upload_id=1&key="]),
    ],
)
def test_credentials_in_the_urls_of_a_field_are_replaced(line: bytes, kept: list[bytes]) -> None:
    response = ResponseHead(b"HTTP/1.1 302 Found\r\n%b\r\n\r\n" % line).redacted(Redactor(KEY))
    request = RequestHead(b"GET /x HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line).redacted(Redactor(KEY))
    refused = Redactor(KEY).refused(b"GET /x\r\n%b\r\n\r\n" % line)
    for redacted in (response, request, refused):
        assert b"SECRET" not in redacted and b"redacted:" in redacted
        assert all(part in redacted for part in kept)


@pytest.mark.parametrize(
    "line", [b"Referer: https://x.y/@a?b=c", b"Link: </a?max_tokens=5>; rel=next", b"Origin: null"]
)
def test_urls_without_credentials_stay(line: bytes) -> None:
    assert Redactor(KEY).line(line) == line


def test_a_key_among_the_websocket_protocols_is_replaced_and_the_others_stay() -> None:
    redactor = Redactor(KEY)
    mark = redactor.fingerprint(b"sk-1_token-2")
    name = b"Sec-WebSocket-Protocol: "
    for before, after in [
        (b"realtime, openai-insecure-api-key.sk-1_token-2, openai-beta.realtime-v1",
         b"realtime, openai-insecure-api-key.%b, openai-beta.realtime-v1" % mark),
        (b"Bearer, sk-1_token-2, chat", b"Bearer, %b, chat" % mark),
        (b"base64url.bearer.sk-1_token-2", b"base64url.bearer.%b" % mark),
        (b"access_token,sk-1_token-2", b"access_token,%b" % mark),
        (b"sk-1_token-2 , graphql-transport-ws", b"%b , graphql-transport-ws" % mark),
        (b"realtime", b"realtime"),
    ]:  # fmt: skip
        assert redactor.line(name + before) == name + after
        head = redactor.refused(b"GET /\r\n" + name + before + b"\r\n\r\n")
        assert head == b"GET /\r\n" + name + after + b"\r\n\r\n"


@pytest.mark.parametrize("name", [b"X-Goog-Api-Key", b"x-api-key", b"Set-Cookie2", b"Cf-Access-Jwt-Assertion"])
def test_credentials_in_a_response_are_replaced_in_the_record_only(name: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\n%b: SECRET\r\nanthropic-version: 1\r\nContent-Length: 0\r\n\r\n" % name
    head, redactor = ResponseHead(raw), Redactor(KEY)
    assert head.redacted(redactor) == raw.replace(b"SECRET", redactor.fingerprint(b"SECRET"))
    assert head.forwarded(close=False) == raw


def test_a_user_in_the_target_is_replaced_without_any_query() -> None:
    head = RequestHead(b"GET http://SECRET:x@a/b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"SECRET" not in head.redacted(Redactor(KEY)) and b"SECRET" in head.forwarded(head.target, None)


def test_a_head_known_again_keeps_its_length_behind_a_credential_named_like_it() -> None:
    raw = b"POST /x HTTP/1.1\r\nHost: a\r\nX-Secret-Length:SECRET\r\nContent-Length: 12\r\n\r\n"
    redactor = Redactor(KEY)
    for _ in range(2):
        assert RequestHead.read(raw).redacted(redactor) == raw.replace(b"SECRET", redactor.fingerprint(b"SECRET"))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", [b"?", b"&", b";", b"//", b"/", b"a-", b"?a", b"//@", b";a", b"token-", b"?a[", b",x", b"%3f"]
)
def test_a_large_head_that_repeats_itself_takes_no_long_time(piece: bytes) -> None:
    text, redactor = piece * (65536 // len(piece)), Redactor(KEY)
    redactor.target(b"/?a=%3f" + text + b"%3d")
    redactor.refused(b"GET /?" + text + b"=@\r\nLink: /?" + text + b"=@\r\nSec-WebSocket-Protocol: " + text)


@given(st.binary(max_size=200))
def test_redacting_garbage_never_raises(data: bytes) -> None:
    Redactor(KEY).refused(data)
    Redactor(KEY).target(data)


@given(st.lists(st.sampled_from([b"Authorization", b" ", b"\t", b":", b"\r", b"\n", b"x", b"SECRET"]), max_size=12))
def test_a_credential_behind_its_name_is_found_however_it_is_spaced(pieces: list[bytes]) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"".join(pieces) + b"\r\nAuthorization \t:\t SECRET\r\n SECRET\n"
    assert b"SECRET" not in Redactor(KEY).refused(head).rpartition(b"\r\nAuthorization")[2]


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "redaction.key"
    key = load_key(path)
    assert len(key) == 32 and load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["redaction.key"]


def test_a_damaged_key_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "redaction.key"
    path.write_bytes(b"short")
    with pytest.raises(ServerError, match="5 bytes instead of 32") as caught:
        load_key(path)
    assert caught.value.hint


def test_a_key_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ServerError, match="cannot be made"):
        load_key(tmp_path / "file" / "redaction.key")
