"""What a program in Codex's code mode does: its tool calls and prints, in order, out of its syntax tree.

In code mode the model writes JavaScript into one tool, `exec`: `const r = await tools.exec_command({cmd: "ls"});
text(r.output)`. The program is followed as far as its source tells the values: literals, constants, templates,
functions of its own, loops over known lists, Promise.all. What depends on the running program is marked: such a call is
not `certain` to have run, or its argument is not known. Tools and globals: the description of `exec` in 0.169.0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import msgspec
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from ocproxy.agents.codex_expressions import Expressions
from ocproxy.agents.codex_values import Function, Result, Tool, Unknown, Value, field_of, is_known, source_of, unknown

_LANGUAGE = Language(tree_sitter_javascript.language())
_LONGEST = 400_000  # bytes of a program that are read; the longest patches are far below
_MOST = 300  # calls of one program, and turns of its loops
_PRINTS = frozenset(("text", "image", "audio", "generatedImage"))
_MAPS = frozenset(("map", "forEach", "flatMap"))


class Call(msgspec.Struct):
    """One use of a tool. `place` is (line, column), 1-based, as the client's error messages count."""

    name: str
    given: Value
    place: tuple[int, int]
    certain: bool  # nothing but an error before it keeps it from running
    computed: bool  # it stands in a loop or a function: its argument is worked out
    awaited: bool = False


class Print(msgspec.Struct, frozen=True):
    """One item of the result."""

    value: Value
    place: tuple[int, int]


class Program(msgspec.Struct, frozen=True):
    """`steps`: prints, and the numbers of calls, in the order in which they come. `is_followed`: each print of the
    program is among them, and only once."""

    calls: tuple[Call, ...] = ()
    steps: tuple[int | Print, ...] = ()
    is_followed: bool = False
    is_valid: bool = False  # by its syntax


def read_program(text: str) -> Program:
    """The program of one `exec`. A line `// @exec: {…}` before it is a comment to JavaScript too."""
    data = text.encode("utf-8", "surrogateescape" if text.isascii() else "replace")
    if len(data) > _LONGEST:
        return Program()
    root = Parser(_LANGUAGE).parse(data).root_node
    reader = _Reader()
    reader.block(root)
    reader.leftovers(root)
    return Program(tuple(reader.calls), tuple(reader.steps), reader.is_followed, not root.has_error)


class _Reader(Expressions):
    """Walks the tree as the program would run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.steps: list[int | Print] = []
        self.is_followed = True
        self._computed = False
        self._turns = 0
        self._met: set[int] = set()  # ids of the nodes of calls of tools
        self._returned: Value = None
        self._statements: dict[str, Callable[[Node], None]] = {
            **dict.fromkeys(("lexical_declaration", "variable_declaration"), self._declare),
            **dict.fromkeys(("for_statement", "while_statement", "do_statement", "switch_statement"), self._maybe),
            **dict.fromkeys(("switch_body", "switch_case", "switch_default", "labeled_statement"), self._maybe),
            "for_in_statement": self._loop,
            "if_statement": self._if,
            "try_statement": self._try,
            "statement_block": self._inner_block,
            "function_declaration": self._define,
            "return_statement": self._return,
            "expression_statement": self._express,
            "throw_statement": self._end,
        }

    # --- statements

    def block(self, node: Node) -> None:
        for child in node.named_children:
            if child.type == "function_declaration":
                self._define(child)
        for child in node.named_children:
            self.statement(child)

    def statement(self, node: Node) -> None:
        with self.deeper() as allowed:
            follow = self._statements.get(node.type)
            if allowed and follow is not None:
                follow(node)

    def _inner_block(self, node: Node) -> None:
        self.scopes.append({})
        self.block(node)
        self.scopes.pop()

    def _declare(self, node: Node) -> None:
        for one in node.named_children:
            name, value = one.child_by_field_name("name"), one.child_by_field_name("value")
            if name is not None:
                self._bind(name, self.value(value) if value is not None else Unknown("undefined"))

    def _bind(self, pattern: Node, value: Value) -> None:
        if pattern.type in ("identifier", "shorthand_property_identifier_pattern"):
            self.scopes[-1][source_of(pattern)] = value
        elif pattern.type == "object_pattern":
            for field in pattern.named_children:
                key = field.child_by_field_name("key") or field
                target = field.child_by_field_name("value") or field
                self._bind(target, field_of(value, source_of(key), field))
        elif pattern.type == "array_pattern":
            for index, item in enumerate(pattern.named_children):
                self._bind(item, field_of(value, index, item))
        elif pattern.type == "assignment_pattern" and (left := pattern.child_by_field_name("left")):
            self._bind(left, value)
        else:
            for name in _identifiers(pattern):
                self.scopes[-1][name] = unknown(pattern)

    def _define(self, node: Node) -> None:
        if name := node.child_by_field_name("name"):
            self.scopes[-1][source_of(name)] = self.function(node)

    def _loop(self, node: Node) -> None:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        body = node.child_by_field_name("body")
        if left is None or right is None or body is None:
            return
        items = self.value(right)
        word = node.child_by_field_name("operator")
        if isinstance(items, list) and word is not None and word.type == "of" and not _jumps(body):
            for item in items:
                self._turn(left, item, body)
        else:
            with self.uncertain():
                self._turn(left, unknown(left), body)

    def _turn(self, left: Node, item: Value, body: Node) -> None:
        self._turns += 1
        if self._turns > _MOST:
            self.is_followed = False
            return
        before, self._computed = self._computed, True
        self.scopes.append({})
        self._bind(left, item)
        self.statement(body)
        self.scopes.pop()
        self._computed = before

    def _if(self, node: Node) -> None:
        condition = node.child_by_field_name("condition")
        if condition is not None:
            self.value(condition)
        for name in ("consequence", "alternative"):
            if branch := node.child_by_field_name(name):
                with self.uncertain():
                    for child in [branch] if name == "consequence" else branch.named_children:
                        self.statement(child)
        if _jumps(node):
            self.certain = False  # what follows runs only if this did not end the program

    def _try(self, node: Node) -> None:
        """What is tried may have failed without failing the program."""
        for name in ("body", "handler", "finalizer"):
            part = node.child_by_field_name(name)
            if part is not None:
                with self.uncertain():
                    self.statement(part if name == "body" else part.named_children[-1])

    def _maybe(self, node: Node) -> None:
        with self.uncertain():
            for child in node.named_children:
                self.statement(child)
                if child.type.endswith("expression"):
                    self.value(child)

    def _return(self, node: Node) -> None:
        value = self.all_values(node)
        if self.certain:
            self._returned = value
        self.certain = False

    def _end(self, node: Node) -> None:
        """What stands behind it does not run."""
        self.all_values(node)
        self.certain = False

    def _express(self, node: Node) -> None:
        self.all_values(node)

    # --- calls

    def call(self, node: Node) -> Value:
        function, given = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or given is None:
            return unknown(node)
        name = source_of(function)
        if given.type == "template_string":
            return self.template(given, raw=True) if name == "String.raw" else unknown(node)
        if function.type == "member_expression":
            callee = self._method(function, given, node)
        else:
            callee = self.value(function)
        if not isinstance(callee, Tool | Function | Unknown):
            return callee
        arguments = [self.value(one) for one in given.named_children if one.type != "comment"]
        if isinstance(callee, Tool):
            return self._use(callee.name, arguments, node)
        if isinstance(callee, Function):
            return self._run(callee, arguments, node)
        if name in _PRINTS:
            self._print(arguments, node)
        elif name == "exit":
            self.certain = False
        for argument in arguments:
            if isinstance(argument, Function):  # whoever gets it may call it
                with self.uncertain():
                    self._run(argument, [], node)
        return unknown(node)

    def wait(self, number: int) -> None:
        self.calls[number].awaited = True

    def _method(self, function: Node, given: Node, node: Node) -> Value:
        """The value of `owner.method(…)` where it is one that is followed, else what is called."""
        owner, method = function.child_by_field_name("object"), function.child_by_field_name("property")
        if owner is None or method is None:
            return unknown(node)
        whose, name, value = source_of(owner), source_of(method), self.value(owner)
        first = next((child for child in given.named_children if child.type != "comment"), None)
        if whose == "Promise" and name in ("all", "allSettled") and first is not None:
            items = self.value(first)
            return items if isinstance(items, list) else {"promises": items}
        if whose == "JSON" and name == "stringify" and first is not None:
            return _stringified(self.value(first), node)
        if isinstance(value, list) and first is not None:
            argument = self.value(first)
            if name in _MAPS and isinstance(argument, Function):
                found = [self._turn_of(argument, [item, index], node) for index, item in enumerate(value[:_MOST])]
                return found if name == "map" else {"items": found}
            if name == "join" and isinstance(argument, str) and all(isinstance(item, str) for item in value):
                return argument.join(value)
            if name == "push":
                value.append(argument if self.certain else unknown(first))
                return len(value)
        return field_of(value, name, function)

    def _turn_of(self, function: Function, arguments: list[Value], node: Node) -> Value:
        before, self._computed = self._computed, True
        value = self._run(function, arguments, node)
        self._computed = before
        return value

    def _run(self, function: Function, arguments: list[Value], node: Node) -> Value:
        """A function of the program's own. What it does stands where it is called."""
        body = function.node.child_by_field_name("body")
        self._turns += 1
        with self.deeper() as allowed:
            if body is None or not allowed or self._turns > _MOST:
                self.is_followed = False
                return unknown(node)
            state = self.scopes, self.certain, self._computed, self._returned
            self.scopes, self._computed, self._returned = [*function.seen, {}], True, Unknown("undefined")
            names = function.node.child_by_field_name("parameters") or function.node.child_by_field_name("parameter")
            if names is not None:
                for index, name in enumerate(names.named_children if names.type == "formal_parameters" else [names]):
                    self._bind(name, arguments[index] if index < len(arguments) else Unknown("undefined"))
            if body.type == "statement_block":
                self.block(body)
                value = self._returned
            else:
                value = self.value(body)
            self.scopes, self.certain, self._computed, self._returned = state
            return value

    def _use(self, name: str, arguments: list[Value], node: Node) -> Value:
        if len(self.calls) >= _MOST:
            self.is_followed = False
            return unknown(node)
        self._met.add(node.id)
        line, column = node.start_point
        given = arguments[0] if arguments else {}
        self.calls.append(Call(name, given, (line + 1, column + 1), self.certain, self._computed))
        self.steps.append(len(self.calls) - 1)
        return Result(len(self.calls) - 1)

    def _print(self, arguments: list[Value], node: Node) -> None:
        if not self.certain:
            self.is_followed = False
        line, column = node.start_point
        self.steps.append(Print(arguments[0] if arguments else None, (line + 1, column + 1)))

    def leftovers(self, root: Node) -> None:
        """Calls of tools in functions that nobody was seen to call, and in places that are not followed."""
        for node in _calls_of_tools(root):
            if node.id not in self._met:
                self.is_followed = False
                self.scopes, self._computed = self.scopes[:1], True
                with self.uncertain():
                    self.call(node)


def _stringified(value: Value, node: Node) -> Value:
    if isinstance(value, Result) and not value.as_json:
        return Result(value.call, value.path, True)
    if not is_known(value):
        return unknown(node)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _identifiers(node: Node) -> Iterator[str]:
    if node.type in ("identifier", "shorthand_property_identifier_pattern"):
        yield source_of(node)
    for child in node.named_children:
        yield from _identifiers(child)


def _jumps(node: Node) -> bool:
    """Whether it may leave the block or the program that it stands in, and that without an error."""
    kinds = ("return_statement", "break_statement", "continue_statement")
    if node.type in kinds or (node.type == "call_expression" and source_of(node).startswith("exit(")):
        return True
    return any(_jumps(child) for child in node.named_children if child.type != "arrow_function")


def _calls_of_tools(root: Node) -> Iterator[Node]:
    """All places where `tools.NAME(…)` stands, in their order."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        function = node.child_by_field_name("function") if node.type == "call_expression" else None
        if function is not None and source_of(function).startswith(("tools.", "tools[")):
            yield node
        waiting += reversed(node.named_children)
