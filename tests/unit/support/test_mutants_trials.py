"""A fault is in the copy while the tests run, and what their runs say decides whether it is noticed."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests.support.mutants import trials
from tests.support.mutants.faults import Fault
from tests.support.mutants.selection import Imports
from tests.support.mutants.trials import Outcome, Recording, copy_project, try_faults

FAULT = Fault("shop/prices.py", "constant", 1, range(1, 2), 4, 5, b"2")
WITNESS, OTHER = "tests/test_prices.py::witness", "tests/test_prices.py::other"
RECORDING = Recording({WITNESS: 0.1, OTHER: 0.1}, {"shop/prices.py": {1: [WITNESS]}})
FILES = {"shop/prices.py": "a = 1\n", "tests/test_prices.py": "import shop.prices\n"}

Run = tuple[int | None, str]
Tries = Callable[..., Awaitable[tuple[str | None, list[list[str]]]]]
PASSED: Run = (0, "2 passed")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name, text in FILES.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    copy_project(project, list(FILES), tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def outcome_of(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Tries:
    """Tries FAULT with runs of pytest that answer as given, in that order."""

    async def tried(*runs: Run) -> tuple[str | None, list[list[str]]]:
        answers = iter(runs)
        asked: list[list[str]] = []

        async def run(where: Path, chosen: Sequence[str], *_: object) -> Run:
            assert (where / FAULT.path).read_text() == "a = 2\n"
            asked.append(list(chosen))
            return next(answers)

        monkeypatch.setattr(trials, "_pytest", run)
        outcomes: list[Outcome] = []
        imports = Imports(copy, list(FILES), "tests")
        await try_faults([FAULT], [copy], RECORDING, imports, outcomes.append)
        assert (copy / FAULT.path).read_text() == "a = 1\n"
        assert next(answers, None) is None
        return outcomes[0].noticed_by, asked

    return tried


async def test_a_test_that_runs_the_line_notices_it_first(outcome_of: Tries) -> None:
    tried = await outcome_of((1, f"FAILED {WITNESS} - assert 2 == 1"))
    assert tried == (WITNESS, [[WITNESS]])


async def test_then_every_file_that_loads_the_module_runs(outcome_of: Tries) -> None:
    tried = await outcome_of(PASSED, PASSED)
    assert tried == (None, [[WITNESS], ["tests/test_prices.py"]])


async def test_a_run_that_hangs_or_cannot_import_notices_it(outcome_of: Tries) -> None:
    assert (await outcome_of((None, "")))[0] == "timeout"
    assert (await outcome_of((2, "ERROR tests/test_prices.py")))[0] == "import"


async def test_a_witness_that_lost_its_name_proves_nothing(outcome_of: Tries) -> None:
    assert (await outcome_of((4, "ERROR: not found"), PASSED))[0] is None


async def test_a_failure_that_does_not_repeat_is_not_the_faults(outcome_of: Tries) -> None:
    failure = (1, f"FAILED {OTHER} - assert 1000 < 1000")
    assert (await outcome_of(PASSED, failure, failure))[0] == OTHER
    tried = await outcome_of(PASSED, failure, PASSED, PASSED)
    again = [f"--deselect={OTHER}", "tests/test_prices.py"]
    assert tried == (None, [[WITNESS], ["tests/test_prices.py"], [OTHER], again])
