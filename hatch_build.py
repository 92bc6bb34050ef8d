"""Compiles relay and journal writer with mypyc where a C compiler is at hand: a third less CPU for a request.

Without a compiler, or with OCPROXY_PURE=1, the same modules are packed as they are: they are plain Python and behave
alike. An editable install is never compiled: what one edits would not be what runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "journal/losses.py",
    "journal/records.py",
    "journal/writer.py",
    "relay/client.py",
    "relay/delivery.py",
    "relay/fields.py",
    "relay/framing.py",
    "relay/head.py",
    "relay/repeats.py",
    "relay/replies.py",
    "relay/routes.py",
    "relay/station.py",
    "relay/tee.py",
    "relay/transfer.py",
    "relay/upstream.py",
)


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to the wheel; their sources stay in it, for tracebacks."""

    folder: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """What compiling needs in the build environment: nothing when nothing is compiled."""
        return ["mypy[mypyc]>=1.13", "msgspec>=0.19"] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile for a real wheel."""
        if self.target_name != "wheel" or version == "editable" or not _wanted():
            return
        self.folder = tempfile.TemporaryDirectory(prefix="ocproxy-build-")
        made = self._compile(Path(self.folder.name))
        if made:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"].update(made)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clean up."""
        if self.folder is not None:
            self.folder.cleanup()

    def _compile(self, folder: Path) -> dict[str, str]:
        """Extension modules by their file; the wheel's path of each. Empty when the compiler fails."""
        shutil.copytree(Path(self.root, "ocproxy"), folder / "ocproxy", ignore=shutil.ignore_patterns("__pycache__"))
        # Other than msgspec, what the package depends on is not in the build environment: to the compiler it is Any.
        options = ["--config-file=", "--ignore-missing-imports", "--explicit-package-bases"]
        command = [sys.executable, "-m", "mypyc", *options, *(f"ocproxy/{name}" for name in COMPILED)]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env=os.environ | {"MYPYC_DEBUG_LEVEL": "0"}
        )
        if done.returncode:
            self.app.display_warning(f"ocproxy is installed uncompiled, mypyc said:\n{done.stdout}{done.stderr}"[:4000])
            return {}
        suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
        built = [path for path in folder.rglob(f"*{suffix}") if folder / "build" not in path.parents]
        return {str(path): path.relative_to(folder).as_posix() for path in built}


def _wanted() -> bool:
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    cpython = sys.implementation.name == "cpython"
    return cpython and not os.environ.get("OCPROXY_PURE") and any(map(shutil.which, (compiler, "cc", "gcc", "clang")))
