"""Compiles OData filters of the REST API to a predicate over a connection.

Precedence from loose to tight: or, and, not, (eq ne), (gt ge lt le), in. A comparison of comparisons
needs parentheses, so that the compiler sees and bounds the nesting. It also checks types, so that a
filter either fails at once or works for every connection. A missing user id is null: null equals only
null, is neither before nor after any value, and a function of null is null.
"""

import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, cast

from local.webpubsub.limits import MAX_FILTER_CHARS, MAX_FILTER_DEPTH


class FilterInvalid(Exception):
    """The filter is not valid; the text says at which position and why."""


class Subject(Protocol):
    """The fields of a connection that a filter can read."""

    @property
    def connection_id(self) -> str: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def groups(self) -> Collection[str]: ...


Kind = Literal["text", "number", "truth", "null", "texts"]
Read = Callable[[Subject], Any]


@dataclass(frozen=True, slots=True)
class _Term:
    kind: Kind
    read: Read


_TokenKind = Literal["text", "number", "word", "mark", "end"]


class _Token(NamedTuple):
    kind: _TokenKind
    text: str
    at: int


class _Function(NamedTuple):
    takes: tuple[Kind, ...]
    optional: int
    gives: Kind
    apply: Callable[..., Any]


_SCAN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[(),]))",
    re.ASCII,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def _substring(text: str, start: int, length: int | None = None) -> str:
    start = max(start, 0)
    return text[start:] if length is None else text[start : start + max(length, 0)]


_FUNCTIONS = {
    "tolower": _Function(("text",), 0, "text", str.lower),
    "toupper": _Function(("text",), 0, "text", str.upper),
    "trim": _Function(("text",), 0, "text", str.strip),
    "substring": _Function(("text", "number", "number"), 1, "text", _substring),
    "startswith": _Function(("text", "text"), 0, "truth", str.startswith),
    "endswith": _Function(("text", "text"), 0, "truth", str.endswith),
    "contains": _Function(("text", "text"), 0, "truth", operator.contains),
    "concat": _Function(("text", "text"), 0, "text", operator.add),
    "indexof": _Function(("text", "text"), 0, "number", str.find),
    "length": _Function(("text",), 0, "number", len),
}
_IDENTIFIERS = {
    "userId": _Term("text", lambda subject: subject.user_id),
    "connectionId": _Term("text", lambda subject: subject.connection_id),
    "groups": _Term("texts", lambda subject: subject.groups),
}
_CONSTANTS: dict[str, tuple[Kind, Any]] = {
    "true": ("truth", True),
    "false": ("truth", False),
    "null": ("null", None),
}


def compile_filter(text: str) -> Callable[[Subject], bool]:
    """Returns the predicate that `text` describes; raises FilterInvalid."""
    if len(text) > MAX_FILTER_CHARS:
        raise FilterInvalid(f"A filter may have at most {MAX_FILTER_CHARS} characters.")
    parser = _Parser(_tokens(text))
    term = parser.either()
    end = parser.take()
    if end.kind != "end":
        raise FilterInvalid(f"Unexpected {end.text!r} at position {end.at}.")
    _require(term, "truth", "The filter")
    read = term.read
    return lambda subject: read(subject) is True


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text.rstrip()):
        match = _SCAN.match(text, at)
        if match is None:
            raise FilterInvalid(f"Cannot read the filter at position {at}.")
        kind = cast("_TokenKind", match.lastgroup)
        found.append(_Token(kind, match.group(kind), match.start(kind)))
        at = match.end()
    found.append(_Token("end", "end of filter", len(text)))
    return found


def _require(term: _Term, kind: Kind, what: str) -> None:
    if term.kind not in (kind, "null"):
        raise FilterInvalid(f"{what} must be of type {kind}, not {term.kind}.")


class _Parser:
    """Parses tokens by recursive descent, with one method for each level of precedence."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _taken(self, *words: str) -> str | None:
        token = self._tokens[self._next]
        if token.kind not in ("word", "mark") or token.text not in words:
            return None
        self._next += 1
        return token.text

    def _expect(self, mark: str) -> None:
        if not self._taken(mark):
            token = self._tokens[self._next]
            raise FilterInvalid(f"Expected {mark!r} at position {token.at}, found {token.text!r}.")

    def either(self) -> _Term:
        self._depth += 1
        if self._depth > MAX_FILTER_DEPTH:
            raise FilterInvalid(f"A filter may nest at most {MAX_FILTER_DEPTH} deep.")
        terms = [self._both()]
        while self._taken("or"):
            terms.append(self._both())
        self._depth -= 1
        return terms[0] if len(terms) == 1 else _joined(terms, any, "or")

    def _both(self) -> _Term:
        terms = [self._negation()]
        while self._taken("and"):
            terms.append(self._negation())
        return terms[0] if len(terms) == 1 else _joined(terms, all, "and")

    def _negation(self) -> _Term:
        negations = 0
        while self._taken("not"):
            negations += 1
        term = self._equality()
        if not negations:
            return term
        _require(term, "truth", "The operand of not")
        read, wanted = term.read, negations % 2 == 0
        return _Term("truth", lambda subject: (read(subject) is True) is wanted)

    def _equality(self) -> _Term:
        left = self._order()
        if (word := self._taken("eq", "ne")) is not None:
            left = _equal(left, self._order(), equal=word == "eq")
        return left

    def _order(self) -> _Term:
        left = self._membership()
        if (word := self._taken(*_COMPARE)) is not None:
            left = _ordered(left, self._membership(), word)
        return left

    def _membership(self) -> _Term:
        left = self._operand()
        if self._taken("in"):
            left = _contained(left, self._collection())
        return left

    def _collection(self) -> Callable[[Subject], Collection[Any]]:
        if not self._taken("("):
            term = self._operand()
            if term.kind != "texts":
                raise FilterInvalid("The right side of in must be groups or a list in parentheses.")
            return term.read
        members = [self._operand()]
        while self._taken(","):
            members.append(self._operand())
        self._expect(")")
        for member in members:
            if member.kind == "texts":
                raise FilterInvalid("A list may hold single values only.")
        reads = [member.read for member in members]
        return lambda subject: [read(subject) for read in reads]

    def _operand(self) -> _Term:
        token = self.take()
        if token.kind == "text":
            return _constant("text", token.text[1:-1].replace("''", "'"))
        if token.kind == "number":
            return _constant("number", int(token.text))
        if token.text == "(":
            term = self.either()
            self._expect(")")
            return term
        if token.text in _CONSTANTS:
            return _constant(*_CONSTANTS[token.text])
        if token.text in _FUNCTIONS:
            return self._call(token.text)
        if token.text in _IDENTIFIERS:
            return _IDENTIFIERS[token.text]
        raise FilterInvalid(f"Unexpected {token.text!r} at position {token.at}.")

    def _call(self, name: str) -> _Term:
        function = _FUNCTIONS[name]
        self._expect("(")
        arguments = [self.either()]
        while self._taken(","):
            arguments.append(self.either())
        self._expect(")")
        most = len(function.takes)
        if not most - function.optional <= len(arguments) <= most:
            raise FilterInvalid(f"{name} takes {most} arguments, not {len(arguments)}.")
        for argument, kind in zip(arguments, function.takes, strict=False):
            _require(argument, kind, f"An argument of {name}")
        reads, apply = [argument.read for argument in arguments], function.apply

        def read(subject: Subject) -> Any:
            values = [read(subject) for read in reads]
            return None if None in values else apply(*values)

        return _Term(function.gives, read)


def _constant(kind: Kind, value: Any) -> _Term:
    return _Term(kind, lambda _subject: value)


def _joined(terms: list[_Term], join: Callable[[Any], bool], word: str) -> _Term:
    for term in terms:
        _require(term, "truth", f"Each side of {word}")
    reads = [term.read for term in terms]
    return _Term("truth", lambda subject: join(read(subject) is True for read in reads))


def _same_kind(left: _Term, right: _Term, word: str) -> None:
    if "texts" in (left.kind, right.kind):
        raise FilterInvalid(f"{word} compares single values, not groups.")
    if left.kind != right.kind and "null" not in (left.kind, right.kind):
        raise FilterInvalid(f"{word} cannot compare {left.kind} with {right.kind}.")


def _equal(left: _Term, right: _Term, *, equal: bool) -> _Term:
    _same_kind(left, right, "eq" if equal else "ne")
    one, other = left.read, right.read
    return _Term("truth", lambda subject: (one(subject) == other(subject)) is equal)


def _ordered(left: _Term, right: _Term, word: str) -> _Term:
    _same_kind(left, right, word)
    if "truth" in (left.kind, right.kind):
        raise FilterInvalid(f"{word} cannot order truth values.")
    one, other, compare = left.read, right.read, _COMPARE[word]

    def read(subject: Subject) -> bool:
        first, second = one(subject), other(subject)
        return first is not None and second is not None and compare(first, second)

    return _Term("truth", read)


def _contained(left: _Term, members: Callable[[Subject], Collection[Any]]) -> _Term:
    if left.kind == "texts":
        raise FilterInvalid("The left side of in must be a single value.")
    one = left.read
    return _Term("truth", lambda subject: one(subject) in members(subject))
