"""`python -m operations.models` on a real server: what training froze, an operator sees and accepts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from loadtests.bench.past_signals import AlwaysOpen
from operations.license import NAMES
from operations.models import main
from shared.adapters.postgres import Database, ModelStore, TrainingStore
from shared.adapters.training_process import TrainingProcess
from shared.services.settlement import SettlementService
from shared.services.training import TrainingReport, TrainingService
from tests.support.outcomes import made_outcomes
from tests.support.published import publish
from tests.support.strategies import DEFAULT, STRATEGIES

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STATE", str(tmp_path))
    content = {
        "hub": "signals",
        "database_url": database_url,
        "redis_url": "redis://127.0.0.1:1",
        "tables_connection_string": "UseDevelopmentStorage=true",
        "webpubsub_connection_string": f"Endpoint=http://127.0.0.1:1;AccessKey={'k' * 44};Version=1.0;",
    }
    (tmp_path / "stack.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "secrets.json").write_text(json.dumps({"api_key_pepper": "p" * 48}), encoding="utf-8")

    def run_(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_


async def trained(database: Database) -> TrainingReport:
    store = TrainingStore(database)
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    service = TrainingService(
        strategies=STRATEGIES,
        outcomes=store,
        models=ModelStore(database),
        trainer=TrainingProcess(),
        count=lambda name, count=1: None,
    )
    return await service.run(DEFAULT, NOW)


@pytest.fixture
async def frozen(database: Database) -> tuple[str, str]:
    """The version that is served, and the frozen one: a feed has gone wrong, and everything wins."""
    await publish(database, made_outcomes(300, seed=3, signal=0, start=FIRST))
    served = (await trained(database)).promoted
    wrong = made_outcomes(400, seed=4, signal=0, start=FIRST + timedelta(days=16))
    await publish(database, [msgspec.structs.replace(one, won=True) for one in wrong])
    report = await trained(database)
    assert (report.outcome, report.promoted) == ("frozen", None)
    assert served is not None
    assert report.waiting is not None
    return served, report.waiting


def champion(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select version from models where status = 'champion'").fetchone()
    assert row is not None
    return str(row[0])


def test_an_operator_sees_what_is_frozen_and_accepts_it(
    frozen: tuple[str, str], run: Run, database_url: str
) -> None:
    served, waiting = frozen
    assert champion(database_url) == served
    code, out, err = run("list", "--strategy", "vwap_bounce")
    assert (code, err) == (0, "")
    statuses = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert (statuses[served], statuses[waiting]) == ("champion", "frozen")
    assert list(statuses.values()).count("frozen") == 1

    code, out, err = run("accept", waiting)
    assert (code, out, err) == (0, f"{waiting} is served within five seconds.\n", "")
    assert champion(database_url) == waiting
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select action, subject, detail from audit").fetchone()
    assert row == ("model accepted", waiting, {"strategy": "vwap_bounce"})


def test_only_a_frozen_version_can_be_accepted(frozen: tuple[str, str], run: Run, database_url: str) -> None:
    served, _ = frozen
    code, _, err = run("accept", served)
    assert (code, err.partition(":")[0]) == (1, "conflict")
    assert "champion and not frozen" in err
    code, _, err = run("accept", "nobody")
    assert (code, err.partition(":")[0]) == (1, "not_found")
    assert champion(database_url) == served


def test_a_list_without_models_says_so(run: Run) -> None:
    assert run("list") == (0, "there are no models\n", "")
