"""Checks the queries of alerts and workbook with Microsoft's parser, and runs them in DuckDB.

The parser knows Kusto's functions, gets the tables and columns, and finds unknown names. DuckDB runs a
translation, which refuses what it cannot translate correctly. This module adds two functions that it lacks.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import batched
from pathlib import Path
from typing import Any

import duckdb
import duckdb_kql
from duckdb_kql.translate import functions

from local.places import ROOT
from local.setup.node import find_node, install_packages

INFRA = ROOT / "infra"
_PARSER = Path(__file__).parent / "kusto"

type Schema = Mapping[str, Mapping[str, str]]
type Row = dict[str, Any]

_COMMON = {
    "TimeGenerated": "datetime",
    "ItemCount": "int",
    "Properties": "dynamic",
    "OperationId": "string",
    "OperationName": "string",
    "ParentId": "string",
    "AppRoleName": "string",
    "AppRoleInstance": "string",
    "AppVersion": "string",
    "SDKVersion": "string",
}
_CALL = {
    "Id": "string",
    "Name": "string",
    "Success": "bool",
    "ResultCode": "string",
    "DurationMs": "real",
}
# Columns of the workspace's tables that our queries use, as Azure Monitor documents them.
TABLES: Schema = {
    "AppRequests": {**_COMMON, **_CALL, "Url": "string"},
    "AppDependencies": {
        **_COMMON,
        **_CALL,
        "DependencyType": "string",
        "Target": "string",
        "Data": "string",
    },
    "AppMetrics": {**_COMMON, "Name": "string", "Sum": "real", "Min": "real", "Max": "real"},
    "AppExceptions": {**_COMMON, "ExceptionType": "string", "OuterMessage": "string"},
    "AppAvailabilityResults": {**_COMMON, **_CALL, "Location": "string", "Message": "string"},
    "_LogOperation": {
        "TimeGenerated": "datetime",
        "Category": "string",
        "Operation": "string",
        "Level": "string",
        "Detail": "string",
    },
    "Usage": {
        "TimeGenerated": "datetime",
        "DataType": "string",
        "Quantity": "real",
        "IsBillable": "bool",
    },
}
# Tables that Azure fills; the app sends nothing to them.
PLATFORM_TABLES = frozenset({"AppAvailabilityResults", "_LogOperation", "Usage"})


def queries() -> dict[str, str]:
    """Every .kql file of infra, by its path without the suffix."""
    return {
        str(path.relative_to(INFRA).with_suffix("")): path.read_text(encoding="utf-8")
        for path in sorted(INFRA.rglob("*.kql"))
    }


@dataclass(frozen=True)
class Parsed:
    """The parser's findings on one query; `properties` are the keys that the query reads from Properties."""

    problems: list[str]
    tables: list[str]
    texts: list[str]
    properties: list[str]


def parsed(schema: Schema, texts: Mapping[str, str]) -> dict[str, Parsed]:
    modules = install_packages(_PARSER, ROOT / ".local" / "kusto")
    run = subprocess.run(
        [find_node().node, _PARSER / "check.js"],
        input=json.dumps({"schema": schema, "queries": texts}),
        env={"NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {name: Parsed(**said) for name, said in json.loads(run.stdout).items()}


_ROWS_A_STATEMENT = 100
_SQL_TYPES = {
    "datetime": "TIMESTAMP",
    "string": "VARCHAR",
    "real": "DOUBLE",
    "int": "INTEGER",
    "bool": "BOOLEAN",
    "dynamic": "JSON",
}


@cache
def _complete_the_translation() -> None:
    """Adds functions that the translation lacks, as Kusto documents them."""
    weights = "flatten(list(list_transform(range(CAST({1} AS BIGINT)), lambda _n: {0})))"
    position = "CAST(ceil(sum({1}) * {2} / 100.0) AS BIGINT)"
    percentile = f"list_extract(list_sort({weights}), {position})"
    functions.AGGREGATE_FUNCTIONS["percentilew"] = functions.AggregateSpec("percentilew", percentile, (3,))
    local = "timezone({1}, timezone('UTC', {0}))"
    name = "datetime_utc_to_local"
    functions.SCALAR_FUNCTIONS[name] = functions.FunctionSpec(name, "template", local, (2,))


@contextmanager
def workspace(rows: Iterable[tuple[str, Row]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Makes all tables, and inserts each row into its table; missing columns are null."""
    _complete_the_translation()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table, columns in TABLES.items():
            declared = ", ".join(f'"{name}" {_SQL_TYPES[kind]}' for name, kind in columns.items())
            connection.execute(f'CREATE TABLE "{table}" ({declared})')
        complete: dict[str, list[list[Any]]] = {}
        for table, row in rows:
            assert set(row) <= set(TABLES[table]), set(row) - set(TABLES[table])
            values = [row.get(name) for name in TABLES[table]]
            as_json = [json.dumps(value) if isinstance(value, dict) else value for value in values]
            complete.setdefault(table, []).append(as_json)
        for table, all_values in complete.items():
            one = f"({', '.join('?' for _ in TABLES[table])})"
            # Many rows a statement, because `executemany` takes ten times as long.
            for some in batched(all_values, _ROWS_A_STATEMENT, strict=False):
                marks = ", ".join([one] * len(some))
                values = [value for row_values in some for value in row_values]
                connection.execute(f'INSERT INTO "{table}" VALUES {marks}', values)
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, query: str, at: datetime | None = None) -> list[Row]:
    """The query's answer; `at` is the time of `ago`, which is now by default."""
    answer = duckdb_kql.kql(connection, query, query_now=at)
    return [dict(zip(answer.columns, found, strict=True)) for found in answer.fetchall()]


def run(query: str, rows: Iterable[tuple[str, Row]], at: datetime | None = None) -> list[Row]:
    """The query's answer over a workspace that holds only these rows."""
    with workspace(rows) as connection:
        return ask(connection, query, at)
