"""What Codex's shell commands do to files, as far as a command says it by itself.

Two kinds of commands are more than a command. `apply_patch <<'EOF' …` never reaches the shell: Codex finds the patch in
it and applies it, also behind `cd FOLDER &&` (seen with 0.169.0). And models without a tool for reading read with
`cat FILE`, `sed -n 'A,Bp' FILE`, `nl -ba FILE`, `head -n N FILE`: alone, these show what the file holds.
"""

from __future__ import annotations

import posixpath
import re
import shlex

import msgspec

from ocproxy.agents.base import Action
from ocproxy.agents.patches import parse_patch
from ocproxy.model import EventType, Json

_LONGEST_READ = 2_000  # characters of a command that may be a read
_HEREDOC = re.compile(
    r"""\A\s*(?:cd\s+(?P<folder>'[^'\n]*'|"[^"$`\\\n]*"|[^\s'"$`\\;&|<>()]+)\s*&&\s*)?apply_?patch\s*"""
    r"""<<-?\s*(?P<quote>['"]?)(?P<word>\w+)(?P=quote)[ \t]*\n(?P<text>.*\n)[ \t]*(?P=word)\s*\Z""",
    re.S,
)
_ARGUMENT = re.compile(r"\A\s*apply_?patch\s+'(?P<text>[^']*)'\s*\Z", re.S)
_SPECIAL = re.compile(r"[$`*?\[~{}\\\n;|&<>()#!]")  # words that the shell would change, and more than one command
_RANGE = re.compile(r"(\d{1,9})(?:,(\d{1,9}))?p\Z")
_LINES = re.compile(r"-(\d{1,9})\Z")
_SHELLS = re.compile(r"(?:.*/)?(?:bash|zsh|sh)\Z")


class Read(msgspec.Struct, frozen=True):
    """A file of which a command prints lines: all of them, or those from `first` on, `count` at most."""

    path: str
    first: int | None = None
    count: int | None = None
    numbered: bool = False


def command_of(words: Json) -> str | None:
    """The command line of a shell tool: a text, or a list of words, without the shell that it names (`bash -lc …`)."""
    if isinstance(words, str):
        return words
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        return None
    if len(words) == 3 and _SHELLS.match(words[0]) and words[1] in ("-lc", "-c", "-lic", "-ic"):
        return str(words[2])
    return " ".join(map(shlex.quote, words))


def actions_of(command: str, folder: str | None) -> tuple[Action, ...]:
    """What a command asks for. `folder` is the one that the call names to run it in, None for the session's own."""
    patch = patch_in(command)
    if patch is not None:
        inside, text = patch
        if found := patch_actions(text, posixpath.join(folder or "", inside) if inside else folder):
            return found
    action = Action(EventType.BASH, command=command, follows_shell=False)
    read = read_of(command)
    if read is None:
        return (action,)
    path = in_folder(read.path, folder)
    return action, Action(EventType.READ, path=path, first_line=read.first, line_count=read.count, follows_shell=False)


def patch_actions(text: str, folder: str | None = None) -> tuple[Action, ...]:
    """The actions of a patch. An added file takes the place of one that is there (seen with 0.169.0)."""
    return tuple(
        msgspec.structs.replace(
            action,
            path=action.path and in_folder(action.path, folder),
            destination=action.destination and in_folder(action.destination, folder),
            creates=False,
            follows_shell=False,
        )
        for action in parse_patch(text)
    )


def patch_in(command: str) -> tuple[str, str] | None:
    """(folder to go to first, patch) of a command that is nothing but a patch; None for any other."""
    found = _HEREDOC.match(command)
    if found:
        return (found["folder"] or "").strip("'\""), found["text"]
    found = _ARGUMENT.match(command)
    return ("", found["text"]) if found and "*** Begin Patch" in found["text"] else None


def read_of(command: str) -> Read | None:
    """The file that a command prints and does nothing else; None for any other command."""
    if len(command) > _LONGEST_READ:
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    # Whatever stands in quotes is a word of its own, and the shell leaves it alone.
    bare = re.sub(r"'[^']*'", "", re.sub(r'"[^"$`\\]*"', "", command))
    if not words or _SPECIAL.search(bare) or '"' in bare:
        return None
    return _read(words)


def _read(words: list[str]) -> Read | None:
    match words:
        case ["cat", path] | ["cat", "--", path] if path != "-":
            return Read(path)
        case ["nl", "-ba", path]:
            return Read(path, numbered=True)
        case ["sed", "-n", span, path] if found := _RANGE.match(span):
            first = int(found[1])
            return Read(path, first, int(found[2]) - first + 1 if found[2] else 1) if first else None
        case ["head", "-n", count, path] if count.isdecimal():
            return Read(path, 1, int(count))
        case ["head", option, path] if found := _LINES.match(option):
            return Read(path, 1, int(found[1]))
    return None


def in_folder(path: str, folder: str | None) -> str:
    """A path as the session sees it."""
    return posixpath.join(folder, path) if folder else path
