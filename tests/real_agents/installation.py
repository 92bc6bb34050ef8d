"""Installs real agents from npm into `.agents/` of the project, each in its own folder, and records the versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

AGENTS = Path(__file__).parents[2] / ".agents"
# An old Node silently gets an old Claude Code (the newest wants Node 22 or later), so the agents bring their own.
NODE = "node@24"
_INSTALL_SECONDS = 300


@dataclass(frozen=True)
class Installation:
    """One installed agent. `path` is the PATH to run it with."""

    name: str
    version: str
    node: str
    program: Path
    path: str


def install(name: str, package: str, program: str) -> Installation:
    """Brings the latest `package` from npm. Fails loudly when npm cannot deliver it."""
    npm = shutil.which("npm")
    assert npm, "npm is needed to install real agents: install Node.js, then `make test-agents` again"
    _npm_install(npm, AGENTS / "node", NODE, os.environ["PATH"])
    path = f"{AGENTS / 'node' / 'node_modules' / 'node' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    _npm_install(npm, AGENTS / name, f"{package}@latest", path)
    found = AGENTS / name / "node_modules" / ".bin" / program
    assert found.exists(), f"npm installed {package} without its program {program}"
    manifest = json.loads((AGENTS / name / "node_modules" / package / "package.json").read_text("utf-8"))
    node = subprocess.run(["node", "--version"], env={"PATH": path}, capture_output=True, text=True, check=True)
    installation = Installation(name, manifest["version"], node.stdout.strip(), found, path)
    record = {"agent": name, "package": package, "version": installation.version, "node": installation.node}
    (AGENTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return installation


def _npm_install(npm: str, folder: Path, package: str, path: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = package.rpartition("@")[0]
    # `allowScripts`: newer npm runs the install scripts of named packages only; both packages unpack their binary so.
    manifest = {"name": f"agents-{folder.name}", "private": True, "allowScripts": {name: True}}
    (folder / "package.json").write_text(json.dumps(manifest), "utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", package]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=_INSTALL_SECONDS
    )
    assert done.returncode == 0, f"npm could not install {package}:\n{done.stdout}\n{done.stderr}"
