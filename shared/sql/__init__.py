"""Loads the SQL files: named queries, migrations, and schema.sql, which equals all migrations together."""

from hashlib import sha256
from pathlib import Path

_HERE = Path(__file__).parent
_MARK = "-- name: "
NAMES: dict[object, str] = {}  # `area.name` of each loaded query; traces show it instead of the SQL


def queries(area: str) -> dict[str, bytes]:
    """The queries in queries/<area>.sql by name; two lines above each give name and description."""
    found: dict[str, bytes] = {}
    for part in (_HERE / "queries" / f"{area}.sql").read_text(encoding="utf-8").split(_MARK)[1:]:
        name, description, query = part.split("\n", 2)
        if name in found or not description.startswith("-- ") or not query.strip():
            raise ValueError(f"queries/{area}.sql: {name} lacks a description or SQL, or is repeated")
        found[name] = query.strip().encode()
        NAMES[found[name]] = f"{area}.{name}"
    return found


def counting(query: bytes) -> bytes:
    """The query that counts the rows of another; its parameters stay."""
    return b"select count(*) from (" + query.rstrip(b"; \n") + b") as rows"


def areas() -> list[str]:
    return sorted(path.stem for path in (_HERE / "queries").glob("*.sql"))


def migrations() -> list[tuple[str, bytes, str]]:
    """(name, SQL, SHA-256 in hex) of every migration, in the order in which they are applied."""
    files = sorted((_HERE / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [(each.stem, sql := each.read_bytes(), sha256(sql).hexdigest()) for each in files]


def schema() -> bytes:
    return (_HERE / "schema.sql").read_bytes()
