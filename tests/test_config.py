"""Settings: which source wins, what an error says, and that the example names them all."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import pytest

from ocproxy.config import Config, Price, Rates, load
from ocproxy.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
NOTHING: dict[str, str] = {}


@pytest.fixture(autouse=True)
def no_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name: tmp_path / "user" / name)


def keys(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from keys(value, f"{path}{key}.")
        else:
            yield path + key, value


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "ocproxy.toml"
    file.write_text(text)
    return str(file)


def test_the_example_names_every_key_with_its_default() -> None:
    defaults = dict(keys(msgspec.to_builtins(load(environ=NOTHING))))
    written = dict(keys(tomllib.loads(EXAMPLE.read_text("utf-8"))))
    assert written == defaults


def test_the_example_of_a_price_names_every_key_and_can_be_used(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text("utf-8").partition('# [prices."')[2].splitlines()
    code = [line.removeprefix("# ") for line in lines[1:] if " = " in line]
    config = load(write(tmp_path, "\n".join(['[prices."' + lines[0], *code])), environ=NOTHING)
    price = config.prices["acme/coder-*"]
    assert {line.partition(" = ")[0].partition(".")[0] for line in code} == set(Price.__struct_fields__)
    assert price == Price(
        input=3.0, output=15.0, cache_read=0.3, cache_write=3.75, cache_write_1h=6.0, reasoning=15.0,
        tiers={"flex": Rates(input=1.5, output=7.5)}, above={"200000": Rates(input=6.0, output=22.5)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[prices."m"]\ninput = "3"', "prices.m.input"),
        ('[prices."m"]\ninput = -3', "prices.m"),
        ('[prices."m"]\noutput = inf', "prices.m"),
        ('[prices."m"]\nprice = 3', "'prices.m.price'; known there: input, output, cache_read"),
        ('[prices."m".tiers.flex]\ninputs = 3', "prices.m.tiers"),
        ('[prices."m".above.lots]\ninput = 3', "prices.m.above.lots"),
        ('[prices."m"]', "prices.m"),
    ],
)
def test_a_bad_price_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), environ=NOTHING)
    assert said in str(caught.value)


def test_the_example_can_be_used_as_it_is() -> None:
    assert load(str(EXAMPLE), environ=NOTHING) == load(environ=NOTHING)


def test_the_example_describes_every_key() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    described = set()
    for before, line in zip(lines, lines[1:], strict=False):
        key = line.partition(" = ")[0]
        if " = " in line and not line.startswith("#"):
            assert before.startswith("#") or key in described or key == "url", f"{key} has no description"
            described.add(key)


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\nport = 1\nworkers = 2\nhost = '127.0.0.2'\n[journal]\nmode = 'strict'\n")
    environ = {"OCPROXY_SERVER_WORKERS": "3", "OCPROXY_SERVER_HOST": "127.0.0.3"}
    found = load(file, environ=environ, flags={"server": {"host": "127.0.0.4", "port": None}})
    assert (found.server.port, found.server.workers, found.server.host) == (1, 3, "127.0.0.4")
    assert (found.journal.mode, found.ingest.batch_calls) == ("strict", 50)


def test_the_file_is_found_by_flag_by_variable_and_in_the_users_folder(tmp_path: Path) -> None:
    named, variable = tmp_path / "named.toml", tmp_path / "variable.toml"
    users = tmp_path / "user" / "ocproxy" / "ocproxy.toml"
    users.parent.mkdir(parents=True)
    for port, file in enumerate((named, variable, users), 1):
        file.write_text(f"server.port = {port}\n")
    environ = {"OCPROXY_CONFIG": str(variable)}
    assert load(str(named), environ=environ).server.port == 1
    assert load(environ=environ).server.port == 2
    assert load(environ=NOTHING).server.port == 3


def test_an_upstream_is_replaced_or_added_without_touching_the_others(tmp_path: Path) -> None:
    file = write(tmp_path, "[upstreams.mine]\nurl = 'http://127.0.0.1:8000/base'\n")
    environ = {"OCPROXY_UPSTREAMS_ANTHROPIC_URL": "http://127.0.0.1:1", "OCPROXY_UPSTREAMS_MINE_CA_FILE": "/x.pem"}
    found = load(file, environ=environ, flags={"upstreams": {"openai": {"url": "http://127.0.0.1:2"}}}).upstreams
    assert {name: upstream.url for name, upstream in found.items()} == {
        "anthropic": "http://127.0.0.1:1",
        "openai": "http://127.0.0.1:2",
        "gemini": "https://generativelanguage.googleapis.com",
        "mine": "http://127.0.0.1:8000/base",
    }
    assert found["mine"].ca_file == "/x.pem"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1\n", ["'server.prot'", "ocproxy.toml", "known there: host, port"]),
        ("sever = 1\n", ["unknown key 'sever'", "data_dir, database_url, server"]),
        ("[upstreams.mine]\nurl = 'http://x'\nca = ''\n", ["'upstreams.mine.ca'", "url, ca_file"]),
        ("[server]\nport = '4141'\n", ["'server.port'", "expected `int`, got `str`"]),
        ("[server]\nport = 70000\n", ["'server.port'", "0 to 65535"]),
        ("[server]\nworkers = 0\n", ["'server.workers'", "1 to 64"]),
        ("[journal]\nmode = 'fast'\n", ["'journal.mode'", "it must be normal or strict"]),
        ("[journal]\non_full = ''\n", ["'journal.on_full'", "it must be forward or refuse"]),
        ("[journal]\ncompress = 'maybe'\n", ["'journal.compress'", "it must be true or false"]),
        ("[journal]\nkeep_days = nan\n", ["'journal.keep_days'", "0 for ever"]),
        ("[journal]\nkeep_gb = inf\n", ["'journal.keep_gb'", "0 without bound"]),
        ("[server]\ndrain_seconds = inf\n", ["'server.drain_seconds'", "0 to 86400"]),
        ("[server]\ndrain_seconds = nan\n", ["'server.drain_seconds'", "0 to 86400"]),
        ("[upstreams.mine]\nurl = 'http://x'\nconnect_seconds = nan\n", ["'upstreams.mine.connect_seconds'", "600"]),
        ("[upstreams.mine]\nurl = 'http://x'\nconnect_seconds = 0\n", ["'upstreams.mine.connect_seconds'", "above 0"]),
        ("database_url = 'mysql://x'\n", ["'database_url'", "ocproxy.toml", "sqlite:///"]),
        ("[upstreams.mine]\nurl = 'ftp://x'\n", ["'upstreams.mine.url'", "http://host"]),
        ("[upstreams.mine]\n", ["'upstreams.mine.url'"]),
        ("[upstreams.run]\nurl = 'http://x'\n", ["'upstreams.run'", "not run, api, ui or healthz"]),
        ("[routes]\ndefault = 'x'\n", ["'routes.default'", "anthropic, openai, gemini"]),
        ("[server\n", ["is not valid TOML"]),
    ],
)
def test_a_bad_file_is_an_error_that_names_key_file_and_what_is_right(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, text), environ=NOTHING)
    for words in said:
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("OCPROXY_SERVER_PORT", "many", "server.port"),
        ("OCPROXY_SERVER_PROT", "1", "server.prot"),
        ("OCPROXY_JOURNAL_MODE", "fast", "journal.mode"),
        ("OCPROXY_SERVRE_PORT", "1", "servre"),
        ("OCPROXY_DATABASE_URL", "nope", "database_url"),
        ("OCPROXY_SERVER_DRAIN_SECONDS", "inf", "server.drain_seconds"),
        ("OCPROXY_UPSTREAMS_ANTHROPIC_URL", "http://x:abc", "upstreams.anthropic.url"),
    ],
)
def test_a_bad_variable_is_an_error_that_names_it(name: str, value: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"the environment variable {name}: .*'{key}'"):
        load(environ={name: value})


def test_a_variable_that_is_no_yes_or_no_is_told_what_is() -> None:
    with pytest.raises(ConfigError, match=r"OCPROXY_JOURNAL_COMPRESS: .*'journal.compress': it must be true or false"):
        load(environ={"OCPROXY_JOURNAL_COMPRESS": "maybe"})


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///a b.db",
        "memory:",
        "memory:one",
        "postgres://host/db",
        "postgresql+asyncpg://me:secret@host:5432/db",
        "postgresql://me:secret@[::1]:5432,other/db?sslmode=require&target_session_attrs=primary",
        "postgresql:///db",
    ],
)
def test_each_kind_of_database_has_its_urls(url: str) -> None:
    assert load(environ={"OCPROXY_DATABASE_URL": url}).store_url == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/db",
        "nope",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgresql:me:secret@host/db",
        "postgresql://me:secret@host/db with a space",
        "postgresql+psycopg2://me:secret@host/db",
        "memory:a b",
        "memory://x",
    ],
)
def test_a_database_of_another_kind_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="the command line: .*'database_url': it must be sqlite:///") as error:
        load(environ=NOTHING, flags={"database_url": url})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://x:99999", "http://x:abc", "http://x:0", "http://x:-1", "http://:80", "http://[::1", "http://[x]:80"),
        *("http://[::1]x:80", "http://é", "http://x/é", "http://a..b", f"http://{'a' * 64}", "http://a,b", "http://"),
        *("http://me@x", "http://x?a=b", "http://x y", "x:80", "http://x\x00"),
    ],
)
def test_an_upstream_that_cannot_be_reached_by_its_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"the command line: .*'upstreams.anthropic.url': it must be http://host"):
        load(environ=NOTHING, flags={"upstreams": {"anthropic": {"url": url}}})


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000", "https://[::1]:443/base", "http://[::1]", "http://localhost", "https://x.y./a/b"),
        *("http://xn--9ca:80", "http://under_score-d:65535", "https://api.anthropic.com"),
    ],
)
def test_an_upstream_url_of_any_good_shape_is_taken(url: str) -> None:
    assert load(environ=NOTHING, flags={"upstreams": {"anthropic": {"url": url}}}).upstreams["anthropic"].url == url


def test_values_of_the_environment_are_read_as_what_they_must_be() -> None:
    environ = {"OCPROXY_JOURNAL_COMPRESS": "false", "OCPROXY_SERVER_DRAIN_SECONDS": "1.5", "OCPROXY_SERVER_PORT": "0"}
    found = load(environ=environ)
    assert (found.journal.compress, found.server.drain_seconds, found.server.port) == (False, 1.5, 0)


def test_a_flag_that_is_wrong_is_the_command_lines_fault() -> None:
    with pytest.raises(ConfigError, match="the command line: .*'server.port'"):
        load(environ=NOTHING, flags={"server": {"port": -1}})


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(str(tmp_path / "none.toml"), environ=NOTHING)
    with pytest.raises(ConfigError, match="does not exist"):
        load(environ={"OCPROXY_CONFIG": str(tmp_path / "none.toml")})


def test_places_follow_the_data_folder() -> None:
    found = load(environ={"OCPROXY_DATA_DIR": "/somewhere"})
    assert str(found.journal_path) == "/somewhere/journal"
    assert found.store_url == "sqlite:////somewhere/ocproxy.db"
    assert load(environ={"OCPROXY_DATABASE_URL": "sqlite:///x.db"}).store_url == "sqlite:///x.db"
    assert Config().data_path.name == "ocproxy"
