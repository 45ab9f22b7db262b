"""The reader of single keys: accepted ends of each range, and what it says of every other value."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from infra.settings.reader import ConfigurationError, SettingsReader, StackConfig

SECRET = "a-secret-of-more-than-thirty-two-bytes"


def reader_of(value: str | None, *, secret: bool = False) -> SettingsReader:
    """A reader whose configuration holds `key` alone."""
    values = {} if value is None else {"key": value}
    return SettingsReader(StackConfig("prod", values, frozenset({"key"} if secret else ())))


def problems_of(reader: SettingsReader) -> list[str]:
    try:
        reader.finish()
    except ConfigurationError as error:
        head, *problems = str(error).splitlines()
        assert head == "The configuration of stack prod has problems:"
        return [problem.removeprefix("  ") for problem in problems]
    return []


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (lambda reader: reader.text("key"), " west ", "west"),
        (lambda reader: reader.text("key", "east"), " ", "east"),
        (lambda reader: reader.text("key", ""), None, ""),
        (lambda reader: reader.integer("key", 7, 35), "7", 7),
        (lambda reader: reader.integer("key", 7, 35), "35", 35),
        (lambda reader: reader.integer("key", 7, 35, default=9), None, 9),
        (lambda reader: reader.share("key", Decimal("0.05")), "0", Decimal(0)),
        (lambda reader: reader.share("key", Decimal("0.05")), "1", Decimal(1)),
        (lambda reader: reader.share("key", Decimal("0.05")), "1.000000", Decimal(1)),
        (lambda reader: reader.share("key", Decimal("0.05")), None, Decimal("0.05")),
        (lambda reader: reader.boolean("key"), "true", True),
        (lambda reader: reader.boolean("key"), "false", False),
        (lambda reader: reader.boolean("key", default=False), None, False),
        (lambda reader: reader.boolean("key", default=True), None, True),
        (lambda reader: reader.choice("key", ("one", "two")), "two", "two"),
        (lambda reader: reader.choice("key", ("one", "two"), default="two"), None, "two"),
        (lambda reader: reader.listed("key", str.isalpha, "words"), " a , b,", ("a", "b")),
        (lambda reader: reader.listed("key", str.isalpha, "words", default=""), None, ()),
        (lambda reader: reader.matching("key", "[a-z]+", "letters"), "abc", "abc"),
    ],
)
def test_a_right_value_is_read(
    read: Callable[[SettingsReader], object], value: str | None, expected: object
) -> None:
    reader = reader_of(value)
    assert read(reader) == expected
    assert problems_of(reader) == []


@pytest.mark.parametrize("written", ["0.050", "0.000001", "0.000000", "1.0"])
def test_a_share_keeps_its_digits(written: str) -> None:
    assert str(reader_of(written).share("key", Decimal("0.05"))) == written


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (lambda reader: reader.text("key"), None, "key is not set: pulumi config set key <value>"),
        (
            lambda reader: reader.integer("key", 7, 35),
            "6",
            "key must be a whole number from 7 to 35, got '6'",
        ),
        (
            lambda reader: reader.integer("key", 7, 35),
            "36",
            "key must be a whole number from 7 to 35, got '36'",
        ),
        (lambda reader: reader.integer("key", 0, 9), "٣", "key must be a whole number from 0 to 9, got '٣'"),
        (
            lambda reader: reader.share("key", Decimal("0.05")),
            "1.1",
            "key must be a share from 0 to 1, such as 0.05, got '1.1'",
        ),
        (lambda reader: reader.boolean("key"), "yes", "key must be one of true, false, got 'yes'"),
        (
            lambda reader: reader.choice("key", ("one", "two")),
            "six",
            "key must be one of one, two, got 'six'",
        ),
        (
            lambda reader: reader.listed("key", str.isalpha, "words"),
            "a, 1, b, 2",
            "key must be words, with commas between them, got '1, 2'",
        ),
        (
            lambda reader: reader.listed("key", str.isalpha, "words"),
            ", ,",
            "key must be words, with commas between them, got ', ,'",
        ),
        (lambda reader: reader.matching("key", "[a-z]+", "letters"), "1", "key must be letters, got '1'"),
        (
            lambda reader: reader.uuid("key"),
            "me",
            "key must be a UUID, got 'me'",
        ),
        (lambda reader: None, "red", "key is not a setting"),
    ],
)
def test_a_wrong_value_becomes_one_problem(
    read: Callable[[SettingsReader], object], value: str | None, problem: str
) -> None:
    reader = reader_of(value)
    read(reader)
    assert problems_of(reader) == [problem]


def test_a_secret_is_read_only_if_it_was_set_as_one() -> None:
    assert reader_of(SECRET, secret=True).secret("key") == SECRET
    assert reader_of(None).secret("key", default="") == ""
    missing, plain = reader_of(None), reader_of(SECRET)
    missing.secret("key")
    plain.secret("key", default="")
    assert problems_of(missing) == ["key is not set: pulumi config set --secret key <value>"]
    assert problems_of(plain) == ["key must be encrypted: pulumi config set --secret key <value>"]


def test_a_wrong_value_that_was_set_as_a_secret_is_not_repeated() -> None:
    reader = reader_of("sekrit", secret=True)
    reader.integer("key", 1, 9)
    assert problems_of(reader) == ["key must be a whole number from 1 to 9"]


def test_a_conflict_is_reported_unless_a_key_of_it_has_a_problem() -> None:
    alone, beside = reader_of(None), reader_of(None)
    beside.problem("other is wrong", "other")
    for reader in (alone, beside):
        reader.text("key", "")
        reader.conflict("key does not fit other", "key", "other")
    assert problems_of(alone) == ["key does not fit other"]
    assert problems_of(beside) == ["other is wrong"]
