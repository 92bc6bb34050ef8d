"""Claude Code: who it says it is, what its calls are for, what of its messages stays. Seen up to 2.1.329.

Its session id is in a header and in `metadata.user_id`; subagents, titles, checks and compaction share it. Subagents
add an agent id of their own. It resends its history with each call and changes it (see `key`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import msgspec

from ocproxy.agents import claude_news, claude_notebooks, claude_replace, claude_results, claude_tools
from ocproxy.agents.base import Action, Answer, CallFacts, Checkout, News, Replacement
from ocproxy.agents.generic import Generic
from ocproxy.model import CallKind, Identity, Message, ModelRequest, Part, Text, ToolResult, ToolUse

_SESSION = "x-claude-code-session-id"
_AGENT_ID = "x-claude-code-agent-id"
_PARENT_AGENT_ID = "x-claude-code-parent-agent-id"
_BILLING = "x-anthropic-billing-header:"
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.S)
_WORKDIRS = (
    # behind it, where the shell went elsewhere: (was PATH)
    re.compile(r"^\s*(?:- )?Primary working directory: (.+?)(?: \(was (?:/|[A-Z]:).*\))?\s*$", re.M),
    re.compile(r"^\s*(?:- )?Working directory: (.+?)\s*$", re.M),
)
# "This is the git status at the start of the conversation. …", an empty line, and this.
_BRANCH = re.compile(r"git status at the start of the conversation\..{0,500}?^Current branch: (\S+)\s*$", re.M | re.S)
_USER_AGENT = re.compile(r"\bclaude-cli/(\d[\w.+-]*)")
_OLD_USER_ID = re.compile(r"_session_([0-9a-fA-F-]{36})\Z")  # before user_id became JSON
_SUGGEST = "[SUGGESTION MODE: "  # what the user may type next; the terminal asks for it with the tools of the session
_SUMMARY = ("CRITICAL: Respond with TEXT ONLY", "Your task is to create a detailed summary of ")


class ClaudeCode(Generic):
    """Anthropic's terminal agent, and the agent SDK, which runs the same program."""

    name = "claude-code"

    def recognises(self, facts: CallFacts) -> bool:
        return _SESSION in facts.headers or _USER_AGENT.search(facts.headers.get("user-agent", "")) is not None

    def identity(self, facts: CallFacts) -> Identity:
        headers = facts.headers
        version = _USER_AGENT.search(headers.get("user-agent", ""))
        identity = Identity(
            agent=self.name,
            session=headers.get(_SESSION) or _session_in_body(facts.request),
            agent_id=headers.get(_AGENT_ID) or None,
            parent_agent_id=headers.get(_PARENT_AGENT_ID) or None,
            workdir=_workdir(facts.request),
            version=version[1] if version else None,
        )
        return self.tagged(identity, facts.tags)

    def checkout(self, facts: CallFacts) -> Checkout:
        """The git status, in a reminder before the first answer or at the end of the system prompt (older versions)."""
        for text in _surroundings(facts.request):
            if found := _BRANCH.search(text):
                return Checkout(branch=found[1])
        return Checkout()

    def kind(self, facts: CallFacts) -> CallKind:
        request = facts.request
        if request is None or request.endpoint != "generate":
            is_hello = facts.path.split("?")[0].endswith("/api/hello")
            return CallKind.PROBE if is_hello else super().kind(facts)
        if _is_quota_check(request):
            return CallKind.QUOTA
        if (naming := _naming(request)) is not None:
            return naming
        if not request.tools and "</block>" in (request.params.get("stop_sequences") or []):
            return CallKind.SAFETY
        if not request.tools and "security monitor" in _system_text(request)[:4000]:
            return CallKind.SAFETY
        if any(last.lstrip().startswith(_SUMMARY) for last in _last_texts(request)):
            return CallKind.SUMMARY
        if any(last.lstrip().startswith(_SUGGEST) for last in _last_texts(request)):
            return CallKind.CHECK
        return CallKind.MAIN

    def title(self, facts: CallFacts) -> str | None:
        if facts.reply is None or self.kind(facts) not in (CallKind.TITLE, CallKind.TOPIC):
            return None
        text = "".join(part.text for part in facts.reply.parts if isinstance(part, Text))
        found = re.search(r"\{.*\}", text, re.S)
        if found is None:
            return None
        try:
            said = msgspec.json.decode(found[0])
        except msgspec.DecodeError:
            return None
        title = said.get("title") if isinstance(said, dict) else None
        return title.strip() or None if isinstance(title, str) else None

    def key(self, message: Message) -> str | None:
        """Roles, texts without reminders, and call ids: `cache_control` moves between calls, lists become strings,
        thinking may be left out, tool input is rewritten, reminders come and go at the ends of results.

        System messages in the middle (environment, tools, agents, notifications) are part of the conversation: they
        stay in their places word for word. One that holds nothing but reminders is none.
        """
        if message.role == "system" and not any(self.part_key(part) for part in message.parts):
            return None
        return super().key(message)

    def spoken(self, text: str) -> str:
        return _REMINDER.sub("", text).strip() if "<system-reminder>" in text else text.strip()

    def system_key(self, request: ModelRequest) -> str:
        """Without the billing line, whose end differs with the kind of call."""
        kept = tuple(
            part for part in request.system if not (isinstance(part, Text) and part.text.lstrip().startswith(_BILLING))
        )
        return super().system_key(msgspec.structs.replace(request, system=kept))

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        found = claude_tools.actions(use)
        return found if found is not None else super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        return claude_results.answer(use, result)

    def news(self, said: Text | ToolResult, use: ToolUse | None) -> News:
        return claude_news.news(said, use)

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        return claude_news.attached(parts)

    def replace(self, text: str, replacement: Replacement) -> str | None:
        if replacement.cell is not None:
            return claude_notebooks.replace(text, replacement)
        if replacement.whole_lines or replacement.first:
            return super().replace(text, replacement)
        return claude_replace.replace(text, replacement)

    def written(self, old: str | None, content: str) -> str:
        return claude_replace.written(old, content)


def _session_in_body(request: ModelRequest | None) -> str | None:
    """`metadata.user_id`: JSON with session_id, in older versions `user_HASH_account_UUID_session_UUID`."""
    metadata = request.params.get("metadata") if request else None
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user_id, str):
        return None
    if found := _OLD_USER_ID.search(user_id):
        return found[1]
    try:
        said = msgspec.json.decode(user_id)
    except msgspec.DecodeError:
        return None
    session = said.get("session_id") if isinstance(said, dict) else None
    return session if isinstance(session, str) and session else None


def _workdir(request: ModelRequest | None) -> str | None:
    """What the client itself says in `safeguards`, else the environment text: in the system prompt, in a system message
    (the last one counts: the folder can change), or in a reminder before the first answer: mentioned files come first.
    """
    if request is None:
        return None
    for guard in _listed(request.params.get("safeguards")):
        context = guard.get("classifier_context")
        live = context.get("live_cwd") if isinstance(context, dict) else None
        if isinstance(live, str) and live:
            return live
    texts = _surroundings(request)
    for pattern in _WORKDIRS:
        for text in texts:
            if found := pattern.search(text):
                return found[1]
    return None


def _surroundings(request: ModelRequest | None) -> list[str]:
    """What the program says of where it runs."""
    if request is None:
        return []
    texts = [_texts(message.parts) for message in reversed(request.messages) if message.role == "system"]
    beginning = takewhile(lambda message: message.role != "assistant", request.messages)
    texts += [_reminders(message) for message in beginning]
    texts.append(_texts(request.system))
    return [text for group in texts for text in group]


def _reminders(message: Message) -> list[str]:
    """Those of the message, without the contents of files, which may say anything."""
    texts = [text for text in _texts(message.parts) if not text.startswith("<system-reminder>\nResult of calling ")]
    return _REMINDER.findall("\n".join(texts))


def _listed(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(parts: tuple[Part, ...]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text)]


def _system_text(request: ModelRequest) -> str:
    return "\n".join(_texts(request.system))


def _last_texts(request: ModelRequest) -> list[str]:
    """Texts of the last user message."""
    last = next((message for message in reversed(request.messages) if message.role == "user"), None)
    return _texts(last.parts) if last else []


def _is_quota_check(request: ModelRequest) -> bool:
    return request.params.get("max_tokens") == 1 and [t.strip() for t in _last_texts(request)] == ["quota"]


def _naming(request: ModelRequest) -> CallKind | None:
    """Title calls by their output schema or prompt; older versions ask for `isNewTopic` and `title` at once."""
    if request.tools:
        return None
    system = _system_text(request)
    if "isNewTopic" in system:
        return CallKind.TOPIC
    config = request.params.get("output_config")
    shape = config.get("format") if isinstance(config, dict) else None
    schema = shape.get("schema") if isinstance(shape, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(properties, dict) and set(properties) == {"title"}:
        return CallKind.TITLE
    return CallKind.TITLE if "You are naming a coding session" in system else None


AGENT = ClaudeCode()
