"""A Gemini reply, put together from its responses: one of a whole body, or those of a stream as they come.

Source: the API reference, "GenerateContentResponse" and "Candidate", https://ai.google.dev/api/generate-content. The
finish reason of the candidate ends a reply; so does the refusal of the prompt.
"""

from __future__ import annotations

import msgspec

from ocproxy.model import Delta, Json, Part, Problem, Reasoning, Reply, Text, ToolUse
from ocproxy.protocols.counts import merge_usage
from ocproxy.protocols.gemini_arguments import GrowingArguments
from ocproxy.protocols.gemini_history import join, read_part
from ocproxy.protocols.gemini_parts import Block, camel, read_usage
from ocproxy.protocols.problems import note

_REPLY_FIELDS = {"candidates", "usageMetadata", "modelVersion", "responseId", "error"}
_CANDIDATE_FIELDS = {"content", "finishReason", "index"}
# Says that there is none.
_NO_REASON = "FINISH_REASON_UNSPECIFIED"
_MAX_ERROR = 1000


class Candidate:
    """One candidate as far as it came."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.reason: str | None = None
        self.extra: Block = {}
        self._growing: tuple[ToolUse, GrowingArguments] | None = None

    def take(self, value: Block, problems: list[Problem]) -> list[Part]:
        """Take what one response says of the candidate; returns the parts that it adds."""
        content = value.get("content")
        blocks = camel(content).get("parts") if isinstance(content, dict) else None
        if not isinstance(content, dict | None) or not isinstance(blocks, list | None):
            note(problems, "wrong_type", "the content of a candidate is not one")
            blocks = None
        added = [part for block in blocks or [] for part in self._read(block, problems)]
        self.parts += added
        reason = value.get("finishReason")
        if isinstance(reason, str) and reason != _NO_REASON:
            self.reason = reason
        elif reason is not None and reason != _NO_REASON:
            note(problems, "wrong_type", "finishReason is not text")
        self.extra |= {k: field for k, field in value.items() if k not in _CANDIDATE_FIELDS and field is not None}
        return added

    def finish(self) -> list[Part]:
        """The parts; a call whose arguments had not ended last of all."""
        if self._growing is None:
            return self.parts
        use, arguments = self._growing
        raw = msgspec.json.encode(arguments.value).decode()
        return [*self.parts, msgspec.structs.replace(use, input={}, complete=False, raw=raw)]

    def _read(self, block: Json, problems: list[Problem]) -> list[Part]:
        call = camel(block).get("functionCall") if isinstance(block, dict) else None
        if not isinstance(call, dict):
            return read_part(block, problems)
        call = camel(call)
        if self._growing is None and not ("partialArgs" in call or call.get("willContinue") is True):
            return read_part(block, problems)
        return self._grow(block, call, problems)

    def _grow(self, block: Block, call: Block, problems: list[Problem]) -> list[Part]:
        if self._growing is None or isinstance(call.get("name"), str):
            plain = {key: value for key, value in call.items() if key not in ("partialArgs", "willContinue")}
            rest = {key: value for key, value in camel(block).items() if key != "functionCall"}
            begun = read_part({**rest, "functionCall": plain}, problems)
            if not isinstance(begun[-1], ToolUse):
                return begun
            self._growing = begun[-1], GrowingArguments()
            self._growing[1].value.update(begun[-1].input)
        use, arguments = self._growing
        arguments.add(call.get("partialArgs"), problems)
        if call.get("willContinue") is True:
            return []
        self._growing = None
        whole = {"id": use.alias, "name": use.name, "args": arguments.value}
        return read_part({**use.extra, "functionCall": whole}, problems)


class Responses:
    """Takes the responses of one reply. Deltas: `start` has the kind of the part and, behind a space, the name of its
    tool; index -1 belongs to the whole reply. Of several candidates the first is the reply, and the others are kept."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.error: str | None = None
        self._candidates: dict[int, Candidate] = {}
        self._fields: Block = {}
        self._usage: Block = {}
        self._open = ""  # kind of the part that further text adds to
        self._index = -1

    @property
    def has_ended(self) -> bool:
        """Whether every candidate has its finish reason, or the prompt was refused."""
        ended = bool(self._candidates) and all(found.reason for found in self._candidates.values())
        return ended or self._block_reason() is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing that belongs to a reply came."""
        return not (self._candidates or self._usage or self.error or "promptFeedback" in self._fields)

    def take(self, value: Json) -> list[Delta]:
        """Take one response, or the error that comes in its place."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            note(self.problems, "wrong_type", f"a response is not an object but {type(value).__name__}")
            return []
        inner = value.get("response")
        if isinstance(inner, dict):  # the envelope of Code Assist
            self._fields |= {key: field for key, field in value.items() if key not in ("response", "error")}
            value = {**inner, "error": value["error"]} if value.get("error") is not None else inner
        value = camel(value)
        self._fields |= {k: field for k, field in value.items() if k not in ("candidates", "usageMetadata", "error")}
        self._take_usage(value.get("usageMetadata"))
        deltas = self._take_candidates(value.get("candidates"))
        if value.get("error") is not None:
            self.error = error_text(value["error"])
            deltas.append(Delta("error", -1, self.error))
        return deltas

    def close(self, *, whole: bool) -> Reply:
        """The reply. `whole`: it came as one body, which has ended."""
        blocked = self._block_reason()
        if not whole and not self.has_ended and self.error is None:
            note(self.problems, "truncated", "the stream ended without a finish reason")
        first, *others = [self._candidates[index] for index in sorted(self._candidates)] or [Candidate()]
        extra = {key: field for key, field in self._fields.items() if key not in _REPLY_FIELDS and field is not None}
        if first.extra:
            extra["candidate"] = first.extra
        if others:
            extra["candidates"] = [
                {"parts": msgspec.to_builtins(join(one.finish())), "finishReason": one.reason, **one.extra}
                for one in others
            ]
        return Reply(
            id=self._text("responseId"),
            model=self._text("modelVersion"),
            parts=join(first.finish()),
            stop_reason=first.reason or blocked,
            usage=read_usage(self._usage or None, self.problems),
            error=self.error or (f"prompt blocked: {blocked}" if blocked and not first.parts else None),
            complete=whole or (self.has_ended and self.error is None),
            extra=extra,
        )

    def _block_reason(self) -> str | None:
        feedback = self._fields.get("promptFeedback")
        reason = camel(feedback).get("blockReason") if isinstance(feedback, dict) else None
        return reason if isinstance(reason, str) and reason != "BLOCK_REASON_UNSPECIFIED" else None

    def _text(self, field: str) -> str | None:
        value = self._fields.get(field)
        if isinstance(value, str | None):
            return value
        note(self.problems, "wrong_type", f"{field} is not text")
        return None

    def _take_usage(self, usage: Json) -> None:
        if isinstance(usage, dict):
            self._usage = merge_usage(self._usage, camel(usage))
        elif usage is not None:
            note(self.problems, "wrong_type", f"usageMetadata is not an object but {type(usage).__name__}")

    def _take_candidates(self, candidates: Json) -> list[Delta]:
        if not isinstance(candidates, list):
            if candidates is not None:
                note(self.problems, "wrong_type", "candidates is not a list")
            return []
        deltas: list[Delta] = []
        for place, value in enumerate(candidates):
            if not isinstance(value, dict):
                note(self.problems, "wrong_type", "a candidate is not an object")
                continue
            value = camel(value)
            index = value.get("index")
            index = index if type(index) is int else place
            candidate = self._candidates.setdefault(index, Candidate())
            had_ended = candidate.reason is not None
            added = candidate.take(value, self.problems)
            if index == min(self._candidates):
                deltas += [delta for part in added for delta in self._deltas(part)]
                if candidate.reason is not None and not had_ended:
                    deltas.append(Delta("stop", -1, candidate.reason))
        return deltas

    def _deltas(self, part: Part) -> list[Delta]:
        if isinstance(part, Text | Reasoning):
            if not part.text:
                return []
            kind = "text" if isinstance(part, Text) else "reasoning"
            deltas = [] if kind == self._open else [self._start(kind)]
            self._open = kind
            return [*deltas, Delta("text" if isinstance(part, Text) else "reasoning", self._index, part.text)]
        self._open = ""
        if not isinstance(part, ToolUse):
            return [self._start(type(part).__name__.lower()), Delta("stop", self._index)]
        start = self._start(f"tool_use {part.name}")
        given = msgspec.json.encode(part.input).decode()
        return [start, Delta("tool_input", self._index, given), Delta("stop", self._index)]

    def _start(self, what: str) -> Delta:
        self._index += 1
        return Delta("start", self._index, what)


def error_text(error: Json) -> str:
    """An error as Google's APIs have it: "RESOURCE_EXHAUSTED: Quota exceeded …".

    Source: "google.rpc.Status", https://cloud.google.com/apis/design/errors."""
    if not isinstance(error, dict):
        return (str(error) if error else "unknown error")[:_MAX_ERROR]
    words = [error.get("status") or error.get("code"), error.get("message")]
    return (": ".join([str(word) for word in words if word is not None]) or "unknown error")[:_MAX_ERROR]
