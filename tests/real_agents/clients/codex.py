"""A real Codex CLI (`codex exec`): over WebSocket, over HTTP, with a ChatGPT login, in its three worlds of tools."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from ocproxy.demo.provider import Provider, Served
from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import KEY, Client, Finished, Variant
from tests.real_agents.installation import Package
from tests.real_agents.work import COMMANDS, Tools
from tests.support.scripted import Scripted, dialect_of, request_of

Json = dict[str, Any]
Manners = Callable[..., Provider]

_RESULT = "last-message.txt"


class Codex(Client):
    """Options: `model`; `provider`: own (a custom provider: HTTP), builtin (WebSocket first) or chatgpt (a made-up
    login: zstd bodies); `sandbox`, the mode of its sandbox, which nobody is asked to leave (none: all is allowed);
    `toml`, more lines of its configuration."""

    package = Package("codex", "npm", "@openai/codex", "codex", required=True)

    def command(self, prompt: str, *arguments: str) -> list[str]:
        self.configure()
        flags = ["--skip-git-repo-check"]
        flags += [] if self.options.get("sandbox") else ["--dangerously-bypass-approvals-and-sandbox"]
        flags += ["--output-last-message", str(self.home / _RESULT)]
        return [str(self.installation.program), "exec", *arguments, *flags, prompt]

    def continued(self) -> tuple[str, ...]:
        return ("resume", "--last")

    def forked(self, session: str) -> tuple[str, ...]:
        """The arguments with which the next run goes on with a copy of that session."""
        return ("fork", session)

    def read_result(self, output: str) -> Finished:
        threads = [json.loads(path.read_text("utf-8").splitlines()[0]) for path in self._rollouts()]
        session = threads[-1]["payload"]["id"] if threads else ""
        return Finished(session, (self.home / _RESULT).read_text("utf-8"))

    def _rollouts(self) -> list[Path]:
        found = (self.home / ".codex" / "sessions").rglob("rollout-*.jsonl")
        return sorted(found, key=lambda path: path.name)

    def whose(self, served: Served) -> tuple[str | None, str | None]:
        said = self.said(served)
        session, thread = said.get("session_id"), said.get("thread_id")
        return session, None if thread == session else thread

    def is_turn(self, served: Served) -> bool:
        if dialect_of(served) is None:
            return False
        turn = self.turn(served)
        return turn.get("request_kind") in ("turn", "prewarm") and turn.get("thread_source") != "thread_title"

    def said(self, served: Served) -> Json:
        """What a request says of itself: in the client metadata of a WebSocket message, else in the headers."""
        metadata = request_of(served).get("client_metadata") or {}
        return {name.replace("-", "_"): value for name, value in {**served.headers, **metadata}.items()}

    def turn(self, served: Served) -> Json:
        said: Json = json.loads(self.said(served).get("x_codex_turn_metadata") or "{}")
        return said

    def settings(self) -> dict[str, str]:
        own = {"CODEX_HOME": str(self.home / ".codex"), "OWN_KEY": KEY}
        return own if self.options.get("provider") == "chatgpt" else {**own, "CODEX_API_KEY": KEY}

    def configure(self) -> None:
        folder = self.home / ".codex"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f'model = "{self.options.get("model", "gpt-5.5")}"', "check_for_update_on_startup = false"]
        if sandbox := self.options.get("sandbox"):
            lines += ['approval_policy = "never"', f'sandbox_mode = "{sandbox}"']
        kind = self.options.get("provider", "own")
        if kind == "own":
            lines += ['model_provider = "own"', self.options.get("toml", ""), "[model_providers.own]", 'name = "own"']
            lines += [f'base_url = "{self.base_url}/v1"', 'env_key = "OWN_KEY"', 'wire_api = "responses"']
            lines += ["request_max_retries = 4", "stream_max_retries = 5"]
        else:
            lines.append(f'openai_base_url = "{self.base_url}/v1"')
            if kind == "chatgpt":
                lines.append(f'chatgpt_base_url = "{self.base_url}/backend-api/"')
                (folder / "auth.json").write_text(json.dumps(_login()), "utf-8")
            lines.append(self.options.get("toml", ""))
        (folder / "config.toml").write_text("\n".join(lines) + "\n", "utf-8")


def _login() -> Json:
    """A login that nobody issued."""

    def packed(data: Json) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    account = {"chatgpt_account_id": "account", "chatgpt_plan_type": "pro", "chatgpt_user_id": "u", "user_id": "u"}
    claims = {"email": "nobody@example.invalid", "exp": 4102444800, "https://api.openai.com/auth": account}
    token = f"{packed({'alg': 'none', 'typ': 'JWT'})}.{packed(claims)}.signature"
    tokens = {"id_token": token, "access_token": token, "refresh_token": KEY, "account_id": "account"}
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "last_refresh": "2099-01-01T00:00:00Z",
        "tokens": tokens,
    }


def patch(*lines: str) -> str:
    """A patch of these lines between its first and last."""
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch", ""])


def added(path: Path, content: str) -> list[str]:
    return [f"*** Add File: {path}", *(f"+{line}" for line in content.removesuffix("\n").split("\n"))]


def updated(path: Path, old: str, new: str) -> list[str]:
    """One hunk that puts whole lines in the place of whole lines."""
    hunk = [f"-{line}" for line in old.split("\n")] + [f"+{line}" for line in new.split("\n")]
    return [f"*** Update File: {path}", "@@", *hunk]


class FunctionTools:
    """Functions for the shell, a freeform tool for patches."""

    def read(self, path: Path) -> Call:
        return self.bash(f"cat '{path}'")

    def write(self, path: Path, content: str) -> Call:
        return self.patch(patch(*added(path, content)))

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        return self.patch(patch(*updated(path, old, new)))

    def bash(self, command: str) -> Call:
        return Call("exec_command", {"cmd": command})

    def delegate(self, prompt: str) -> Call:
        return Call("spawn_agent", {"message": prompt, "task_name": "subtask"})

    def patch(self, text: str) -> Call:
        return Call("apply_patch", {"input": text})

    def command_of(self, call: Call) -> str | None:
        command: str | None = call.input.get("cmd")
        return command


class ShellTools(FunctionTools):
    """A model that Codex does not know has a shell only; Codex itself runs the `apply_patch` that it finds there."""

    def patch(self, text: str) -> Call:
        return self.bash(f"apply_patch <<'EOF'\n{text}EOF")

    def command_of(self, call: Call) -> str | None:
        command = super().command_of(call)
        return None if command is None or command.startswith("apply_patch") else command


class CodeTools(FunctionTools):
    """The model writes JavaScript."""

    def bash(self, command: str) -> Call:
        return self.code(f"const r = await tools.exec_command({json.dumps({'cmd': command})});\ntext(r);\n")

    def patch(self, text: str) -> Call:
        return self.code(f"text(await tools.apply_patch({json.dumps(text)}));\n")

    def code(self, text: str) -> Call:
        return Call("exec", {"input": text})

    def command_of(self, call: Call) -> str | None:
        """Of a program of one command."""
        found = re.search(r"exec_command\((\{.*\})\)", call.input["input"])
        return json.loads(found[1])["cmd"] if found else None


def work(name: str, folder: Path, tools: FunctionTools, unended: bool = True) -> Script:
    """As `everything`, in patches: they write whole lines, and every file that they write ends in a newline."""
    app, spaced, ended = folder / "src" / "app.py", folder / "docs" / "with space.txt", folder / "no_newline.txt"
    read, write, edit, bash = tools.read, tools.write, tools.edit, tools.bash
    commands = [bash(command) for command, _ in COMMANDS]
    several = patch(
        *added(folder / "new" / "deep.txt", "one\n\n"),
        *updated(app, "    return 1", "    return 11"),
        "@@ def three():",
        "-    return 2",
        "+    return 22",
        f"*** Update File: {folder / 'README.md'}",
        f"*** Move to: {folder / 'docs' / 'README.md'}",
        "@@",
        " # A small project",
        " ",
        "-With two lines.",
        "+With three",
        "+lines.",
        f"*** Delete File: {folder / '.gitignore'}",
    )
    steps = [
        ("I read the input — then I write. Zażółć.", "Reading.", (read(folder / "input.txt"), commands[0])),
        ("", "A new file.", (write(folder / "notes.md", "# Notes\n\nfirst — ünïcødé 🚀\nsecond\n"),)),
        ("Now edit.", "Editing.", (edit(folder / "input.txt", "beta", "BETA\nand one more"),)),
        ("", "This must fail.", (edit(folder / "input.txt", "no such text", "x"),)),
        ("", "A command.", (commands[1],)),
        ("", "A failing one.", (commands[2],)),
        ("", "Many reads.", (*map(read, (app, spaced, ended, folder / "README.md", folder / ".gitignore")),)),
        ("", "Several files in one patch.", (tools.patch(several), commands[3])),
        ("", "Other files.", (
            edit(spaced, "\tgęślą", "\tgęślą\n\tand more"),
            *([edit(ended, "last without a newline", "the end, now with one")] if unended else []),
        )),
        ("", "Editing what I wrote.", (edit(folder / "notes.md", "second", "2nd"),)),
        ("", "Overwriting.", (write(folder / "input.txt", "written again\n"),)),
        ("", "A read that must fail.", (read(folder / "missing.txt"), commands[4])),
        ("All done.", "All done. Ünïcødé 🚀.", ()),
    ]  # fmt: skip
    return Script(name, tuple(Step(text=text, thinking=thinking, calls=calls) for thinking, text, calls in steps))


def _variant(name: str, tools: FunctionTools, options: dict[str, str], manners: Manners = Scripted) -> Variant:
    script = cast("Callable[[str, Path, Tools], Script]", work)
    return Variant(f"Codex, {name}", Codex, tools, "codex", "openai-responses", options, (), manners, script=script)


CODE = "gpt-6.1-sol"
VARIANTS = [
    _variant("HTTP, functions", FunctionTools(), {"provider": "own"}),
    _variant("HTTP, a shell only", ShellTools(), {"provider": "own", "model": "a-model-that-nobody-knows"}),
    _variant("WebSocket, functions", FunctionTools(), {"provider": "builtin"}),
    _variant("WebSocket, code mode", CodeTools(), {"provider": "builtin", "model": CODE}),
    _variant(
        "compressed WebSocket, code mode",
        CodeTools(),
        {"provider": "builtin", "model": CODE},
        partial(Scripted, websocket="deflate"),
    ),
    _variant(
        "ChatGPT login, HTTP with zstd, functions",
        FunctionTools(),
        {"provider": "chatgpt"},
        partial(Scripted, websocket=426),
    ),
]
