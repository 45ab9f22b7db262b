"""Reads the body of an alert, JSON or text, into names and values, as the sender wrote them."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from shared.domain.json_text import parsed
from shared.domain.market.alert_mapping import MAX_WORD_PARTS, AlertField, AlertMapping, folded
from shared.domain.problems import Problems, member, printable, shown
from shared.errors import InvalidInput, MalformedJson

# Far more than an alert of any platform has.
MAX_VALUES = 100
# Possessive and bounded, because the sender chooses the text: nothing is tried twice, however long it is.
_PLACEHOLDER = re.compile(r"\{\{\s{0,16}+([^{}\s](?:[^{}]{0,62}[^{}\s])?)\s{0,16}+\}\}")
# A name and its placeholder in what would be JSON if the sender had filled it.
_NAMED_PLACEHOLDER = re.compile(r'"([^"\\]{1,64})"\s*+:\s*+"?+[^",{}]*+' + _PLACEHOLDER.pattern)
# Values end at blanks, semicolons, and at commas unless a digit stands on both sides, as in 5,012.25.
_SEPARATOR = re.compile(r"(?:[\s;]|(?<![0-9]),|,(?![0-9]))+")
_PAIR = re.compile(r"(?P<name>[A-Za-z_][\w.-]{0,63})\s*(?:=|:(?!//))\s*(?P<value>\S.*)", re.DOTALL)
# Blanks around = and after : belong to the pair: `stop = 5008`, `stop: 5008`.
_LOOSE_PAIR = re.compile(r"(?<=[\w.])[ \t]*=[ \t]*|(?<=[A-Za-z_]):[ \t]+")


class AlertValue(msgspec.Struct, frozen=True):
    """A value with its name as the sender wrote it; a value without a name has the name of our field."""

    name: str
    value: Any


# The values of an alert by the folded names of the sender, see `folded`.
AlertValues = dict[str, AlertValue]


def read_alert(body: bytes, mapping: AlertMapping) -> AlertValues:
    """The values in the body of an alert, by folded name.

    Raises MalformedJson, and ValidationFailed for placeholders in broken JSON, for names that stand twice,
    and for words of a line that the mapping does not know.
    """
    stripped = body.strip()
    if not stripped:
        raise MalformedJson("The alert is empty: send JSON, or a line such as buy ES 5012.25.")
    if stripped[:1] == b"{" and stripped[:2] != b"{{":
        return _flat(_json(stripped))
    if stripped[:1] == b'"':
        text = _json(stripped)
    elif stripped[:1] == b"[":
        raise MalformedJson("Send one alert a request: an object or a line, not an array.")
    else:
        text = _text(stripped)
    return _from_line(str(text), mapping)


def placeholder_in(text: str) -> str | None:
    """The first placeholder in `text` that the sender did not fill, such as {{close}}; None without one."""
    found = _PLACEHOLDER.search(text)
    return None if found is None else f"{{{{{found[1]}}}}}"


def placeholder_fault(placeholder: str) -> str:
    """What is wrong with a placeholder that was left as text."""
    kind = "Only alerts of a strategy fill it." if "strategy." in placeholder else "Check its spelling."
    return f"The sender did not fill the placeholder {shown(placeholder)}. {kind}"


def _json(body: bytes) -> Any:
    try:
        return parsed(body)
    except InvalidInput:
        # TradingView sends the message as it stands, so a placeholder without quotes breaks the JSON.
        problems = Problems()
        for name, placeholder in islice(_placeholders(body), MAX_VALUES):
            problems.add(printable(name), "invalid_format", placeholder_fault(placeholder))
        problems.refuse("The alert is no JSON, because the sender did not fill its placeholders; see errors.")
        raise


def _placeholders(body: bytes) -> Iterator[tuple[str, str]]:
    for found in _NAMED_PLACEHOLDER.finditer(body.decode(errors="replace")):
        yield found[1], f"{{{{{found[2]}}}}}"


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise MalformedJson(
            f"The alert is not UTF-8: the byte at position {error.start} begins no character. Send UTF-8."
        ) from None


def _flat(document: dict[str, Any]) -> AlertValues:
    """The values of an object and of the objects in it, whose names are joined by dots."""
    problems, found = Problems(), AlertValues()
    waiting: list[tuple[str, Any]] = [*reversed(document.items())]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting.extend(reversed([(f"{name}.{inner}", each) for inner, each in value.items()]))
        else:
            _add(found, name, value, problems)
        if len(found) + len(waiting) > MAX_VALUES:
            raise MalformedJson(f"An alert may have at most {MAX_VALUES} values.")
    problems.refuse()
    return found


def _add(found: AlertValues, name: str, value: Any, problems: Problems) -> None:
    former = found.setdefault(folded(name), AlertValue(name, value))
    if former.name != name or former.value is not value:
        problems.add(member("", name), "repeated_field", f"It stands for the same as {shown(former.name)}.")


def _from_line(text: str, mapping: AlertMapping) -> AlertValues:
    """The values of a text: pairs such as stop=5008, and the others in the order of `mapping.text`."""
    problems, found = Problems(), AlertValues()
    joined = _PLACEHOLDER.sub(lambda each: "{{" + "".join(each[1].split()) + "}}", text)
    parts = [part for part in _SEPARATOR.split(_LOOSE_PAIR.sub(_tight, joined)) if part]
    if len(parts) > MAX_VALUES:
        raise MalformedJson(f"An alert may have at most {MAX_VALUES} words.")
    bare: list[str] = []
    for part in parts:
        pair = _PAIR.fullmatch(part)
        if pair is None or _is_symbol(pair, mapping):
            bare.append(part)
        else:
            _add(found, pair["name"], pair["value"], problems)
    for field, value in _placed(bare, mapping, problems):
        # In the place of a name that the mapping knows, so that the rest reads it as if it had been named.
        _add(found, mapping.names(field)[0], value, problems)
    problems.refuse()
    return found


def _tight(blanks: re.Match[str]) -> str:
    return blanks[0].strip()


def _is_symbol(pair: re.Match[str], mapping: AlertMapping) -> bool:
    """Whether the pair is a symbol with its exchange, such as CME_MINI:ES1!, and no name with its value."""
    known = {folded(name) for names in mapping.fields.values() for name in names}
    return pair[0][len(pair["name"])] == ":" and folded(pair["name"]) not in known


def _placed(bare: list[str], mapping: AlertMapping, problems: Problems) -> Iterator[tuple[AlertField, str]]:
    """Which of our fields the words of a line are, in order; a word of the mapping may have several parts."""
    words = {folded(word) for word in mapping.words}
    skipped = {each.lower() for each in mapping.skipped}
    left = [word for word in bare if word.lower() not in skipped]
    for field in mapping.text:
        if not left or field not in mapping.fields:
            break
        taken = 1
        if field in ("action", "position", "previous_position"):
            lengths = range(min(MAX_WORD_PARTS, len(left)), 1, -1)
            taken = next((n for n in lengths if folded(" ".join(left[:n])) in words), 1)
        yield field, " ".join(left[:taken])
        del left[:taken]
    for word in left[:MAX_VALUES]:
        message = (
            f"Expected {' '.join(mapping.text) or 'pairs'} and pairs such as stop=5008, got {shown(word)}."
        )
        problems.add("text", "unknown_value", message)
