"""The oracle: applied events, replayed with `git apply` on the starting tree, give the agent's final tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.files.claude_session import ClaudeSession, check_oracle, plant, tree

_LINE = st.sampled_from(
    [
        "a",
        "b",
        "",
        " ",
        "\tx",
        "zażółć",
        "\u2028",
        "f\x0cf",
        "cr\rcr",
        "a b",
        "---",
        "+++ b/x",
        "@@ -1 +1 @@",
        "\\",
        "a ",
    ]
)
_NAMES = st.sampled_from(["one.txt", "two words.md", "dir/ünï.txt", 'quo"te.txt', "deep/er/x.py"])


@st.composite
def _contents(draw: st.DrawFn) -> str:
    end = draw(st.sampled_from(["\n", "\n", ""]))
    return "\n".join(draw(st.lists(_LINE, max_size=14))) + end


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What to do, and with which part of which file: numbers are taken modulo what is there when it is done."""
    kinds = ["read", "page", "write", "edit", "edit", "edit", "all", "multi", "missing", "create", "parallel", "again"]
    step = st.tuples(st.sampled_from(kinds), st.tuples(_NAMES, st.integers(0, 200), st.integers(0, 60), _contents()))
    return draw(st.lists(step, min_size=1, max_size=12))


def _old(text: str, at: int, size: int) -> str:
    text = text.replace("\r\n", "\n")
    start = at % max(1, len(text))
    return text[start : start + 1 + size % 12]


def _do(session: ClaudeSession, kind: str, name: str, at: int, size: int, content: str) -> None:
    path = session.folder / name
    text = path.read_bytes().decode() if path.exists() else ""
    full = str(path)
    if kind == "read":
        session.use("Read", file_path=full)
    elif kind == "page":
        session.use("Read", file_path=full, offset=1 + at % 15, limit=1 + size % 5)
    elif kind == "write":
        session.use("Read", file_path=full)
        is_dos = size % 4 == 0
        session.use("Write", file_path=full, content=content.replace("\n", "\r\n") if is_dos else content)
    elif kind == "missing":
        session.use("Edit", file_path=full, old_string="not in any file", new_string="x")
    elif kind == "create":
        if not path.parent.exists():
            return
        session.use("Read", file_path=full)
        session.use("Edit", file_path=full, old_string="", new_string=content)
    elif not path.exists():
        session.use("Read", file_path=full)
    else:
        session.use("Read", file_path=full)
        old = _old(text, at, size)
        if kind == "parallel":
            first = {"file_path": full, "old_string": old, "new_string": content}
            second = {**first, "old_string": _old(text, at + 9, size)}
            session.use_many(("Edit", first), ("Edit", second), ("Read", {"file_path": full}))
        elif kind == "multi":
            edits = [{"old_string": o, "new_string": n} for o, n in ((old, content + "§"), ("§", "§§"))]
            session.use("MultiEdit", file_path=full, edits=edits)
        else:
            session.use("Edit", file_path=full, old_string=old, new_string=content, replace_all=kind == "all")


def _ends_in_space(data: bytes) -> bool:
    last = data.decode().split("\n")[-1]
    return last != last.rstrip()


@pytest.fixture(params=[False, True], ids=["newer layout", "older layout"])
def glued(request: pytest.FixtureRequest) -> Iterator[bool]:
    yield request.param


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.dictionaries(_NAMES, _contents(), max_size=3), steps=_steps())
def test_applied_diffs_in_order_and_the_session_diff_give_the_final_tree(
    glued: bool, start: dict[str, str], steps: list[tuple[str, Any]]
) -> None:
    with TemporaryDirectory() as scratch:
        session = ClaudeSession(plant(Path(scratch) / "work", start), glued)
        for kind, rest in steps:
            if glued and any(_ends_in_space(data) for data in tree(session.folder).values()):
                break  # the older layout cuts white space at the end of a result: nobody can know of it
            _do(session, kind, *rest)
        check_oracle(session, start, Path(scratch))
