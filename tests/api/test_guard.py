"""Who may ask the API: by a name of ours, and with the token where one is set."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse

from ocproxy.api.guard import Guard, host_of

pytestmark = pytest.mark.anyio


async def ask(host: str, *, token: str = "", given: str | None = None) -> httpx.Response:
    guard = Guard(PlainTextResponse("secret"), frozenset({"recorder.lan"}), token)
    headers = [(b"host", host.encode())] + ([(b"authorization", given.encode("latin-1"))] if given is not None else [])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=guard), base_url="http://x") as client:
        return await client.get("/", headers=headers)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4141", "127.0.0.1", "localhost:4141", "LocalHost", "[::1]:4141", "127.8.8.8", "recorder.lan:1"]
)
async def test_names_of_ours_are_answered(host: str) -> None:
    assert (await ask(host)).text == "secret"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4141", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1", "[", ":"],
)
async def test_a_name_that_a_page_rebinds_is_refused(host: str) -> None:
    answer = await ask(host)
    assert answer.status_code == 403
    assert "secret" not in answer.text and answer.json()["error"]["hint"]


async def test_there_are_no_cors_headers() -> None:
    assert not [name for name in (await ask("127.0.0.1")).headers if name.startswith("access-control")]


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic t0ken", "t0ken", "Bearer t0ken "])
async def test_without_the_right_token_nothing_is_told(given: str | None) -> None:
    answer = await ask("127.0.0.1", token="t0ken", given=given)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer" and "secret" not in answer.text


@pytest.mark.parametrize("given", ["Bearer t0ken", "bearer t0ken"])
async def test_the_right_token_is_enough_under_any_name(given: str) -> None:
    assert (await ask("some.proxy.example", token="t0ken", given=given)).text == "secret"


async def test_a_token_of_any_letters_works() -> None:
    assert (await ask("127.0.0.1", token="tökén", given="Bearer tökén".encode().decode("latin-1"))).text == "secret"


@pytest.mark.parametrize(
    ("header", "host"),
    [("A.b:1", "a.b"), ("a", "a"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("::1", "::1"), (" a ", "a"), ("", "")],
)
def test_the_host_of_a_host_header(header: str, host: str) -> None:
    assert host_of(header) == host
