"""aider: edits are written into the answers' texts, and files travel in messages. Recorded from 0.86.2.

It calls no tools and says nothing of itself but in its prompts. Its requests are, in this order: the system prompt, a
sample conversation about other files, what was said before, a map of the repository, the files in the chat, and what
is said now, with the rules of the edit format glued to its end. The files and their acknowledgement stand before the
newest prompt in each request, so they are told beside the conversation. What became of the edits is told by messages
that the program writes in the user's name: it committed them, or some blocks did not match. Of the last answer of a
run nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ocproxy.agents import aider_edits, aider_replace
from ocproxy.agents.base import Action, Answer, CallFacts, Flattened, Replacement
from ocproxy.agents.generic import Generic, first_line
from ocproxy.model import CallKind, Identity, Message, ModelRequest, Part, Status, Text, ToolResult, ToolUse

_COMMIT = "You are an expert software engineer that generates concise, one-line Git commit messages"
_SUMMARIZE = "*Briefly* summarize this partial conversation about programming."
_HEADING = re.compile(r"^# (USER|ASSISTANT)\n", re.M)
_SYSTEM = re.compile(
    r"Act as an expert (?:software developer|architect engineer|code analyst)\b"
    r"|You are an expert on the AI coding tool called Aider\b"
)
# Told by every edit format and by no other agent.
_SIGNS = (
    "*SEARCH/REPLACE block*",
    "*file listing*",
    "# File editing rules:",
    "V4A Diff",
    "*added these files",
    "aider",
)

# The sample conversations of all edit formats: what the user says, and how the answers begin.
_SAMPLES = (
    "Change get_factorial() to use math.factorial",
    "Refactor hello() into its own file.",
    "Change the greeting to be more casual",
    "Replace is_prime with a call to sympy.",
    "I switched to a new code base. Please don't consider the above files or try to edit them any longer.",
)
_SAMPLE_ANSWERS = (
    "To make this change we need to modify `mathweb/flask/app.py`",
    "To make this change we need to modify `main.py` and ",
    'Ok, I will:\n\n1. Switch the greeting text from "Hello" to "Hey".',
    "Ok, I will:\n\n1. Add an imports of sympy.",
)
_FILES = (
    "I have *added these files to the chat* so you can go ahead and edit them.",
    "Here are some READ ONLY files, provided for your reference.",
    "These are some files we have been discussing that we may want to edit after you answer my questions:",
)
_ABOUT_FILES = (
    "Here are summaries of some files present in my git repository.",
    "I am not sharing any files that you can edit yet.",
    "Don't try and edit any existing code without asking me to add the files to the chat!",
)
_ACKNOWLEDGED = (
    "Ok.",
    "Ok",
    "Ok, I won't try and edit those files without asking first.",
    "Ok, any changes I propose will be to those files.",
    "Ok, I will use these files as references.",
    "Ok, I will use these images as references.",
    "Ok, based on your requests I will suggest which files need to be edited and then stop and wait for your approval.",
    "I see that you interrupted my previous reply.",
    "FinishReasonLength exception: you sent too many tokens",
)
_INTERRUPTED = re.compile(r"\n\^C KeyboardInterrupt\Z")
_RULES = re.compile(
    r"\n\n+(?:# \*SEARCH/REPLACE block\* Rules:|# File editing rules:|# V4A Diff Format Rules:"
    r"|To suggest changes to a file you MUST return the entire content of the updated file\.|NEVER RETURN CODE!).*\Z",
    re.S,
)
_SHOWN = re.compile(
    r"\n(?P<path>[^\n]+)\n(?P<fence>`{3,4}|<(?P<tag>source|code|pre|codeblock|sourcecode)>)\n(?P<text>.*?)"
    r"(?:(?(tag)</(?P=tag)>|(?P=fence)))\n(?=\n[^\n]+\n(?P=fence)\n|\Z)",
    re.S,
)

_COMMITTED = ("I committed the changes with git hash ", "I updated the files.")
_FAILED = re.compile(r"^# \d+ SEARCH/REPLACE blocks? failed to match!$", re.M)
_REST_APPLIED = re.compile(r"^# The other \d+ SEARCH/REPLACE blocks? were applied successfully\.$", re.M)
_UDIFF_FAILED = re.compile(r"^UnifiedDiff(?:NoMatch|NotUnique): hunk failed to apply!$", re.M)
_SOME_HUNKS = "Note: some hunks did apply successfully."
_MALFORMED = (
    "\n^^^ ",
    "I didn't see any properly formatted edits in your reply?!",
    "No filename provided before ",
    "Error parsing patch content: ",
    "Unexpected error parsing patch: ",
    "File referenced in patch not found",
)
# An answer that names files of the repository is not taken before these are in the chat.
_ADDED = "I added these files to the chat: "
_APPLYING = re.compile(r"\A(?:Unexpected e|E)rror applying action '[^']*' to (?P<path>[^\n]+?): ")


class Aider(Generic):
    """The pair programmer. It works in the folder in which it was started, which it does not say."""

    name = "aider"

    def recognises(self, facts: CallFacts) -> bool:
        request = facts.request
        if request is None or request.tools:
            return False
        system = _text(request.system)
        if system.startswith(_COMMIT) or _SUMMARIZE in system[:200]:
            return True
        return _SYSTEM.search(system) is not None and any(sign in _all(request) for sign in _SIGNS)

    def identity(self, facts: CallFacts) -> Identity:
        return self.tagged(Identity(self.name), facts.tags)

    def kind(self, facts: CallFacts) -> CallKind:
        kind = super().kind(facts)
        if kind is not CallKind.MAIN or facts.request is None:
            return kind
        system = _text(facts.request.system)
        if system.startswith(_COMMIT):
            return CallKind.COMMIT
        return CallKind.SUMMARY if _SUMMARIZE in system[:200] else CallKind.MAIN

    def flattened(self, facts: CallFacts) -> Flattened | None:
        """One user message, each message behind a heading. Only prompts count: what it restores from its file of the
        chat has parts of answers twice."""
        if facts.request is None or self.kind(facts) is not CallKind.SUMMARY:
            return None
        asked = "\n".join(_text(message.parts) for message in facts.request.messages)
        pieces = _HEADING.split(asked)
        said = (text.strip() for role, text in zip(pieces[1::2], pieces[2::2], strict=True) if role == "USER")
        return Flattened(tuple(text for text in said if text))

    def key(self, message: Message) -> str | None:
        """Without what the program puts in: sample conversations, the map of the repository, files, rules."""
        text = _text(message.parts).strip()
        if message.role == "system":
            return None
        if message.role == "assistant" and (text in _ACKNOWLEDGED or text.startswith(_SAMPLE_ANSWERS)):
            return None
        if message.role == "user" and (text in _SAMPLES or text.startswith((*_FILES, *_ABOUT_FILES))):
            return None
        return super().key(message)

    def aside(self, message: Message) -> str | None:
        """The contents of files: each state of them is told once."""
        text = _text(message.parts)
        return text if message.role == "user" and text.startswith(_FILES) else None

    def spoken(self, text: str) -> str:
        return _INTERRUPTED.sub("", _RULES.sub("", text)).strip()

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        return tuple(file for part in parts if isinstance(part, Text) for file in _shown(part.text))

    def uses_in(self, parts: Sequence[Part]) -> tuple[ToolUse, ...]:
        return aider_edits.uses_in(_text(parts))

    def results_in(self, parts: Sequence[Part], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        """The program says first that it committed, then which blocks did not match, if any: the edits of a message are
        settled by the first thing that is said after that. Whole files cannot fail to match."""
        texts = [part.text for part in parts if isinstance(part, Text) and not part.text.startswith(_FILES)]
        is_done = any(text.startswith(_COMMITTED) for text in texts)
        others = [text for text in texts if not text.startswith(_COMMITTED)]
        if not others:
            whole = [use for use in uses if use.name == aider_edits.WHOLE]
            return tuple(_result(use, None) for use in whole) if is_done else ()
        said = others[0]
        if any(sign in said for sign in _MALFORMED) or _APPLYING.match(said):
            return tuple(_result(use, first_line(said.rpartition("\n^^^ ")[2])) for use in uses)
        if said.startswith(_ADDED) and not is_done:
            return tuple(_result(use, f"not taken: {first_line(said)}") for use in uses)
        failed = _failed(said, uses)
        if failed is None:
            return tuple(_result(use, None) for use in uses) if is_done else ()
        return tuple(_result(use, failed.get(use.id)) for use in uses)

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        found = aider_edits.actions(use)
        return super().actions(use) if found is None else found

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        if use.name not in aider_edits.NAMES:
            return super().answer(use, result)
        if not result.is_error:
            return Answer(Status.APPLIED)
        return Answer(Status.FAILED, note=result.text, each=self._until(use, result.text))

    def _until(self, use: ToolUse, told: str) -> tuple[Answer, ...]:
        """A patch that breaks off: what stands before the file that is named was done."""
        broken = _APPLYING.match(told)
        if use.name != aider_edits.PATCH or broken is None:
            return ()
        paths = [action.path for action in self.actions(use)]
        done = paths.index(broken["path"]) if broken["path"] in paths else 0
        return (Answer(Status.APPLIED),) * done + (Answer(Status.FAILED, note=told),) * (len(paths) - done)

    def replace(self, text: str, replacement: Replacement) -> str | None:
        return aider_replace.replace(text, replacement)


def _result(use: ToolUse, error: str | None) -> ToolResult:
    return ToolResult(use.id, error or "", is_error=error is not None)


def _failed(said: str, uses: Sequence[ToolUse]) -> dict[str, str] | None:
    """The uses that a message says did not match, with the reason; None when it says nothing of that."""
    is_udiff = _UDIFF_FAILED.search(said) is not None
    if not is_udiff and not _FAILED.search(said):
        return None
    why = "UnifiedDiff: hunk failed to apply" if is_udiff else "the SEARCH block failed to match"
    if not (_REST_APPLIED.search(said) or _SOME_HUNKS in said) and not is_udiff:
        return dict.fromkeys((use.id for use in uses), why)
    return {use.id: why for use in uses if aider_edits.quoted(use) in said}


def _shown(text: str) -> Iterator[tuple[str, Answer]]:
    """The files of a message with files: each whole, between fences that no line of them begins with."""
    if not text.startswith(_FILES):
        return
    for found in _SHOWN.finditer(text):
        lines = found["text"].split("\n")
        is_ended = lines[-1] == ""
        if is_ended:
            lines.pop()
        numbered = tuple(enumerate(lines, 1))
        yield found["path"], Answer(Status.APPLIED, lines=numbered, whole=True, final_newline=is_ended)


def _text(parts: Sequence[Part]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _all(request: ModelRequest) -> str:
    return "\n".join([_text(request.system), *(_text(message.parts) for message in request.messages)])


AGENT = Aider()
