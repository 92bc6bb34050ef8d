"""How Claude Code's NotebookEdit changes a notebook: it parses the JSON, changes one cell and writes all of it anew.

Read in the files of 2.0.50, recorded from 2.1.329. Cells are named by their ids, or `cell-N`, counted from 0. A new
source is one string, and takes the outputs of a code cell away. The notebook is written as JavaScript's
`JSON.stringify(notebook, null, 1)` does (ECMA-262, 25.5.2); a final newline stays, as 2.1.329 has it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ocproxy.agents.base import Replacement

_NUMBER = re.compile(r"\Acell-(\d{1,9})\Z")
_MOST_EXACT = 2**53  # JavaScript has no greater whole numbers for sure


class _OtherInJavaScript(ValueError):
    """JavaScript would write this JSON in another way than we do."""


def replace(text: str, edit: Replacement) -> str | None:
    """`text`, a whole notebook, after the edit. None where it does not apply, or where what is written is not sure."""
    try:
        notebook = json.loads(
            text, object_pairs_hook=_object, parse_float=_refuse, parse_int=_whole, parse_constant=_refuse
        )
        changed = _changed(notebook, edit)
        if not changed or "\r" in text:
            return None
        written = json.dumps(notebook, indent=1, ensure_ascii=False)
        written.encode("utf-8")  # half a surrogate pair is escaped by JavaScript
    except (ValueError, RecursionError):
        return None
    return written + "\n" if text.endswith("\n") else written


def _changed(notebook: Any, edit: Replacement) -> bool:
    """Carry the edit out. False, and nothing is changed, where it does not apply."""
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if edit.cell is None or not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        return False
    name, kind = edit.cell.name, edit.cell.kind
    at = _place(cells, name) if name else None
    if edit.cell.mode == "insert" and (at is not None or not name):
        major, minor = notebook.get("nbformat"), notebook.get("nbformat_minor")
        if not isinstance(major, int) or not isinstance(minor, int):
            return False
        has_ids = (major, minor) >= (4, 5)  # the format has cell ids from then on
        if has_ids != (edit.cell.new_name is not None) or kind is None:
            return False
        own = {"id": edit.cell.new_name} if has_ids else {}
        more: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
        cells.insert(
            0 if at is None else at + 1, {"cell_type": kind, **own, "source": edit.new, "metadata": {}, **more}
        )
        return True
    if at is None:
        return False
    if edit.cell.mode == "delete":
        del cells[at]
        return True
    return edit.cell.mode == "replace" and _rewritten(cells[at], edit.new, kind)


def _place(cells: list[dict[str, Any]], name: str) -> int | None:
    at = next((number for number, cell in enumerate(cells) if cell.get("id") == name), None)
    if at is None and (number := _NUMBER.match(name)):
        at = int(number[1])
    return at if at is not None and at < len(cells) else None


def _rewritten(cell: dict[str, Any], source: str, kind: str | None) -> bool:
    is_code = cell.get("cell_type") == "code"
    if is_code and kind not in (None, "code"):
        return False  # what becomes of the outputs then was not seen
    cell["source"] = source
    if is_code:
        cell["execution_count"], cell["outputs"] = None, []
    if kind is not None:
        cell["cell_type"] = kind
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which JavaScript keeps the order: keys that are numbers come first there."""
    if any(name.isdecimal() or name == "__proto__" for name, _ in pairs):
        raise _OtherInJavaScript
    return dict(pairs)


def _whole(digits: str) -> int:
    if abs(int(digits)) > _MOST_EXACT or digits == "-0":
        raise _OtherInJavaScript
    return int(digits)


def _refuse(_: str) -> Any:
    raise _OtherInJavaScript
