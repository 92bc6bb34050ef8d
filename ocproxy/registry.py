"""Finds plug-ins: one file with one constant.

A plug-in package (`ocproxy.protocols`, `ocproxy.agents`, `ocproxy.store`, `ocproxy.cli`) holds modules that each define
one constant (`PROTOCOL`, `AGENT`, `BACKEND`, `COMMAND`). Built-in ones are found by walking the package, foreign ones
by entry points of the group with the package's name. Adding a plug-in means adding one file and nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from ocproxy.errors import ConfigError


def names(package: str) -> list[str]:
    """The names of all modules and entry points of `package`, without importing one. Not all need be plug-ins."""
    own = [i.name for i in pkgutil.iter_modules(importlib.import_module(package).__path__) if i.name[0] != "_"]
    return sorted({*own, *(point.name for point in entry_points(group=package))})


def find(package: str, constant: str, name: str) -> Any | None:
    """The plug-in called `name`, importing no other; None when there is no such module or it is no plug-in."""
    own = {info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    if name in own and not name.startswith("_"):
        return getattr(importlib.import_module(f"{package}.{name}"), constant, None)
    for point in entry_points(group=package, name=name):
        return getattr(point.load(), constant, None)
    return None


@cache
def load(package: str, constant: str) -> dict[str, Any]:
    """All plug-ins of `package`, by module (or entry point) name, in alphabetical order, built-in ones first.

    Modules without `constant` are not plug-ins and are passed over. Raises ConfigError when an entry point does not
    hold the constant, or has the name of a built-in one.
    """
    found: dict[str, Any] = {}
    for info in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda info: info.name):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        if hasattr(module, constant):
            found[info.name] = getattr(module, constant)
    for point in sorted(entry_points(group=package), key=lambda point: point.name):
        module = point.load()
        if not hasattr(module, constant):
            raise ConfigError(f"the plug-in {point.value!r} of group {package} has no constant {constant}")
        if point.name in found:
            raise ConfigError(f"two plug-ins of {package} are called {point.name!r}", hint="uninstall one of them")
        found[point.name] = getattr(module, constant)
    return found
