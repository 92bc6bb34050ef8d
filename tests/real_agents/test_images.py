"""Images that an agent looks at, or that its user attaches: a read of the file, and a part of what was said."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients.codex import CodeTools, FunctionTools
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, parts_of
from tests.real_agents.stage import Stage

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
FUNCTIONS, CODE = "Codex, WebSocket, functions", "Codex, WebSocket, code mode"


def picture(side: int = 32) -> bytes:
    """A grey square as PNG (w3.org/TR/png)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + bytes([120]) * side for _ in range(side)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def looking(workdir: Path, variant: Variant) -> list[Script]:
    """Looks at a picture, then at one that is not there, and writes a file."""
    tools = variant.tools

    def look(path: Path) -> Call:
        if isinstance(tools, CodeTools):
            return tools.code(f"image(await tools.view_image({json.dumps({'path': str(path)})}));")
        if isinstance(tools, FunctionTools):
            return Call("view_image", {"path": str(path)})
        return tools.read(path)

    paths = (workdir / "picture.png", workdir / "missing.png")
    steps = (
        *(Step(text="Looking.", calls=(look(path),)) for path in paths),
        Step(text="Writing.", calls=(tools.write(workdir / "seen.txt", "a grey square\n"),)),
        Step(text="It is grey."),
    )
    return [Script("look", steps)]


def planted(stage: Stage[Client]) -> Path:
    """The picture, in the working folder and in what it is compared with."""
    for folder in (stage.workdir, stage.before):
        (folder / "picture.png").write_bytes(picture())
    return stage.workdir / "picture.png"


def images_of(value: Any) -> int:
    """How many images are in parts of messages, as any protocol has them."""
    if isinstance(value, list):
        return sum(map(images_of, value))
    if isinstance(value, dict):
        is_image = value.get("type") in ("image", "input_image", "image_url") or "inlineData" in value
        return 1 if is_image else images_of(list(value.values()))
    return 0


@pytest.mark.parametrize("name", ["Claude Code, newest model", FUNCTIONS, CODE, "opencode, anthropic", "Gemini CLI"])
def test_an_image_that_the_agent_looks_at_is_a_read_of_its_file(opened: Opened, name: str) -> None:
    with opened(name, looking) as stage:
        planted(stage)
        stage.agent.run("[[script:look]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    told = [(event["event_type"], Path(event["file_path"]).name, event["status"]) for event in shown["file_events"]]
    assert told == [
        ("read", "picture.png", "applied"),
        ("read", "missing.png", "failed"),
        ("write", "seen.txt", "applied"),
    ]
    assert_nothing_is_told_twice(shown)
    assert [images_of(message["parts"]) for message in shown["messages"] if images_of(message["parts"])] == [1]


@pytest.mark.parametrize("name", [FUNCTIONS])
def test_an_image_that_the_user_attaches_is_a_part_of_the_prompt(opened: Opened, name: str) -> None:
    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        return [Script("look", (Step(text="Working.", calls=(variant.tools.bash("true"),)), Step(text="It is grey.")))]

    with opened(name, scripts) as stage:
        stage.agent.run("[[script:look]] What is it?", f"--image={planted(stage)}")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
    (image,) = parts_of(shown, "media")
    assert (image["kind"], image["media_type"]) == ("image", "image/png")
    (prompt,) = [message for message in shown["messages"] if image in message["parts"]]
    assert prompt["role"] == "user" and "What is it?" in json.dumps(prompt["parts"])
    assert_nothing_is_told_twice(shown)
