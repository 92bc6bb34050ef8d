"""The routes of the API and what they answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ocproxy import __version__, query
from ocproxy.api.guard import Guard
from ocproxy.config import Config
from ocproxy.errors import Ambiguous, ConfigError, NotFound, OcproxyError, StoreBusy
from ocproxy.store.base import Store

# Which status an error is answered with; the first that fits counts.
_STATUSES: list[tuple[type[OcproxyError], int]] = [
    (NotFound, 404),
    (Ambiguous, 409),
    (ConfigError, 400),
    (StoreBusy, 503),
    (OcproxyError, 500),
]

Status = Callable[[], Awaitable[dict[str, Any]]]


def build(config: Config, store: Store, public_url: str, status: Status) -> Starlette:
    """The application. `status` gives the facts of `/api/status`."""

    async def sessions(request: Request) -> Response:
        return _json(await query.sessions(store, limit=_limit(request)))

    async def session(request: Request) -> Response:
        return _json(await query.show(store, request.path_params["id"]))

    async def files(request: Request) -> Response:
        return _json(await query.files(store, request.query_params.get("session")))

    async def facts(request: Request) -> Response:
        return _json(await status())

    routes = [
        Route("/", _front(public_url)),
        Route("/api/status", facts),
        Route("/api/sessions", sessions),
        Route("/api/sessions/{id}", session),
        Route("/api/files", files),
    ]
    return _application(config, routes)


def build_closed(config: Config, public_url: str, status: Status, refusal: Callable[[], StoreBusy]) -> Starlette:
    """The application while the database is not open: it tells of itself, and raises `refusal` for all else."""

    async def facts(request: Request) -> Response:
        return _json(await status())

    async def refuse(request: Request) -> Response:
        raise refusal()

    routes = [Route("/", _front(public_url)), Route("/api/status", facts), Route("/{path:path}", refuse)]
    return _application(config, routes)


def _application(config: Config, routes: list[Route]) -> Starlette:
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, frozenset({config.server.host.lower()}), config.server.token)],
        exception_handlers={OcproxyError: _explain},
    )


def _limit(request: Request) -> int | None:
    text = request.query_params.get("limit")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"limit is {text!r}", hint="give a number, 1 or more")
    return int(text)


def _json(value: Any, status: int = 200) -> Response:
    # ASCII: lone surrogates, which the wire can hold, have no UTF-8 form.
    return Response(json.dumps(value), status, media_type="application/json")


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, OcproxyError)
    status = next(code for kind, code in _STATUSES if isinstance(error, kind))
    return _json({"error": {"message": str(error), "hint": error.hint}}, status)


def _front(url: str) -> Callable[[Request], Awaitable[Response]]:
    async def front(request: Request) -> Response:
        return PlainTextResponse(text)

    text = (
        f"ocproxy {__version__}: a flight recorder for coding agents\n\n"
        f"Point an agent here:      ANTHROPIC_BASE_URL={url} claude\n"
        "See what it did:          ocproxy sessions, show ID, files ID, diff ID\n"
        f"As JSON:                  {url}/api/sessions\n"
        f"Is all well:              ocproxy doctor, or {url}/api/status\n"
    )
    return front
