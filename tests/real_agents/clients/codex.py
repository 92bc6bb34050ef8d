"""A real Codex CLI (`codex exec`): over WebSocket, over HTTP, with a ChatGPT login, in its three worlds of tools."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Call
from tests.real_agents.client import KEY, Client, Finished, Variant
from tests.real_agents.installation import Package
from tests.support.scripted import request_of

Json = dict[str, Any]

_RESULT = "last-message.txt"


class Codex(Client):
    """Options: `model`; `provider` own (a custom provider: HTTP), builtin (WebSocket first) or chatgpt (a made-up login:
    zstd bodies); `toml`, more lines of its configuration."""

    package = Package("codex", "npm", "@openai/codex", "codex", required=True)

    def command(self, prompt: str, *arguments: str) -> list[str]:
        self.configure()
        flags = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        flags += ["--output-last-message", str(self.home / _RESULT)]
        return [str(self.installation.program), "exec", *arguments, *flags, prompt]

    def continued(self) -> tuple[str, ...]:
        return ("resume", "--last")

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
        turn = self.turn(served)
        is_user = turn.get("thread_source") != "thread_title"
        return super().is_turn(served) and turn.get("request_kind") in ("turn", "prewarm") and is_user

    def said(self, served: Served) -> Json:
        """What a request says of itself: in the client metadata of a WebSocket message, else in the headers."""
        metadata = request_of(served).get("client_metadata") or {} if served.body else {}
        names = {name.replace("-", "_"): value for name, value in {**served.headers, **metadata}.items()}
        return names

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


class CodeTools(FunctionTools):
    """The model writes JavaScript."""

    def bash(self, command: str) -> Call:
        return self.code(f"const r = await tools.exec_command({json.dumps({'cmd': command})});\ntext(r.output);\n")

    def patch(self, text: str) -> Call:
        return self.code(f"text(await tools.apply_patch({json.dumps(text)}));\n")

    def code(self, text: str) -> Call:
        return Call("exec", {"input": text})


VARIANTS: list[Variant] = []
