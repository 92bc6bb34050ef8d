"""Who may ask: only requests that mean this server by a name of ours, and that bring the token when one is set.

Without the check of `Host`, any page in the user's browser could read the recordings: it lets its own name point to
127.0.0.1 (DNS rebinding) and is then same-origin with us. There are no CORS headers for the same reason.
"""

from __future__ import annotations

import hmac
import ipaddress

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Guard:
    """ASGI middleware. `names` are further host names that are ours; `token` empty asks for none."""

    def __init__(self, app: ASGIApp, names: frozenset[str], token: str) -> None:
        self._app = app
        self._names = names
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(Headers(scope=scope)) or self._app
        await answer(scope, receive, send)

    def _refusal(self, headers: Headers) -> Response | None:
        if self._token:  # a page that rebinds a name does not know it, so the name need not be ours
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() == "bearer" and hmac.compare_digest(given.encode("latin-1"), self._token.encode()):
                return None
            return _error(401, "the token is missing or wrong", "send Authorization: Bearer TOKEN (server.token)")
        host = host_of(headers.get("host", ""))
        if host in self._names or _is_loopback(host):
            return None
        return _error(403, f"this server is not called {host!r}", "use http://127.0.0.1 and its port")


def host_of(header: str) -> str:
    """The host of a Host header, without port and brackets, in lower case."""
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error(status: int, message: str, hint: str) -> Response:
    challenge = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": {"message": message, "hint": hint}}, status, challenge)
