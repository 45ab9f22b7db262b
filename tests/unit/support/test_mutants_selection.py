"""Which modules get faults, which faults are tried, and which tests run for them."""

import subprocess
from pathlib import Path

import pytest

from tests.support.mutants import __main__ as command
from tests.support.mutants.__main__ import diff, share, summary
from tests.support.mutants.faults import Fault
from tests.support.mutants.selection import (
    Imports,
    changed_files,
    choose_faults,
    project_files,
    targets,
)
from tests.support.mutants.trials import Outcome, Recording

FAULT = Fault("shop/prices.py", "constant", 1, range(1, 2), 4, 5, b"2")
FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": "a = 1\n",
    "shop/orders.py": "from . import prices\n",
    "shop/stock.py": "a = 1\n",
    "tests/unit/test_orders.py": "from shop import orders\n",
    "tests/unit/test_prices.py": "import shop.prices\n",
    "tests/unit/test_receipts.py": "from shop.prices import a\n",
    "tests/unit/test_stock.py": "def test_stock():\n    from shop import stock\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def git(project: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)


def test_files_that_differ_from_the_last_release_committed_or_not(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "First")
    git(project, "tag", "v1")
    (project / "shop/prices.py").write_text("a = 2\n")
    git(project, "commit", "-qam", "Second")
    (project / "shop/stock.py").write_text("a = 2\n")
    (project / "shop/new.py").write_text("a = 2\n")

    base, files = changed_files(project, None)

    assert (base, files) == ("v1", ["shop/new.py", "shop/prices.py", "shop/stock.py"])
    assert changed_files(project, "HEAD") == ("HEAD", ["shop/new.py", "shop/stock.py"])
    assert set(project_files(project)) == {*FILES, "shop/new.py"}
    with pytest.raises(SystemExit, match="git diff failed"):
        changed_files(project, "no-such-revision")


def test_only_modules_outside_tests_get_faults() -> None:
    files = [*FILES, "README.md", "shopping/cart.py"]
    modules = [name for name in FILES if name.startswith("shop/")]
    assert targets(files, []) == [*modules, "shopping/cart.py"]
    assert targets(files, ["shop/"]) == modules
    assert targets(files, ["shop/stock.py"]) == ["shop/stock.py"]


def test_the_seed_decides_and_no_line_gets_two_faults(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("\n".join(f"a = b < {number} and c" for number in range(50)))

    chosen = choose_faults(tmp_path, ["a.py"], 20, seed=1)

    assert choose_faults(tmp_path, ["a.py"], 20, seed=1) == chosen
    assert choose_faults(tmp_path, ["a.py"], 20, seed=2) != chosen
    assert len({fault.line for fault in chosen}) == 20
    assert {fault.kind for fault in chosen} == {"comparison", "constant", "and/or"}
    assert len(choose_faults(tmp_path, ["a.py"], None, seed=1)) == 50


def test_near_tests_come_first_and_tests_that_never_load_the_module_not_at_all(project: Path) -> None:
    assert Imports(project, list(FILES), "tests/unit").near("shop/prices.py") == [
        "tests/unit/test_prices.py",
        "tests/unit/test_receipts.py",
        "tests/unit/test_orders.py",
    ]


def test_what_a_conftest_loads_is_loaded_by_the_tests_beside_it(project: Path) -> None:
    conftest = "tests/unit/conftest.py"
    (project / conftest).write_text("import shop.prices\n")
    near = Imports(project, [*FILES, conftest], "tests/unit").near("shop/prices.py")
    assert "tests/unit/test_stock.py" in near


def test_tests_that_run_the_line_come_first_quick_ones_before_slow_ones() -> None:
    tests = {"b.py::slow": 2.0, "b.py::quick": 1.0, "a.py::near": 3.0, "a.py::elsewhere": 1.0}
    lines = {"shop/prices.py": {1: ["b.py::slow", "b.py::quick", "a.py::near"], 2: ["a.py::elsewhere"]}}
    recording = Recording(tests, lines)
    assert recording.witnesses(FAULT, ["a.py", "b.py"]) == ["a.py::near", "b.py::quick", "b.py::slow"]
    assert recording.duration_s(["a.py", "b.py::slow"]) == 6.0


def test_the_summary_shows_each_unnoticed_fault_and_the_share(project: Path) -> None:
    outcomes = [Outcome(FAULT, None, 1.0), Outcome(FAULT, "timeout", 1.0), Outcome(FAULT, "a.py::b", 1.0)]

    lines = summary(outcomes, lambda fault: diff(fault, project)).splitlines()

    assert lines[0] == "shop/prices.py:1 constant"
    assert {"-a = 1", "+a = 2"} < set(lines)
    assert lines[-2].split() == ["shop", "2", "of", "3"]
    assert lines[-1].split(maxsplit=4)[1:] == ["2", "of", "3", "67%, 1 of them by a timeout"]
    assert share([]) == 100


def test_faults_can_be_listed_without_trying_them(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "init", "-q")
    monkeypatch.setattr(command, "ROOT", project)

    assert command.main(["shop/stock.py", "--list"]) == 0
    assert "1 faults in 1 modules, seed 1.\n\nshop/stock.py:1 constant\n" in capsys.readouterr().out
    assert command.main(["tests", "--list"]) == 0
    assert capsys.readouterr().out == "Nothing to try.\n"
    with pytest.raises(SystemExit, match="no-such-place does not exist"):
        command.main(["no-such-place"])
