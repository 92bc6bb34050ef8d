"""The agents that are tested, one module each; found by walking the folder."""

from __future__ import annotations

import importlib
import pkgutil

from tests.real_agents.client import Variant


def variants() -> list[Variant]:
    """All ways of running all agents."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [variant for module in modules for variant in module.VARIANTS]
