"""The package for deployment: what is in it, that it runs as it is, that it comes out the same twice."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from operations.package import PACKAGES, ROOT, compile_all, main, pack, source_files, stage
from shared.errors import ConfigurationError
from shared.version import VERSION


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's own files as a package; its dependencies are left to this environment."""
    made = tmp_path_factory.mktemp("package")
    stage(ROOT, made / "tree", f"{VERSION}+abc1234")
    compile_all(made / "tree")
    pack(made / "tree", made / "app.zip")
    return made / "app.zip"


def test_it_holds_the_app_and_nothing_of_the_workshop(package: Path) -> None:
    names = zipfile.ZipFile(package).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"function_app.py", "functions", "host.json", "requirements.txt", "shared"} <= tops
    assert not [top for top in tops if top.startswith(".")]
    assert not tops & {
        "operations",
        "docs",
        "examples",
        "infra",
        "loadtests",
        "local",
        "tests",
        "pyproject.toml",
    }
    assert "shared/sql/migrations/0001_trades.sql" in names
    assert "shared/adapters/redis/lua/take_requests.lua" in names


def test_every_source_has_bytecode_that_is_never_checked_against_it(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
        sources = [name for name in names if name.endswith(".py")]
        for name in sources:
            folder, _, file = name.rpartition("/")
            compiled = f"{folder}/__pycache__/{file[:-3]}.cpython-313.pyc".lstrip("/")
            assert compiled in names
            flags = int.from_bytes(archive.read(compiled)[4:8], "little")
            assert flags == 0b01, name  # by hash, unchecked
    assert len(sources) > 50


def test_the_app_starts_from_it_and_tells_the_build(package: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(package).extractall(tmp_path)
    # A source that were read again would end this start.
    (tmp_path / "function_app.py").write_text("raise SystemExit('compiled anew')")
    program = (
        "import sys; sys.path.insert(0, '.'); import function_app; from functions.openapi import document; "
        "from shared.adapters.strategies import shipped_strategies; "
        "version = document(shipped_strategies())['info']['version']; "
        "print(len(function_app.app.get_functions()), version, function_app.__cached__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    count, version, cached = run.stdout.split()
    assert int(count) > 15
    assert version == f"{VERSION}+abc1234"
    assert cached.endswith("__pycache__/function_app.cpython-313.pyc")


def test_the_same_input_makes_the_same_bytes(package: Path, tmp_path: Path) -> None:
    stage(ROOT, tmp_path / "tree", f"{VERSION}+abc1234")
    compile_all(tmp_path / "tree")
    pack(tmp_path / "tree", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_ignored_names_match_whole_paths(tmp_path: Path) -> None:
    (tmp_path / ".funcignore").write_text("# comment\ntests/\nlocal.settings*.json\n*.md\n")
    for name in (
        "tests/a.py",
        "shared/tests.py",
        "local.settings.x.json",
        "README.md",
        ".env",
        "old.zip",
        "app.pyc",
        "app.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path) for path in source_files(tmp_path)] == ["app.py", "shared/tests.py"]


def test_what_is_no_python_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(:\n")
    with pytest.raises(ConfigurationError, match=r"bad\.py"):
        compile_all(tmp_path)


def test_packages_lie_where_the_worker_looks() -> None:
    """As Microsoft's worker library has it, which this environment holds."""
    from azure_functions_runtime.utils.constants import CUSTOMER_PACKAGES_PATH

    assert f"/home/site/wwwroot/{PACKAGES.as_posix()}" == CUSTOMER_PACKAGES_PATH


def test_without_a_build_the_version_is_that_of_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("operations.package.install", lambda _, packages: packages.mkdir(parents=True))
    assert main(["--output", str(tmp_path / "app.zip")]) == 0
    assert capsys.readouterr().out.startswith(f"version {VERSION}\n")


@pytest.mark.parametrize("build", ["", "a b", "a/b", "x" * 41])
def test_a_build_is_letters_and_digits(build: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--build", build])
    assert left.value.code == 2
