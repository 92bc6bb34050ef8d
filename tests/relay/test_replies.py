"""Our own errors are JSON in the shape of the client's protocol."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocproxy.relay.replies import error_body, error_head, quote


@given(st.text())
def test_a_quoted_text_is_json(text: str) -> None:
    assert json.loads(quote(text)) == text
    assert quote(text).isascii()


@pytest.mark.parametrize("status", [400, 404, 405, 431, 502, 503])
def test_each_protocol_gets_its_own_error_body(status: int) -> None:
    client = status < 500
    anthropic = json.loads(error_body("anthropic", status, 'no "way"'))
    assert anthropic["type"] == "error" and anthropic["error"]["message"] == 'ocproxy: no "way"'
    assert (anthropic["error"]["type"] == "api_error") != client
    openai = json.loads(error_body("openai", status, "no"))["error"]
    assert openai["code"] == f"ocproxy_{status}" and (openai["type"] == "invalid_request_error") == client
    gemini = json.loads(error_body("gemini", status, "no"))["error"]
    assert gemini["code"] == status and (gemini["status"] == "UNAVAILABLE") != client


def test_a_head_says_its_length_and_whether_the_connection_ends() -> None:
    assert b"\r\nContent-Length: 7\r\n" in error_head(502, 7, close=False)
    assert b"Connection: close" in error_head(502, 7, close=True)
    assert b"Connection" not in error_head(502, 7, close=False)
