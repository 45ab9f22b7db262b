"""Which root a caller means that writes a contract, a series or another spelling."""

import string
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.bars import is_symbol
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.symbols import SMALLER_CONTRACTS, root_hint, root_of, symbol_fault

NAMES = {root: root for root in INSTRUMENTS} | SMALLER_CONTRACTS
MONTHS = "FGHJKMNQUVXZ"
YEARS = st.one_of(
    st.integers(0, 9).map(str), st.integers(0, 99).map("{:02}".format), st.integers(2000, 2099).map(str)
)
CONTRACTS = st.builds("{}{}".format, st.sampled_from(MONTHS), YEARS)
# As charts, brokers and feeds write them.
WRITTEN = [
    "{root}{month}{year}",
    "/{root}",
    "/{root}{month}{year}",
    "/{root}{month}{year}:XCME",
    "{root}1!",
    "{root}2!",
    "CME_MINI:{root}1!",
    "CBOT:{root}{month}{year}",
    "@{root}",
    "@{root}#",
    "@{root}#C",
    "@{root}=102XN",
    "{root}=F",
    "{root}{month}{year}.CME",
    "{root}_F",
    "${root}",
    "#{root}",
    "{root} 12-25",
    "{root} 03-26 Globex",
    "{root} ##-##",
    "{root} DEC25",
    "{root}1 Index",
    "{root}{month}{year} Index",
    "{root}c1",
    "{root}.c.0",
    "{root}.FUT",
    "{root}*0",
    "{root}-{month}{year}",
    "{root}{month}{year}_FUT_CME",
]


@given(st.sampled_from(sorted(NAMES)), st.sampled_from(WRITTEN), CONTRACTS, st.booleans(), st.booleans())
def test_each_vendors_name_of_a_contract_has_its_root(
    name: str, form: str, contract: str, lower: bool, blanks: bool
) -> None:
    text = form.format(root=name, month=contract[0], year=contract[1:])
    text = f" {text}\t" if blanks else text
    text = text.lower() if lower else text
    assert root_of(text) == NAMES[name], text
    hint = root_hint(text)
    assert hint is not None
    assert hint.endswith(f"send {NAMES[name]}.")
    assert hint.isascii()
    assert hint.isprintable()


@pytest.mark.parametrize("root", INSTRUMENTS)
def test_a_root_is_its_own_and_needs_no_hint(root: str) -> None:
    assert (root_of(root), root_hint(root)) == (root, None)
    for text in (root.lower(), root.capitalize(), f" {root}", f"{root}\n"):
        if text != root:
            assert root_of(text) == root
            assert str(root_hint(text)).startswith("Symbols are in capitals")


@pytest.mark.parametrize(("smaller", "root"), SMALLER_CONTRACTS.items())
def test_a_smaller_contract_is_a_part_of_its_root_for_trades_and_not_for_bars(
    smaller: str, root: str
) -> None:
    for text in (smaller, f"{smaller}Z5", f"/{smaller}", smaller.lower()):
        hint = str(root_hint(text))
        assert f"is a smaller contract than {root}." in hint
        assert f"as quantity, such as {'0.5' if smaller == 'QM' else '0.1'};" in hint
        assert f"no bars of it, but those of {root} itself" in hint
        assert hint.endswith(f"send {root}.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "GC",
        "gc",
        "GCZ5",
        "ESTX",
        "SES",
        "ESTOXX50",
        "MESS",
        "ES/NQ",
        "SPX",
        "XX",
        "E",
        "S",
        "ESA5",
        "12-25",
    ],
)
def test_another_text_is_of_no_root_that_we_know(text: str) -> None:
    assert (root_of(text), root_hint(text)) == (None, None)
    assert symbol_fault(text).startswith("Expected a root symbol in capitals, such as ES, got ")


@given(st.text(max_size=60))
def test_any_text_is_answered_in_short_printable_ascii(text: str) -> None:
    fault = symbol_fault(text)
    assert fault.isascii()
    assert fault.isprintable()
    assert len(fault) < 300
    assert root_of(text) in {None, *INSTRUMENTS}


@given(st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=3))
def test_no_other_symbol_of_three_letters_is_taken_for_a_contract(text: str) -> None:
    """The independent rule: a name, alone, with a month's letter, or with the number of a series."""
    endings = ["", *MONTHS, *string.digits, *map("".join, product(string.digits, repeat=2))]
    endings += map("".join, product(MONTHS, string.digits))
    meant = {root for name, root in NAMES.items() for ending in endings if name + ending == text}
    assert root_of(text) == (meant.pop() if meant else None)


def test_long_texts_cost_nothing() -> None:
    for text in ("ES" * 500_000, "E" * 41, " " * 1_000_000 + "ES"):
        assert root_of(text) is None


def test_every_hint_names_a_symbol() -> None:
    assert all(is_symbol(root) for root in NAMES.values())
