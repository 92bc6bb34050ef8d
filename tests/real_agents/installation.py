"""Installs real agents from npm and PyPI into `.agents/` of the project, each in its own folder; records versions."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Not by the name of a link: programs of PyPI hold the path by which they were installed.
AGENTS = (Path(__file__).parents[2] / ".agents").resolve()
# An old Node silently gets an old Claude Code (the newest wants Node 22 or later), so the agents bring their own.
NODE = "node@24"
_INSTALL_SECONDS = 420


class NotDelivered(Exception):
    """The registry does not give the agent: the package manager's own words."""


@dataclass(frozen=True)
class Package:
    """What to install. `required`: the tests fail, and do not skip, when the registry does not deliver it.

    `more` are packages beside it (an SDK's extras); `scripts` are npm packages whose install scripts may run. `before`
    are older ones (`name@version`) of npm, newest first: one of them is taken when the latest cannot be installed,
    because not all that it needs was published.
    """

    name: str  # of the agent, and of its folder
    registry: Literal["npm", "PyPI"]
    package: str
    program: str  # of npm: in node_modules/.bin; of PyPI: in bin ("python" for libraries)
    required: bool = False
    more: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    python: str = sys.executable


@dataclass(frozen=True)
class Installation:
    """One installed agent. `path` is the PATH to run it with; `runtime` what runs it ("Node v24.1.0")."""

    name: str
    version: str
    runtime: str
    program: Path
    path: str


def install(package: Package) -> Installation:
    """Brings the latest of `package`. Raises NotDelivered when the registry cannot."""
    folder = AGENTS / package.name
    with _alone(package.name):
        installation = _from_npm(package, folder) if package.registry == "npm" else _from_pypi(package, folder)
        record = {
            "agent": package.name,
            "package": package.package,
            "registry": package.registry,
            "version": installation.version,
            "runtime": installation.runtime,
        }
        (AGENTS / f"{package.name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return installation


def _from_npm(package: Package, folder: Path) -> Installation:
    npm = shutil.which("npm")
    if npm is None:
        raise NotDelivered("npm is needed to install it: install Node.js, then `make test-agents` again")
    with _alone("node"):
        _npm_install(npm, AGENTS / "node", NODE, (), os.environ["PATH"])
    path = f"{AGENTS / 'node' / 'node_modules' / 'node' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    wanted = _newest_of(npm, folder, package, path)
    program = folder / "node_modules" / ".bin" / package.program
    if not program.exists():
        raise NotDelivered(f"npm installed {wanted} without its program {package.program}")
    manifest = json.loads((folder / "node_modules" / wanted.rpartition("@")[0] / "package.json").read_text("utf-8"))
    node = subprocess.run(["node", "--version"], env={"PATH": path}, capture_output=True, text=True, check=True)
    return Installation(package.name, manifest["version"], f"Node {node.stdout.strip()}", program, path)


def _newest_of(npm: str, folder: Path, package: Package, path: str) -> str:
    """Installs the newest one that can be, and says which."""
    *newer, last = f"{package.package}@latest", *package.before
    for wanted in newer:
        try:
            _npm_install(npm, folder, wanted, package.scripts, path)
        except NotDelivered:
            continue
        return wanted
    _npm_install(npm, folder, last, package.scripts, path)
    return last


def _npm_install(npm: str, folder: Path, package: str, scripts: tuple[str, ...], path: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = package.rpartition("@")[0]
    # `allowScripts`: newer npm runs the install scripts of named packages only; many agents unpack their binary so.
    allowed = dict.fromkeys((name, *scripts), True)
    manifest = {"name": f"agents-{folder.name}", "private": True, "allowScripts": allowed}
    (folder / "package.json").write_text(json.dumps(manifest), "utf-8")
    _run([npm, "install", "--no-audit", "--no-fund", package], folder, path, f"npm could not install {package}")


def _from_pypi(package: Package, folder: Path) -> Installation:
    python = folder / "bin" / "python"
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    if not python.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run([package.python, "-m", "venv", str(folder)], AGENTS, path, "no virtual environment could be made")
    wanted = [package.package, *package.more]
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", *wanted]
    _run(command, folder, path, f"pip could not install {' '.join(wanted)}")
    program = folder / "bin" / package.program
    if program.exists() and not _can_run(program):  # the folder was moved here from elsewhere
        _run([*command, "--no-deps", "--force-reinstall"], folder, path, f"pip could not mend {package.package}")
    if not program.exists():
        raise NotDelivered(f"pip installed {package.package} without its program {package.program}")
    bare = package.package.partition("[")[0]
    ask = f"import importlib.metadata as m, platform; print(m.version({bare!r})); print(platform.python_version())"
    said = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    return Installation(package.name, said[0], f"Python {said[1]}", program, path)


def _can_run(program: Path) -> bool:
    """Whether the interpreter that a script names is there; a program that is no script names none."""
    with program.open("rb") as file:
        head, _, _ = file.readline().decode("utf-8", "replace").partition("\n")
    return not head.startswith("#!") or Path(head[2:].split()[0]).exists()


def _run(command: list[str], folder: Path, path: str, failure: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotDelivered(f"{failure} in {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise NotDelivered(f"{failure}:\n{done.stdout}\n{done.stderr}")


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Test processes install one after the other."""
    AGENTS.mkdir(exist_ok=True)
    with open(AGENTS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
