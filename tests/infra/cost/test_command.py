"""The command: its output, its arguments, and the section of README.md that it writes."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from infra.cost import command, report
from infra.cost.metering import estimate
from infra.settings.stacks import STACKS
from tests.infra.cost.estimates import LOAD, PRICES, reckoned, rows
from tests.infra.recording import recorded, recorded_as, recorded_with


@pytest.fixture(autouse=True)
def _recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the command use the recordings that all tests share."""
    monkeypatch.setattr(command, "record_stack", recorded)
    monkeypatch.setattr(command, "record", recorded_as)


def test_readme_holds_what_the_program_reckons() -> None:
    section = command.README.read_text().split(command.BEGIN)[1].split(command.END)[0].strip()
    assert section == command.readme_section(LOAD, PRICES), "python -m infra.cost --write-readme"


def test_the_readme_opens_with_what_the_stacks_cost() -> None:
    """Within a twentieth, so that a new alert does not rewrite the opening."""
    opening = command.README.read_text().split("\n## ")[0]
    told = dict(re.findall(r"^\| \d* ?\| `([a-z]+)`, about ([0-9,]+) \|", opening, re.MULTILINE))
    assert told.keys() == {"dev", "lean", "prod", "premium"}
    for stack, usd in told.items():
        found = reckoned(stack, LOAD.purposes[stack].users).usd
        assert float(usd.replace(",", "")) == pytest.approx(found, rel=0.05), stack


def test_the_readme_is_written_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{command.BEGIN}\nold\n{command.END}\nafter\n")
    monkeypatch.setattr(command, "README", path)
    command.write_readme("new")
    command.write_readme("newer")
    assert path.read_text() == f"before\n{command.BEGIN}\n\nnewer\n\n{command.END}\nafter\n"


def test_one_stack_is_told_with_its_lines_its_doubts_and_its_assumptions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--stack", "prod", "--users", "1000"]) == 0
    told = capsys.readouterr().out
    total = reckoned("prod").usd
    assert told.startswith(f"prod, 1,000 bots: {total:,.0f} USD a month\n")
    assert "unverified, from general knowledge" in told
    assert "USD by source of the price: infracost-output " in told
    assert "- infracost-output, 2026-11-26: infracost's output for a server" in told
    assert "budget_usd" not in told
    assert f"The customer expects 365 USD: the estimate is {total - 365:,.0f} USD above that." in told
    assert "Instances: 2.06 on average" in told
    assert all(f"- {name}: " in told for name in LOAD.figures)


def test_stacks_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    told = capsys.readouterr().out
    for each in STACKS:
        total = reckoned(each, LOAD.purposes[each].users).usd
        assert f"{total:,.0f}" in next(line for line in told.splitlines() if line.startswith(f"| {each} "))


def test_options_change_the_load(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--stack", "prod", "--symbols", "1", "--confidences", "500"])
    load = LOAD.changed(symbols_per_bot=1, confidences_per_session=500)
    total = estimate(recorded("prod"), 1000, load, PRICES).usd
    assert capsys.readouterr().out.startswith(f"prod, 1,000 bots: {total:,.0f} USD")


def test_savings_are_what_the_changed_stack_costs_less() -> None:
    found = reckoned("prod")
    offered = command.savings("prod", found, LOAD, PRICES)
    assert [each.usd for each in offered] == sorted((each.usd for each in offered), reverse=True)
    by_setting = {each.setting: each for each in offered}
    without = estimate(recorded_with("prod", edge="none"), 1000, LOAD, PRICES)
    assert by_setting["edge: none"].usd == pytest.approx(found.usd - without.usd)
    assert "edge: standard" not in by_setting, "prod has it already"
    listed = rows(report.savings_table(offered))
    assert ["`edge: none`", f"{found.usd - without.usd:,.0f}", by_setting["edge: none"].loses] in listed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--users", "many"], "'many' is not a whole number from 1 to 100,000"),
        (["--users", "0"], "'0' is not a whole number from 1 to 100,000"),
        (["--stack", "staging"], "invalid choice: 'staging'"),
        (["--savings"], "--savings needs --stack with one stack"),
    ],
)
def test_bad_arguments_get_one_clear_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_price_gets_a_clear_error_from_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without = replace(
        PRICES, prices={key: each for key, each in PRICES.prices.items() if key != "network.zone"}
    )
    monkeypatch.setattr(command, "read_prices", lambda: without)
    assert command.main(["--stack", "prod"]) == 1
    assert capsys.readouterr().err == "error: no price for network.zone: add it to infra/cost/prices.toml\n"


def test_prices_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--prices"]) == 0
    told = capsys.readouterr().out
    assert all(f"| {key} " in told for key in PRICES.prices)
    assert "retail-east-us, 2026-10-02: " in told
