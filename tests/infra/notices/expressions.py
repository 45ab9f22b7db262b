"""Evaluates the few expressions of Azure Logic Apps that our workflows use, as Microsoft documents them.

It refuses every function and every form that it does not know, so that a workflow cannot use one untested.
What it cannot show is that Azure's own evaluator agrees; only a deployment does.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

# Azure's limit of an expression.
MOST_CHARACTERS = 8_192
_TOKEN = re.compile(r"\s*(?:'((?:[^']|'')*)'|(-?\d+)|([A-Za-z]+)|(\?\[|[\[\](),]))")


class ExpressionError(Exception):
    """Azure would fail the run, or would not accept the workflow."""


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0

    def next(self) -> tuple[str, str]:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise ExpressionError(f"cannot read {self.text[self.at :]!r}")
        self.at = found.end()
        kind = ("text", "number", "name", "sign")[(found.lastindex or 0) - 1]
        return kind, found[found.lastindex or 0]

    def sees(self, *signs: str) -> bool:
        return self.text[self.at :].lstrip().startswith(signs)


def evaluate(template: Any, body: Any, parameters: dict[str, str]) -> Any:
    """The value of a tree of JSON in which texts that begin with `@` are expressions."""
    if isinstance(template, dict):
        return {key: evaluate(value, body, parameters) for key, value in template.items()}
    if isinstance(template, list):
        return [evaluate(value, body, parameters) for value in template]
    if not isinstance(template, str) or not template.startswith("@"):
        if isinstance(template, str) and "@{" in template:
            raise ExpressionError(f"an expression within a text: {template!r}")
        return template
    if len(template) > MOST_CHARACTERS:
        raise ExpressionError(f"an expression of {len(template)} characters")
    reader = _Reader(template, 1)
    value = _value(reader, body, parameters)
    if reader.at != len(template):
        raise ExpressionError(f"text after the expression: {template[reader.at :]!r}")
    return value


def _value(reader: _Reader, body: Any, parameters: dict[str, str]) -> Any:
    kind, token = reader.next()
    if kind == "text":
        return token.replace("''", "'")
    if kind == "number":
        return int(token)
    if kind != "name":
        raise ExpressionError(f"unexpected {token!r}")
    value = _call(token, _arguments(reader, body, parameters), body, parameters)
    while reader.sees("?[", "["):
        _, sign = reader.next()
        key = _value(reader, body, parameters)
        _expect(reader, "]")
        value = _item(value, key, or_null=sign == "?[")
    return value


def _arguments(reader: _Reader, body: Any, parameters: dict[str, str]) -> list[Any]:
    _expect(reader, "(")
    found: list[Any] = []
    while not reader.sees(")"):
        found.append(_value(reader, body, parameters))
        if not reader.sees(")"):
            _expect(reader, ",")
    _expect(reader, ")")
    return found


def _expect(reader: _Reader, sign: str) -> None:
    if reader.next() != ("sign", sign):
        raise ExpressionError(f"{sign!r} is missing before {reader.text[reader.at :]!r}")


def _item(value: Any, key: str | int, *, or_null: bool) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError) as error:
        if or_null and (value is None or isinstance(value, dict | list)):
            return None
        raise ExpressionError(f"{key!r} does not exist") from error


def _call(name: str, arguments: list[Any], body: Any, parameters: dict[str, str]) -> Any:
    if name == "triggerBody":
        return body
    if name == "parameters":
        return parameters[arguments[0]]
    if name not in _FUNCTIONS:
        raise ExpressionError(f"the function {name} has no test")
    return _FUNCTIONS[name](*arguments)


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _concat(*values: Any) -> str:
    if any(isinstance(value, dict | list) for value in values):
        raise ExpressionError("concat of an object")
    return "".join("" if value is None else str(value) for value in values)


def _substring(text: str, start: int, length: int) -> str:
    if start < 0 or start + length > len(text):
        raise ExpressionError("substring beyond the end")
    return text[start : start + length]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"{value!r} is no text")
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "coalesce": _coalesce,
    "concat": _concat,
    "encodeUriComponent": lambda text: quote(_text(text), safe="-_.!~*'()"),
    "equals": lambda first, second: first == second,
    "if": lambda condition, yes, no: yes if condition is True else no,
    "length": lambda text: len(_text(text)),
    "min": min,
    "replace": lambda text, old, new: _text(text).replace(old, new),
    "substring": _substring,
}
