"""The edits that a model writes for aider into its answer, in the formats that aider asks for.

Edit blocks (`diff`, `diff-fenced`, `editor-diff`): the path on a line of its own before the fence, or the line behind
it; an empty SEARCH makes a file, or adds to its end:

    src/app.py
    ```python
    <<<<<<< SEARCH
    old lines
    =======
    new lines
    >>>>>>> REPLACE
    ```

Whole files (`whole`): the path on the line before the fence, the whole content in it. Unified diffs (`udiff`): a fence
```diff with `---`, `+++` and hunks, whose line numbers do not count. Patches (`patch`): as `ocproxy.agents.patches`.
From aider's own prompts and parsers (0.86.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ocproxy.agents import patches
from ocproxy.agents.base import Action, Replacement
from ocproxy.model import EventType, ToolUse

BLOCK, WHOLE, HUNK, PATCH = "edit block", "whole file", "udiff hunk", "patch"
NAMES = (BLOCK, WHOLE, HUNK, PATCH)

_HEAD = re.compile(r"<{5,9} SEARCH>?\s*\Z")
_DIVIDER = re.compile(r"={5,9}\s*\Z")
_END = re.compile(r">{5,9} REPLACE\s*\Z")
_FENCES = ("```", "````", "<source>", "<code>", "<pre>", "<codeblock>", "<sourcecode>")
_SHELLS = "bash sh shell cmd batch powershell ps1 zsh fish ksh csh tcsh console".split()
_A_PATH = re.compile(r"[^\s`*]+(?: [^\s`*]+)*\Z")
_LONGEST_PATH = 250


def uses_in(text: str) -> tuple[ToolUse, ...]:
    """The edits in their order. None where a block is broken: aider takes none of such an answer."""
    lines = text.splitlines(keepends=True)
    if any(_HEAD.match(line.strip()) for line in lines):
        found = _blocks(lines)
        edits = [] if found is None else [(BLOCK, {"path": p, "search": old, "replace": new}) for p, old, new in found]
    elif any(line.startswith("```diff") for line in lines):
        edits = [(HUNK, {"path": path, "hunk": hunk}) for path, hunk in _hunks(lines)]
    elif "*** Begin Patch" in text:
        edits = [(PATCH, {"input": text})]
    else:
        edits = [(WHOLE, {"path": path, "content": content}) for path, content in _files(lines)]
    return tuple(ToolUse(str(number), name, given) for number, (name, given) in enumerate(edits))


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What one of these edits asks for; None when it is none of them."""
    given = use.input
    if use.name == BLOCK:
        path = given["path"]
        edit = Replacement(_unwrapped(given["search"], path), _unwrapped(given["replace"], path))
        return (Action(EventType.EDIT, path=path, replacements=(edit,)),)
    if use.name == WHOLE:
        return (Action(EventType.WRITE, path=given["path"], content=given["content"]),)
    if use.name == HUNK:
        old, new = _sides(given["hunk"])
        return (Action(EventType.EDIT, path=given["path"], replacements=(Replacement(old, new, everywhere=True),)),)
    return patches.parse_patch(given["input"]) if use.name == PATCH else None


def quoted(use: ToolUse) -> str:
    """How aider quotes an edit that did not match."""
    given = use.input
    if use.name == BLOCK:
        return (
            f"match lines in {given['path']}\n<<<<<<< SEARCH\n{given['search']}=======\n{given['replace']}"
            ">>>>>>> REPLACE\n"
        )
    if use.name == HUNK:
        return f"exact lines in a row:\n```\n{_sides(given['hunk'])[0]}```"
    return "\0"  # the others are never quoted


def _blocks(lines: Sequence[str]) -> list[tuple[str, str, str]] | None:
    """Path, old and new text of each block; None when one is broken."""
    found: list[tuple[str, str, str]] = []
    path: str | None = None
    at = 0
    while at < len(lines):
        if not _HEAD.match(lines[at].strip()):
            at += 1
            continue
        path = _path_before(lines[max(0, at - 3) : at]) or path
        middle = _next(lines, at + 1, _DIVIDER)
        end = None if middle is None else _next(lines, middle + 1, _END, _DIVIDER)
        if path is None or middle is None or end is None:
            return None
        found.append((path, "".join(lines[at + 1 : middle]), "".join(lines[middle + 1 : end])))
        at = end + 1
    return found


def _unwrapped(text: str, path: str) -> str:
    """A side of a block as aider takes it: without a first line that names the file, a fence around the rest, and one
    empty line at the end."""
    lines = text.splitlines()
    if lines and lines[0].strip().endswith(path.rpartition("/")[2]):
        lines = lines[1:]
    if lines and any(lines[0].startswith(one) and lines[-1].startswith(one.replace("<", "</")) for one in _FENCES):
        lines = lines[1:-1]
    bare = "\n".join(lines)
    return bare if not bare or bare.endswith("\n") else bare + "\n"


def _next(lines: Sequence[str], start: int, *patterns: re.Pattern[str]) -> int | None:
    fits = (n for n in range(start, len(lines)) if any(pattern.match(lines[n].strip()) for pattern in patterns))
    return next(fits, None)


def _path_before(lines: Sequence[str]) -> str | None:
    """The path in up to three lines before a block, going back as long as there are fences. One with a dot is best."""
    names: list[str] = []
    for line in reversed(lines):
        if name := _bare(line):
            names.append(name)
        if not line.startswith("```"):
            break
    return next((name for name in names if "." in name), names[0] if names else None)


def _bare(line: str) -> str | None:
    line = line.strip()
    if line == "..." or not line:
        return None
    if line.startswith(_FENCES):
        rest = line.lstrip("`")
        return rest if line.startswith("```") and ("." in rest or "/" in rest) else None
    return line.rstrip(":").lstrip("#").strip().strip("`").strip("*") or None


def _files(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and content of each listing; of several for one file the first counts. The parser does not know whether
    whole files were asked for, so a fence without a line that looks like a path is none."""
    seen: set[str] = set()
    at = 0
    while at < len(lines):
        fence = next((fence for fence in reversed(_FENCES) if lines[at].startswith(fence)), None)
        if fence is None:
            at += 1
            continue
        close = fence.replace("<", "</")
        end = next((n for n in range(at + 1, len(lines)) if lines[n].startswith(close)), len(lines))
        language = lines[at].strip().removeprefix(fence).lower()
        path = _bare(lines[at - 1]) if at else None
        if path and language not in _SHELLS and _is_path(path) and path not in seen:
            seen.add(path)
            yield path, "".join(lines[at + 1 : end])
        at = end + 1


def _is_path(text: str) -> bool:
    has_shape = "." in text.rpartition("/")[2] or "/" in text or text in ("Makefile", "Dockerfile")
    return has_shape and len(text) <= _LONGEST_PATH and _A_PATH.match(text) is not None and not text.endswith(".")


def _hunks(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and lines of each hunk that changes something, of all fences; of the same hunk said twice the first."""
    at, path = 0, ""
    seen: set[tuple[str, str]] = set()
    while at < len(lines):
        if not lines[at].startswith("```diff"):
            at += 1
            continue
        end = next((n for n in range(at + 1, len(lines)) if lines[n].startswith("```")), len(lines))
        for head, hunk in _of_fence(lines[at + 1 : end]):
            path = head or path
            if path and (path, hunk) not in seen:
                seen.add((path, hunk))
                yield path, hunk
        at = end + 1


def _of_fence(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The same of one fence; the path is empty before one is named. Only the first may have git's prefixes."""
    path = ""
    hunk: list[str] = []
    at = 0
    while at < len(lines):
        head = "".join(lines[at : at + 2]).splitlines()
        is_head = len(head) == 2 and head[0].startswith("--- ") and head[1].startswith("+++ ")
        if is_head or lines[at].startswith("@@"):
            if is_head and hunk[-1:] == ["\n"]:
                hunk.pop()
            if _changes(hunk):
                yield path, "".join(hunk)
            hunk = []
        else:
            hunk.append(lines[at])
        if is_head:
            path = _named(*head) if at == 0 else head[1][4:].strip()
        at += 2 if is_head else 1
    if _changes(hunk):
        yield path, "".join(hunk)


def _changes(hunk: Sequence[str]) -> bool:
    return any(line.startswith(("+", "-")) for line in hunk)


def _named(old: str, new: str) -> str:
    before, after = old[4:].strip(), new[4:].strip()
    has_prefixes = after.startswith("b/") and (before.startswith("a/") or before == "/dev/null")
    return after[2:] if has_prefixes else after


def _sides(hunk: str) -> tuple[str, str]:
    """The lines before and after. A line of nothing but an end is an empty line of both; one of blanks is empty."""
    old: list[str] = []
    new: list[str] = []
    for line in hunk.splitlines(keepends=True):
        mark, rest = (line[0], line[1:]) if len(line) > 1 else (" ", line)
        rest = rest if rest.strip() else rest.lstrip(" \t")
        if mark != "+":
            old.append(rest)
        if mark != "-":
            new.append(rest)
    return "".join(old), "".join(new)
