"""Which files a person means: a path, the end of one, a folder, a pattern."""

from __future__ import annotations

import posixpath
import re

from ocproxy.files.diff import is_absolute, resolve

_WILD = re.compile(r"[*?\[]")


class FilePattern:
    """One file or several, as typed.

    - An absolute path is that file; another is the end of a path, by whole names: `app.py`, `src/app.py`.
    - One that ends in a slash means everything in such a folder.
    - `*` and `?` are any characters of one name, `**` of several, `[ab]` is one of these; not where it `is_literal`.
    """

    def __init__(self, text: str, *, is_literal: bool = False) -> None:
        is_folder = text.endswith("/")
        path = resolve(text, "")
        begin = "" if is_absolute(text) else "(?:.*/)?"
        end = "/.*" if is_folder and path != "/" else ".*" if is_folder else ""
        self._pattern = re.compile(begin + (re.escape(path) if is_literal else _translate(path)) + end, re.DOTALL)
        name = "" if is_folder else posixpath.basename(path)
        self.part = name if is_literal else max(_WILD.split(re.sub(r"\[[^]]*\]", "*", name)), key=len)
        """What occurs in the last name of every path that is meant; empty where nothing is known of it."""

    def fits(self, path: str) -> bool:
        """Whether the path, resolved from its session's folder, is meant."""
        return self._pattern.fullmatch(path) is not None


def _translate(path: str) -> str:
    """A regular expression. A bracket that is not closed means itself, as all other characters do."""
    found: list[str] = []
    at = 0
    while at < len(path):
        if path.startswith("**/", at):
            found.append("(?:.*/)?")
            at += 3
        elif path.startswith("**", at):
            found.append(".*")
            at += 2
        elif path[at] == "[" and (close := path.find("]", at + 2)) > 0 and "/" not in path[at:close]:
            within = path[at + 1 : close]
            negated = "^" if within[0] in "!^" else ""
            found.append(f"[{negated}{_class(within.removeprefix('!' if within[0] == '!' else '^'))}]")
            at = close + 1
        else:
            found.append({"*": "[^/]*", "?": "[^/]"}.get(path[at]) or re.escape(path[at]))
            at += 1
    return "".join(found)


def _class(within: str) -> str:
    """Characters and ranges between brackets; a range that runs backwards is three characters."""
    text = re.sub(r"([\\\[\]^&~|])", r"\\\1", within)
    return re.sub(r"(.)-(.)", lambda r: r[0] if r[1] <= r[2] else f"{r[1]}\\-{r[2]}", text, flags=re.DOTALL)
