"""The .sql files keep the form that the loader and the reader rely on."""

from pathlib import Path

import pytest

import shared.sql
from shared.sql import areas, migrations, queries


@pytest.mark.parametrize("area", areas())
def test_every_query_has_a_name_a_line_of_description_and_a_semicolon(area: str) -> None:
    for name, query in queries(area).items():
        assert name.isidentifier()
        assert query.endswith(b";"), name


def test_a_query_without_description_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "bad.sql").write_text("-- name: lonely\nselect 1;\n")
    monkeypatch.setattr(shared.sql, "_HERE", tmp_path)
    with pytest.raises(ValueError, match="lonely"):
        queries("bad")


def test_a_name_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "bad.sql").write_text("-- name: twin\n-- A.\nselect 1;\n" * 2)
    monkeypatch.setattr(shared.sql, "_HERE", tmp_path)
    with pytest.raises(ValueError, match="twin"):
        queries("bad")


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [name[:4] for name, _, _ in migrations()] == [f"{n + 1:04}" for n in range(len(migrations()))]


def test_the_loader_stays_small() -> None:
    assert shared.sql.__file__ is not None
    assert len(Path(shared.sql.__file__).read_text().splitlines()) < 40
