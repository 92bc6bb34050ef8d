"""The house rules, checked on the syntax trees: imports go down only, pure packages stay pure, sizes bind the tail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ocproxy"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# From the top of the house to the ground. A room imports only from floors below its own, or from its own package.
FLOORS: list[set[str]] = [
    {"__main__"},
    {"cli", "capture"},
    {"service", "demo"},
    {"api", "web", "control", "supervisor"},
    {"status", "instance", "process", "incidents", "ageing"},
    {"ingest", "query", "relay"},
    {"store", "sessions", "files", "agents", "protocols", "journal", "pricing"},
    {"model", "exchange", "registry", "config"},
    {"work"},
    {"errors", "digest"},
]
# Side by side on one floor, and still allowed: derivation reads the agents' catalogues, and the service of the store
# tells file events of parts.
NEIGHBOURS = {
    *(("files", "agents"), ("sessions", "agents"), ("store", "files"), ("api", "web"), ("control", "api")),
    *(("status", "incidents"), ("status", "instance")),
}
PURE = {"protocols", "agents", "sessions", "files", "pricing"}
IMPURE_IMPORTS = {"asyncio", "anyio", "sqlalchemy", "os", "time", "random", "logging"}
PLUGINS = {"protocols": "PROTOCOL", "agents": "AGENT"}
MODULE_LINES, TEST_LINES, FUNCTION_LINES, PARAMETERS = 400, 600, 60, 6
BAD_NAMES = {"utils", "util", "helpers", "helper", "manager", "handler", "handlers", "common", "misc"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, at module level) for every import of the file; `from a import b` yields both a and a.b."""
    tree = ast.parse(path.read_text("utf-8"))
    top = {id(node) for node in tree.body}
    guarded = [n for n in tree.body if isinstance(n, ast.If | ast.Try)]
    top |= {id(child) for block in guarded for child in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", id(node) in top
            if (node.module or "").startswith("ocproxy"):
                for alias in node.names:
                    if (PACKAGE.parent / Path(*(node.module or "").split("."), alias.name + ".py")).exists():
                        yield f"{node.module}.{alias.name}", id(node) in top


def floor(name: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if name in rooms:
            return number
    raise AssertionError(f"the room {name!r} stands on no floor: give it one in FLOORS")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    own = room(name_of(path))
    if own == "__init__":
        return
    for module, _ in imports(path):
        if not module.startswith("ocproxy") or room(module) in (own, "__init__"):
            continue
        other = room(module)
        assert floor(other) > floor(own) or (own, other) in NEIGHBOURS, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [p for p in MODULES if room(name_of(p)) in PURE], ids=name_of)
def test_pure_packages_do_no_io(path: Path) -> None:
    for module, _ in imports(path):
        assert module.split(".")[0] not in IMPURE_IMPORTS, f"{name_of(path)} imports {module}"
    tree = ast.parse(path.read_text("utf-8"))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef)], (
        f"{name_of(path)} has async functions"
    )


@pytest.mark.parametrize("path", [p for p in MODULES if room(name_of(p)) in ("relay", "journal")], ids=name_of)
def test_the_wire_side_understands_nothing(path: Path) -> None:
    for module, _ in imports(path):
        assert module != "json" and not module.startswith("msgspec.json"), f"{name_of(path)} imports {module}"
        assert room(module) not in ("protocols", "agents", "store", "sessions", "files") or not module.startswith(
            "ocproxy"
        )


def test_sqlalchemy_stays_inside_the_store() -> None:
    for path in MODULES:
        if room(name_of(path)) != "store":
            assert not [m for m, _ in imports(path) if m.split(".")[0] == "sqlalchemy"], name_of(path)


@pytest.mark.parametrize(("package", "constant"), PLUGINS.items())
def test_plugins_do_not_know_their_siblings(package: str, constant: str) -> None:
    def defines(path: Path) -> bool:
        body = ast.parse(path.read_text("utf-8")).body
        names = [t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
        names += [n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        return constant in names

    plugins = {f"ocproxy.{package}.{p.stem}" for p in (PACKAGE / package).glob("*.py") if defines(p)}
    assert plugins, f"no plug-in in {package}"
    for path in (PACKAGE / package).glob("*.py"):
        siblings = {m for m, _ in imports(path)} & plugins - {name_of(path), f"ocproxy.{package}.generic"}
        assert not siblings, f"{name_of(path)} imports {siblings}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_hides_in_a_function(path: Path) -> None:
    hidden = [module for module, top in imports(path) if module.startswith("ocproxy") and not top]
    assert not hidden, f"{name_of(path)} imports inside a function: {hidden}"


@pytest.mark.parametrize("path", MODULES + TESTS, ids=name_of)
def test_sizes_bind_the_tail(path: Path) -> None:
    text = path.read_text("utf-8")
    limit = TEST_LINES if path in TESTS else MODULE_LINES
    assert len(text.splitlines()) <= limit, f"{path} has more than {limit} lines: it is two ideas"
    if path in TESTS:
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
        lines = (node.end_lineno or 0) - first.lineno + 1
        assert lines <= FUNCTION_LINES, f"{path}:{node.lineno} {node.name} has {lines} lines"
        given = [
            a for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs if a.arg not in ("self", "cls")
        ]
        decorated = any("command" in ast.unparse(d) or "callback" in ast.unparse(d) for d in node.decorator_list)
        assert len(given) <= PARAMETERS or decorated, f"{path}:{node.lineno} {node.name} has {len(given)} parameters"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_nouns(path: Path) -> None:
    assert path.stem not in BAD_NAMES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path} has no docstring"
