"""Whether a shell command seems to write or remove a file: a guess by its words, to doubt, never to make events."""

from __future__ import annotations

import posixpath
import re

_LONGEST = 20_000  # characters of a command that are looked at; longer ones carry data
_VERBS = r"touch|tee|cp|mv|ln|install|rsync|patch|truncate|dd|wget|curl|sed\s+-[a-z]*i|perl\s+-[a-z]*i"
_REMOVERS = r"rm|unlink|mv|git\s+clean"


def removes(command: str, path: str) -> bool:
    """Whether a command known for taking files away names the file."""
    return _names(command, path, _REMOVERS, "")


def writes_to(command: str, path: str) -> bool:
    """Whether a redirection, or a command known for writing files, names the file."""
    return _names(command, path, _VERBS, r">\|?\s*['\"]?[^\s;|&<>'\"]*")


def _names(command: str, path: str, verbs: str, operator: str) -> bool:
    name = posixpath.basename(path)
    head = command[:_LONGEST]
    if not name or name not in head:
        return False
    named = rf"(?<![\w.-]){re.escape(name)}(?![\w.-])"
    if operator and re.search(operator + named, head):
        return True
    return re.search(rf"\b(?:{verbs})\b[^;|&\n]*{named}", head) is not None
