"""Settings: defaults < TOML file < `OCPROXY_*` environment < command-line flags.

Every setting is a field of a struct below; `config.example.toml` names each with its default and a test checks that.
The environment variable of a setting is its path in capitals: `OCPROXY_SERVER_PORT`, `OCPROXY_JOURNAL_MODE`,
`OCPROXY_UPSTREAMS_ANTHROPIC_URL`; the two at the top are `OCPROXY_DATA_DIR` and `OCPROXY_DATABASE_URL`.

tomllib and platformdirs are imported where they are used: a relay worker gets its settings as structs, and would hold
them in memory for nothing.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from ocproxy.errors import ConfigError


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections: unknown keys are errors."""


class Server(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 4141
    workers: int = 1
    token: str = ""  # asked of API and UI; a bind other than loopback needs one
    drain_seconds: float = 30.0  # how long streams may finish after SIGTERM


class Upstream(_Section, frozen=True):
    url: str = ""
    ca_file: str = ""  # PEM bundle; empty: the system's
    connect_seconds: float = 10.0


class Routes(_Section, frozen=True):
    default: str = "anthropic"  # upstream of paths that nothing else claims


class Journal(_Section, frozen=True):
    mode: Literal["normal", "strict"] = "normal"
    on_full: Literal["forward", "refuse"] = "forward"
    segment_mb: int = 64
    compress: bool = True
    keep_days: float = 0.0  # 0: for ever
    keep_gb: float = 0.0  # 0: without bound


class Ingest(_Section, frozen=True):
    batch_calls: int = 50
    poll_ms: int = 100


class Retention(_Section, frozen=True):
    older_than: str = ""  # as in "90d"; empty: for ever
    keep_usage: bool = True  # calls with tokens and cost outlive what was said


class Rates(_Section, frozen=True):
    """US dollars per million tokens; None: not said."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None  # not said: as input
    cache_write: float | None = None  # not said: as input
    cache_write_1h: float | None = None  # not said: as cache_write
    reasoning: float | None = None  # not said: as output


class Price(Rates, frozen=True):
    """The user's own price of a model."""

    tiers: dict[str, Rates] = {}  # by service tier
    above: dict[str, Rates] = {}  # by a number of tokens: for calls with a longer prompt


class Config(_Section, frozen=True):
    data_dir: str = ""  # empty: the user's data folder
    database_url: str = ""  # empty: sqlite file in data_dir
    server: Server = Server()
    upstreams: dict[str, Upstream] = {}
    routes: Routes = Routes()
    journal: Journal = Journal()
    ingest: Ingest = Ingest()
    retention: Retention = Retention()
    prices: dict[str, Price] = {}  # by model name or glob

    @property
    def data_path(self) -> Path:
        from platformdirs import user_data_path

        return Path(self.data_dir).expanduser() if self.data_dir else user_data_path("ocproxy")

    @property
    def journal_path(self) -> Path:
        return self.data_path / "journal"

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_path / 'ocproxy.db'}"


BUILTIN_UPSTREAMS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
    "gemini": "https://generativelanguage.googleapis.com",
}

_AGES = "a number of hours, days or weeks as 12h, 90d or 26w; empty for ever"
_DATABASES = "sqlite:///path/to/file.db, postgresql://user:password@host/database or memory:"

# Read by other parts of the program, not settings.
_NOT_SETTINGS = {"OCPROXY_CONFIG", "OCPROXY_TEST_DATABASE_URL"}


def load(
    config_file: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """The settings in force. `flags` is nested like the file ({"server": {"port": 4142}}); None is "not given".

    Raises ConfigError naming the key, where it was set and what would be right.
    """
    from platformdirs import user_config_path

    path = Path(config_file or environ.get("OCPROXY_CONFIG") or user_config_path("ocproxy") / "ocproxy.toml")
    data: dict[str, Any] = {"upstreams": {name: {"url": url} for name, url in BUILTIN_UPSTREAMS.items()}}
    layers = [(str(path), _read_file(path, required=bool(config_file or environ.get("OCPROXY_CONFIG"))))]
    layers += [(name, layer) for name, layer in _read_environ(environ)]
    layers.append(("the command line", _without_none(flags or {})))
    config = Config()
    for source, layer in layers:
        data = _merge(data, layer)
        config = _convert(data, source, strict=source == str(path))
        _check(config, source)
    return config


def age(text: str) -> timedelta | None:
    """How long "12h", "90d" or "26w" is; None: `text` is no such age."""
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    return timedelta(**{{"h": "hours", "d": "days", "w": "weeks"}[found[2]]: int(found[1])}) if found else None


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigError(f"the configuration file {path} does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _read_environ(environ: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """One layer for each OCPROXY_* variable, so that an error can name it."""
    layers: list[tuple[str, dict[str, Any]]] = []
    for name in sorted(environ):
        if not name.startswith("OCPROXY_") or name in _NOT_SETTINGS or not environ[name]:
            continue
        key = name.removeprefix("OCPROXY_").lower()
        layers.append((f"the environment variable {name}", _nest(key, environ[name])))
    return layers


def _nest(key: str, value: str) -> dict[str, Any]:
    if key in Config.__struct_fields__:
        return {key: value}
    section, _, rest = key.partition("_")
    if section != "upstreams":
        return {section: {rest: value}}
    for field in Upstream.__struct_fields__:
        if rest.endswith("_" + field):
            return {section: {rest.removesuffix("_" + field): {field: value}}}
    return {section: {rest: value}}


def _without_none(layer: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = {k: _without_none(v) if isinstance(v, Mapping) else v for k, v in layer.items()}
    return {k: v for k, v in cleaned.items() if v is not None and v != {}}


def _merge(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _convert(data: dict[str, Any], source: str, *, strict: bool) -> Config:
    place = ""
    try:
        if isinstance(data["upstreams"], Mapping):  # one by one: an error in a dict of structs does not name its key
            for name, upstream in data["upstreams"].items():
                place = f"upstreams.{name}"
                msgspec.convert(upstream, Upstream, strict=strict)
        if isinstance(data.get("prices"), Mapping):
            for name, price in data["prices"].items():
                place = f"prices.{name}"
                msgspec.convert(price, Price, strict=strict)
        place = ""
        return msgspec.convert(data, Config, strict=strict)
    except msgspec.ValidationError as error:
        raise _explain(error, source, place) from None


def _explain(error: msgspec.ValidationError, source: str, above: str) -> ConfigError:
    message, _, place = str(error).partition(" - at `")
    place = ".".join(filter(None, [above, place.rstrip("`").removeprefix("$").lstrip(".")]))
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        key = ".".join(filter(None, [place, unknown[1]]))
        return ConfigError(f"{source}: unknown key {key!r}; known there: {_known(place)}")
    said = f"it must be {right}" if (right := _choices(place)) else message[:1].lower() + message[1:]
    return ConfigError(f"{source}: bad value for {place or 'the whole'!r}: {said}")


def _section(place: str) -> type[_Section]:
    sections: dict[str, type[_Section]] = {
        "": Config, "server": Server, "routes": Routes, "journal": Journal, "ingest": Ingest,
        "retention": Retention,
    }  # fmt: skip
    if place.startswith("prices."):
        return Rates if "[...]" in place else Price
    return sections.get(place, Upstream)


def _known(place: str) -> str:
    return ", ".join(_section(place).__struct_fields__)


def _choices(place: str) -> str:
    """The values that a setting may have, where they are few; else empty."""
    above, _, name = place.rpartition(".")
    kinds = {field.name: field.type for field in msgspec.structs.fields(_section(above))}
    kind = kinds.get(name)
    if kind is bool:
        return "true or false"
    return " or ".join(get_args(kind)) if get_origin(kind) is Literal else ""


def _check(config: Config, source: str) -> None:
    """What the types cannot say."""
    rules: list[tuple[bool, str, str]] = [
        (0 <= config.server.port <= 65535, "server.port", "a number from 0 to 65535"),
        (1 <= config.server.workers <= 64, "server.workers", "a number from 1 to 64"),
        (_is_database(config.database_url), "database_url", _DATABASES),
        (0 <= config.server.drain_seconds <= 86_400, "server.drain_seconds", "seconds from 0 to 86400"),
        (1 <= config.journal.segment_mb <= 1024, "journal.segment_mb", "megabytes from 1 to 1024"),
        # Upper bounds keep out inf and nan, which mean nothing; 0 says "without bound".
        (0 <= config.journal.keep_days <= 36_500, "journal.keep_days", "days up to 36500, 0 for ever"),
        (0 <= config.journal.keep_gb <= 1_000_000, "journal.keep_gb", "gigabytes up to 1000000, 0 without bound"),
        (1 <= config.ingest.batch_calls <= 10_000, "ingest.batch_calls", "a number from 1 to 10000"),
        (1 <= config.ingest.poll_ms <= 60_000, "ingest.poll_ms", "milliseconds from 1 to 60000"),
        (
            not config.retention.older_than or age(config.retention.older_than) is not None,
            "retention.older_than",
            _AGES,
        ),
        (config.routes.default in config.upstreams, "routes.default", f"one of {', '.join(config.upstreams)}"),
    ]
    for name, upstream in config.upstreams.items():
        key = f"upstreams.{name}"
        rules.append((_is_upstream(upstream.url), f"{key}.url", "http://host[:port][/path] or https://…, in ASCII"))
        rules.append((0 < upstream.connect_seconds <= 600, f"{key}.connect_seconds", "seconds above 0, up to 600"))
        reserved = name in {"run", "api", "ui", "healthz"} or re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) is None
        rules.append((not reserved, key, "lower-case letters, digits, - and _, and not run, api, ui or healthz"))
    for name, price in config.prices.items():
        rules += _price_rules(f"prices.{name}", price)
    for good, key, right in rules:
        if not good:
            raise ConfigError(f"{source}: bad value for {key!r}: it must be {right}")


def _price_rules(key: str, price: Price) -> list[tuple[bool, str, str]]:
    parts = {key: price, **{f"{key}.tiers.{tier}": rates for tier, rates in price.tiers.items()}}
    parts |= {f"{key}.above.{tokens}": rates for tokens, rates in price.above.items()}
    said = {place: [getattr(rates, name) for name in Rates.__struct_fields__] for place, rates in parts.items()}
    rules = [
        (all(rate is None or 0 <= rate <= 1_000_000 for rate in rates), place, "dollars per million tokens, 0 or more")
        for place, rates in said.items()
    ]
    rules += [(t.isdecimal(), f"{key}.above.{t}", "named by a number of tokens, as above.200000") for t in price.above]
    return [*rules, (price.input is not None and price.output is not None, key, "given with input and output")]


def _is_age(text: str) -> bool:
    return not text or age(text) is not None


def _is_database(url: str) -> bool:
    """Whether it is empty (the default) or has the form of a database's URL; whether there is one, the store finds."""
    forms = [
        r"sqlite:///(?!:memory:)[^?#\x00]+(\?\S*)?",
        r"memory:[\w.-]*",
        r"postgres(ql)?(\+asyncpg)?://[^/?#\s]*(/[^/?#\s]*)?(\?[^#\s]*)?",
    ]
    return not url or any(re.fullmatch(form, url) for form in forms)


def _is_upstream(url: str) -> bool:
    """Whether a connection can be made to it: an ASCII host (RFC 3986, 3.2.2; others as xn--…), port 1-65535."""
    if re.fullmatch(r"https?://[^/?#\s@]+(/[^?#\s]*)?", url) is None or not (url.isascii() and url.isprintable()):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.netloc.startswith("["):
            ipaddress.IPv6Address(host)
            return re.fullmatch(r"\[[^\]]+\](:\d*)?", parts.netloc) is not None and port != 0
        host.removesuffix(".").encode("idna")  # as the resolver does: no label may be empty or above 63 letters
    except ValueError:  # UnicodeError is one
        return False
    return re.fullmatch(r"[A-Za-z0-9._-]+", host) is not None and port != 0
