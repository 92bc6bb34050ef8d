"""The routes of the API and what they answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ocproxy import __version__, query
from ocproxy.api.guard import Guard
from ocproxy.config import Config
from ocproxy.errors import Ambiguous, ConfigError, NotFound, OcproxyError, StoreBusy
from ocproxy.query.blame import Wanted as Blame
from ocproxy.query.blame import blame
from ocproxy.query.history import files_of
from ocproxy.query.moments import begin_of, end_of, zone_of
from ocproxy.query.search import DEFAULT_LIMIT, search
from ocproxy.query.search import Wanted as Search
from ocproxy.store.base import Store
from ocproxy.work import ChangeStatus, TaskState

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
        session, path = request.query_params.get("session"), request.query_params.get("path")
        if path is not None:
            return _json(await files_of(store, path, session))
        return _json(await query.files(store, session))

    async def found(request: Request) -> Response:
        asked = request.query_params
        since = begin_of(asked["since"], UTC) if "since" in asked else None
        scope = (asked.get("session"), asked.get("agent"), since, asked.get("path"))
        return _json(await search(store, Search(asked.get("q", ""), *scope, _limit(request) or DEFAULT_LIMIT)))

    async def blamed(request: Request) -> Response:
        # What the record knows last: whoever may ask here must not read this machine's files.
        path, first = request.query_params.get("path"), _number(request, "line")
        if not path:
            raise ConfigError("no file is named", hint="give it as ?path=…")
        return _json(await blame(store, Blame([path], first, _number(request, "to") or first)))

    async def usage(request: Request) -> Response:
        asked = request.query_params
        by: query.By = _choice(request, "by", query.By) or "day"
        zone = zone_of(asked["timezone"]) if "timezone" in asked else None
        since = begin_of(asked["since"], zone) if "since" in asked else None
        until = end_of(asked["until"], zone) if "until" in asked else None
        return _json(await query.usage(store, by, since=since, until=until, zone=zone))

    async def changes(request: Request) -> Response:
        session, status = request.query_params.get("session"), _choice(request, "status", ChangeStatus)
        return _json(await query.pending_changes(store, session, status=status, limit=_limit(request)))

    async def tasks(request: Request) -> Response:
        return _json(await query.tasks(store, state=_choice(request, "state", TaskState), limit=_limit(request)))

    async def inbox(request: Request) -> Response:
        return _json(await query.inbox(store))

    async def facts(request: Request) -> Response:
        return _json(await status())

    routes = [
        Route("/", _front(public_url)),
        Route("/api/status", facts),
        Route("/api/sessions", sessions),
        Route("/api/sessions/{id}", session),
        Route("/api/files", files),
        Route("/api/search", found),
        Route("/api/blame", blamed),
        Route("/api/usage", usage),
        Route("/api/changes", changes),
        Route("/api/tasks", tasks),
        Route("/api/inbox", inbox),
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
    return _number(request, "limit")


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or not 0 < len(text) < 10 or not int(text):
        raise ConfigError(f"{name} is {text!r}", hint="give a number, 1 or more")
    return int(text)


def _choice(request: Request, name: str, values: Any) -> Any:
    """The parameter `name`, which is one of the Literal `values`, or None."""
    given = request.query_params.get(name)
    if given is not None and given not in get_args(values):
        raise ConfigError(f"{name} is {given!r}", hint=f"give one of {', '.join(get_args(values))}")
    return given


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
