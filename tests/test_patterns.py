"""No pattern lets a line break at the end of a text through, or a digit of another script.

Walks over every pattern of the structs that routes and stores use, of parameters, of OpenAPI and of the code.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

import functions
import shared
from functions.openapi import document
from functions.web.parameters import parameters_of, read_parameters
from functions.web.routes import declared_routes
from shared.domain.decoding import decode
from shared.domain.patterns import published
from shared.errors import ValidationFailed
from tests.support.app import functions as registered
from tests.support.places import ROOT
from tests.support.requests import PATH_VALUES
from tests.support.strategies import STRATEGIES

# What may follow a good text without being seen: line ends of all kinds, and a NUL.
ENDINGS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\n\n", "\0")
OTHER_DIGITS = ("\uff11", "\u0661", "\u0967", "\U0001d7d9")


def structs() -> Iterator[type[msgspec.Struct]]:
    """Every struct of the app."""
    for package in (functions, shared):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in found.name and not found.name.startswith("shared.training"):
                module = importlib.import_module(found.name)
                yield from (
                    each
                    for each in vars(module).values()
                    if isinstance(each, type)
                    and issubclass(each, msgspec.Struct)
                    and each.__module__ == module.__name__
                )


def patterns_in(kind: Any) -> Iterator[str]:
    if isinstance(kind, inspect.StrType) and kind.pattern is not None:
        yield kind.pattern
    for name in ("type", "item_type", "key_type", "value_type"):
        if hasattr(kind, name):
            yield from patterns_in(getattr(kind, name))
    for each in getattr(kind, "types", ()):
        yield from patterns_in(each)


def declared_patterns() -> set[str]:
    kinds = (inspect.type_info(struct) for struct in structs())
    fields = (field.type for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields)
    return {pattern for field in fields for pattern in patterns_in(field)}


PATTERNS = sorted(declared_patterns())


def test_the_walk_finds_the_patterns() -> None:
    assert {r"^[A-Z][A-Z0-9]{0,11}\Z", r"^[A-Za-z0-9._:-]{1,64}\Z", r"^[^\x00]{1,64}\Z"} <= set(PATTERNS)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_of_the_whole_text(pattern: str) -> None:
    assert pattern.startswith("^")
    assert pattern.endswith(r"\Z")
    assert published(pattern) == pattern.removesuffix(r"\Z") + "$"


@pytest.mark.parametrize("pattern", PATTERNS)
@given(st.data())
def test_only_what_matches_to_its_end_is_decoded(pattern: str, data: st.DataObject) -> None:
    kind: Any = msgspec.defstruct("Kind", [("text", Annotated[str, msgspec.Meta(pattern=pattern)])])
    text = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="utf-8")))
    assert decode(msgspec.json.encode({"text": text}), kind).text == text
    for ending in ENDINGS:
        longer = text + ending
        # Some patterns allow line breaks; what counts is that a break does not stand beyond the pattern.
        if re.fullmatch(pattern.removesuffix(r"\Z"), longer) is None:
            with pytest.raises(ValidationFailed):
                decode(msgspec.json.encode({"text": longer}), kind)


# The functions declare their routes when the app is loaded.
ROUTES = declared_routes() if registered() else ()
PARAMETERS = [
    (route.parameters, each)
    for route in ROUTES
    if route.parameters is not None
    for each in parameters_of(route.parameters)
    if isinstance(each.kind, inspect.StrType) and each.kind.pattern is not None
]


def sample_of(parameter: Any) -> str:
    """A value that the pattern of a parameter accepts: of a choice, the first."""
    pattern = parameter.kind.pattern
    choice = re.match(r"\^(?:-\?)?\(([a-z]+)", pattern)
    named = (parameter.example or "", PATH_VALUES.get(parameter.name, ""), choice[1] if choice else "")
    known = (*named, "ES1", "channel:ops", str(UUID(int=7)))
    return next(each for each in known if re.search(pattern, each))


@pytest.mark.parametrize(("struct", "parameter"), PARAMETERS, ids=lambda each: getattr(each, "name", ""))
@pytest.mark.parametrize("ending", ENDINGS + OTHER_DIGITS)
def test_a_parameter_is_read_to_its_end(struct: Any, parameter: Any, ending: str) -> None:
    def read(value: str) -> Any:
        query = urlencode({parameter.name: value}) if parameter.place == "query" else ""
        path = PATH_VALUES | {parameter.name: value}
        return read_parameters(struct, f"http://localhost/api/things?{query}", {}, path)

    good = sample_of(parameter)
    assert read(good)
    with pytest.raises(ValidationFailed):
        read(f"{good}{ending}")


def test_openapi_publishes_patterns_that_every_client_reads() -> None:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("pattern"), str):
                yield value["pattern"]
            for each in value.values():
                yield from walk(each)
        elif isinstance(value, list):
            for each in value:
                yield from walk(each)

    found = set(walk(msgspec.to_builtins(document(STRATEGIES))))
    assert {"^[A-Z][A-Z0-9]{0,11}$", "^[A-Za-z0-9._:-]{1,64}$"} <= found
    for pattern in found:
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        # Not in ECMA-262, or not in RE2, which clients in Go have.
        assert not re.search(r"\\[AZzdws]|\(\?", pattern)


def python_files() -> list[Path]:
    folders = ("shared", "functions", "operations", "infra", "local", "examples")
    return [
        file
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        if "node_modules" not in file.parts
    ]


def text_of(node: ast.expr) -> str:
    """The text of a pattern that is written in the code; an f-string without what it inserts."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Constant(value=bytes() as text):
            return text.decode("latin-1")
        case ast.JoinedStr(values=values):
            return "".join(text_of(each) for each in values)
        case _:
            return ""


def written_patterns() -> Iterator[tuple[str, str, str]]:
    """The place, the pattern and the call of every use of `re` in the code."""
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[first, *_]):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", text_of(first), ast.unparse(node)
                case _:
                    pass


def test_no_pattern_in_the_code_ends_with_a_dollar() -> None:
    found = list(written_patterns())
    assert len(found) > 30
    assert [
        place for place, pattern, _ in found if pattern.endswith("$") and not pattern.endswith(r"\$")
    ] == []


def test_digits_in_patterns_are_those_of_ascii() -> None:
    def takes_other_digits(pattern: str, call: str) -> bool:
        return r"\d" in pattern and "re.ASCII" not in call and "rb'" not in call

    # What pip prints and what files are called is not sent by anyone.
    inside = ("local/setup/",)
    assert [
        place
        for place, pattern, call in written_patterns()
        if takes_other_digits(pattern, call) and not place.startswith(inside)
    ] == []
