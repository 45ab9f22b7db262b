"""Publishes the patterns of texts.

In Python, `$` also matches before a line break at the end of a text, so "my-1\\n" would match ^[a-z0-9-]+$.
Its `\\Z` means the end alone. JSON Schema (ECMA-262) has no `\\Z`, but its `$` means the end alone. So the
structs declare patterns with `\\Z`, and OpenAPI and messages show them with `$`.
"""

from typing import Any

_END = r"\Z"


def published(pattern: str) -> str:
    """The pattern as JSON Schema writes it."""
    return f"{pattern.removesuffix(_END)}$" if pattern.endswith(_END) else pattern


def with_published_patterns(schema: Any) -> Any:
    """`schema` (any part of a JSON Schema or OpenAPI document) with patterns as JSON Schema writes them."""
    match schema:
        case dict():
            return {name: _published_member(name, each) for name, each in schema.items()}
        case list():
            return [with_published_patterns(each) for each in schema]
        case _:
            return schema


def _published_member(name: str, value: Any) -> Any:
    # A field may have the name "pattern", too. Its schema is an object.
    return (
        published(value) if name == "pattern" and isinstance(value, str) else with_published_patterns(value)
    )
