"""The bench's pages of trades: a year of partitions, and trades enough for the deepest page."""

import sys

import pytest

from loadtests.bench import bulk_writes


async def test_pages_are_read_at_every_depth_of_a_year(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = bulk_writes.parser().parse_args(["--keyset-rows", "2000", "--page", "2", "--page-calls", "1"])
    assert await bulk_writes.measure_pages(database_url, options) >= 1
    assert "of 2,000 trades in 12 months" in capsys.readouterr().out


def test_too_few_trades_for_the_deepest_page_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bulk_writes", "--keyset-rows", "99999"])
    with pytest.raises(SystemExit) as refused:
        bulk_writes.main()
    assert refused.value.code == 2
    assert "--keyset-rows must be 0 or at least 100000" in capsys.readouterr().err
