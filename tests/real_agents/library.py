"""Libraries with which people write agents of their own: a script of `scripts` on each, run like an agent's program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from ocproxy.demo.provider import Served
from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.work import FieldTools, Tools
from tests.support.scripted import dialect_of

_SCRIPTS = Path(__file__).parent / "scripts"


class Library(Client):
    """Options: `way`, the script's way of calling; `flags`, more words of its command line."""

    script: ClassVar[str]

    def command(self, prompt: str, *arguments: str) -> list[str]:
        """More `arguments` are the prompts that follow in the same conversation."""
        script = str(_SCRIPTS / self.script)
        flags = self.options.get("flags", "").split()
        return [str(self.installation.program), script, self.options["way"], *flags, prompt, *arguments]

    def continued(self) -> tuple[str, ...]:
        return ()

    def is_turn(self, served: Served) -> bool:
        """Where the provider keeps the history, it keeps the tools, too."""
        return dialect_of(served) is not None

    def settings(self) -> dict[str, str]:
        base = self.base_url + self.options.get("prefix", "")
        return {"BASE_URL": base, "API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}


OWN_TOOLS = FieldTools(
    read=("read_file", "path"),
    write=("write_file", "path", "content"),
    edit=("edit_file", "path", "old_string", "new_string", "replace_all"),
    bash=("bash", "command"),
)


def ways(
    client: type[Library], agent: str = "generic", tools: Tools = OWN_TOOLS, **common: Any
) -> Callable[..., Variant]:
    """Makes the variants of one library: `way(name, protocol, way, flags)`."""

    def way(name: str, protocol: str, way: str, flags: str = "", **more: Any) -> Variant:
        options = {"way": way, "flags": flags}
        fields: dict[str, Any] = {"tools": tools, "says_workdir": False, "says_reads": False, **common, **more}
        title = f"{client.package.name}, {name}"
        return Variant(title, client, agent=agent, protocol=protocol, options=options, **fields)

    return way
