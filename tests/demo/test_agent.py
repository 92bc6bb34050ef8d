"""The demonstration's agent, its tools and its story, straight against the provider."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocproxy.demo.agent import run_agent
from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Call, Script, Step
from ocproxy.demo.story import FILES, PROMPT, prepare, tell_story
from ocproxy.demo.tools import ToolError, use_tool


def play(script: Script, workdir: Path) -> tuple[list[dict[str, Any]], list[str], Provider]:
    """(conversation, what the agent told, the provider) of one run."""
    told: list[str] = []

    async def both() -> tuple[list[dict[str, Any]], Provider]:
        async with Provider([script]).serve() as provider:
            return await run_agent(provider.url, workdir, PROMPT, told.append), provider

    messages, provider = asyncio.run(both())
    return messages, told, provider


def results_of(messages: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    return [(block["content"], block["is_error"]) for block in blocks if block["type"] == "tool_result"]


def test_the_story_repairs_the_project(tmp_path: Path) -> None:
    prepare(tmp_path)
    messages, told, provider = play(tell_story(tmp_path), tmp_path)
    assert "+ 32" in (tmp_path / "temperature.py").read_text("utf-8")
    assert (tmp_path / "CHANGES.md").exists()
    assert (tmp_path / "check.py").read_text("utf-8") == FILES["check.py"]
    results = results_of(messages)
    assert [failed for _, failed in results] == [False, True, True, False, False, False]
    assert results[1][0].startswith("Exit code 1\n")
    assert results[-1][0] == "Exit code 0\nall temperatures are right"
    assert len(told) == len(results)
    assert all(served.complete for served in provider.log)


def test_the_agent_sends_back_what_the_model_said_unchanged(tmp_path: Path) -> None:
    prepare(tmp_path)
    messages, _, provider = play(tell_story(tmp_path), tmp_path)
    said = [served.reply["content"] for served in provider.log if served.reply]
    assert [message["content"] for message in messages if message["role"] == "assistant"] == said


def test_the_agent_says_nothing_of_itself(tmp_path: Path) -> None:
    _, _, provider = play(Script("hello", (Step(text="Hello."),)), tmp_path)
    assert not [name for name in provider.log[0].headers if "session" in name or name.startswith("x-ocproxy")]


def test_the_agent_sends_the_headers_that_it_is_given(tmp_path: Path) -> None:
    async def both() -> Provider:
        async with Provider([Script("hello", (Step(text="Hello."),))]).serve() as provider:
            await run_agent(provider.url, tmp_path, "go", lambda line: None, {"x-ocproxy-title": "A title"})
            return provider

    assert asyncio.run(both()).log[0].headers["x-ocproxy-title"] == "A title"


def test_a_stream_that_stops_short_is_an_error(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        event = b'data: {"type": "message_start", "message": {"content": []}}\n\n'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(event), event))
        writer.close()

    async def both() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await run_agent(f"http://127.0.0.1:{port}", tmp_path, "go", lambda line: None)

    with pytest.raises(httpx.RemoteProtocolError, match="message_stop"):
        asyncio.run(both())


def test_a_script_without_an_end_is_given_up(tmp_path: Path) -> None:
    endless = Script("endless", tuple(Step(calls=(Call("Bash", {"command": ":"}),)) for _ in range(60)))
    with pytest.raises(RuntimeError, match="without an end"):
        play(endless, tmp_path)


def use(name: str, workdir: Path, **arguments: str) -> str:
    return asyncio.run(use_tool(name, arguments, workdir))


def test_read_numbers_the_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n", "utf-8")
    assert use("Read", tmp_path, file_path=str(tmp_path / "a.txt")) == "1\tone\n2\ttwo\n3\t"


def test_an_edit_needs_exactly_one_match(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x x", "utf-8")
    with pytest.raises(ToolError, match="Found 2 matches"):
        use("Edit", tmp_path, file_path=str(path), old_string="x", new_string="y")
    with pytest.raises(ToolError, match="not found"):
        use("Edit", tmp_path, file_path=str(path), old_string="z", new_string="y")
    assert path.read_text("utf-8") == "x x"


def test_no_tool_leaves_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="outside"):
        use("Write", tmp_path, file_path=str(tmp_path / ".." / "escaped.txt"), content="x")
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No such file"):
        use("Read", tmp_path, file_path="missing.txt")


def test_a_failing_command_gives_exit_code_and_output(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"(?s)\AExit code 3\nout\nerr\Z"):
        use("Bash", tmp_path, command="echo out; echo err >&2; exit 3")
