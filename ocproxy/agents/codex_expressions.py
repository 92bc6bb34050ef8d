"""What the expressions of a program in Codex's code mode are worth, as far as its source tells. See `codex_script`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tree_sitter import Node

from ocproxy.agents.codex_values import (
    Function,
    Result,
    Tools,
    Value,
    concatenated,
    constant,
    field_of,
    number_of,
    piece_of_template,
    source_of,
    string_of,
    unknown,
)

_DEEPEST = 60  # expressions, blocks and functions inside each other
_FUNCTIONS = ("arrow_function", "function_expression", "function_declaration", "generator_function")


class Expressions(ABC):
    """The values of variables in their scopes. `certain`: the place is reached unless the program fails before it."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Value]] = [{"tools": Tools()}]
        self.certain = True
        self._depth = 0
        self._expressions: dict[str, Callable[[Node], Value]] = {
            **dict.fromkeys(("true", "false", "null"), constant),
            **dict.fromkeys(_FUNCTIONS, self.function),
            "string": string_of,
            "number": number_of,
            "template_string": self.template,
            "identifier": self._variable,
            "object": self._object,
            "array": self._array,
            "member_expression": self._member,
            "subscript_expression": self._subscript,
            "call_expression": self.call,
            "await_expression": self._await,
            "parenthesized_expression": self.all_values,
            "binary_expression": self._binary,
            "assignment_expression": self._assign,
            "augmented_assignment_expression": self._forget,
            "update_expression": self._forget,
            "ternary_expression": self._maybe_value,
        }

    @abstractmethod
    def call(self, node: Node) -> Value:
        """The value of a call, which takes place."""

    @abstractmethod
    def wait(self, number: int) -> None:
        """The program waits for the call of this number."""

    @contextmanager
    def uncertain(self) -> Iterator[None]:
        """What the block meets may run or not."""
        before, self.certain = self.certain, False
        yield
        self.certain = before

    @contextmanager
    def deeper(self) -> Iterator[bool]:
        """Whether it is not yet too deep to go on."""
        self._depth += 1
        yield self._depth <= _DEEPEST
        self._depth -= 1

    def value(self, node: Node) -> Value:
        with self.deeper() as allowed:
            if not allowed:
                return unknown(node)
            follow = self._expressions.get(node.type)
            if follow is not None:
                return follow(node)
            self.all_values(node)
            return unknown(node)

    def all_values(self, node: Node) -> Value:
        found: Value = None
        for child in node.named_children:
            found = self.value(child)
        return found

    def _variable(self, node: Node) -> Value:
        name = source_of(node)
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), unknown(node))

    def template(self, node: Node, raw: bool = False) -> Value:
        parts: list[Value] = []
        for child in node.named_children:
            if child.type == "template_substitution":
                parts.append(self.value(child.named_children[0]) if child.named_children else unknown(child))
            else:
                parts.append(piece_of_template(child, raw=raw))
        return concatenated(parts)

    def _object(self, node: Node) -> Value:
        found: dict[str, Value] = {}
        for child in node.named_children:
            if child.type == "pair":
                key, value = child.child_by_field_name("key"), child.child_by_field_name("value")
                if key is not None and value is not None:
                    found[self._name(key)] = self.value(value)
            elif child.type == "shorthand_property_identifier":
                found[source_of(child)] = self._variable(child)
            elif child.type == "spread_element":
                inner = self.value(child.named_children[0])
                found |= inner if isinstance(inner, dict) else {f"...{source_of(child)}": unknown(child)}
        return found

    def _name(self, key: Node) -> str:
        if key.type == "computed_property_name":
            name = self.value(key.named_children[0])
            return name if isinstance(name, str) else source_of(key)
        return string_of(key) if key.type == "string" else source_of(key)

    def _array(self, node: Node) -> Value:
        items: list[Value] = []
        for child in node.named_children:
            if child.type == "spread_element":
                inner = self.value(child.named_children[0])
                if not isinstance(inner, list):
                    return unknown(node)
                items += inner
            elif child.type != "comment":
                items.append(self.value(child))
        return items

    def _member(self, node: Node) -> Value:
        owner, name = node.child_by_field_name("object"), node.child_by_field_name("property")
        return field_of(self.value(owner), source_of(name), node) if owner and name else unknown(node)

    def _subscript(self, node: Node) -> Value:
        owner, index = node.child_by_field_name("object"), node.child_by_field_name("index")
        if owner is None or index is None:
            return unknown(node)
        name = self.value(index)
        value = self.value(owner)
        return field_of(value, name, node) if isinstance(name, str | int) else unknown(node)

    def _binary(self, node: Node) -> Value:
        """`a + b` of texts and numbers; `r.output ?? r`, which is the first where it is there at all."""
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        word = node.child_by_field_name("operator")
        if left is None or right is None or word is None:
            return unknown(node)
        first = self.value(left)
        if word.type in ("??", "||", "&&"):
            with self.uncertain():
                self.value(right)
            return first if word.type != "&&" and isinstance(first, Result) and first.path else unknown(node)
        second = self.value(right)
        if word.type != "+" or isinstance(first, Result) or isinstance(second, Result):
            return unknown(node)
        if type(first) is type(second) is int:
            return first + second
        return concatenated([first, second]) if isinstance(first, str) or isinstance(second, str) else unknown(node)

    def _assign(self, node: Node) -> Value:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        value = self.value(right) if right is not None else unknown(node)
        if left is not None and left.type == "identifier":
            name = source_of(left)
            scope = next((scope for scope in reversed(self.scopes) if name in scope), self.scopes[0])
            scope[name] = value if self.certain else unknown(left)
        return value

    def _forget(self, node: Node) -> Value:
        left = node.child_by_field_name("left")
        for scope in self.scopes:
            if left is not None and source_of(left) in scope:
                scope[source_of(left)] = unknown(left)
        self.all_values(node)
        return unknown(node)

    def _maybe_value(self, node: Node) -> Value:
        with self.uncertain():
            self.all_values(node)
        return unknown(node)

    def _await(self, node: Node) -> Value:
        value = self.value(node.named_children[-1])
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Result) and not one.path:
                self.wait(one.call)
        return value

    def function(self, node: Node) -> Value:
        return Function(node, tuple(self.scopes))
