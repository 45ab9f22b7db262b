"""The slim packages: the app runs, trains and serves from them alone, and writes nothing there."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from operations.package import PACKAGES, ROOT, compile_all, stage
from operations.slimming import EXCEPTIONS, PARTS, SOURCE_SUFFIXES, TEST_DIRECTORIES, slim, unneeded
from shared.domain.confidence.training import TrainingRequest
from shared.version import VERSION
from tests.support.outcomes import made_outcomes
from tests.support.strategies import DEFAULT

# Without the site-packages of this environment: only what is in the package can be imported.
BARE = [str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"), "-B", "-s"]

# Imports every module of ours and all that they import in their functions, then indexes the app.
CLOSURE = """
import ast, importlib, json, sys
from pathlib import Path
import function_app
count = len(function_app.app.get_functions())
for source in sorted(path for top in ("functions", "shared") for path in Path(top).rglob("*.py")):
    if source.stem == "__main__":
        continue
    module = ".".join(source.with_suffix("").parts).removesuffix(".__init__")
    importlib.import_module(module)
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            found = importlib.import_module(node.module)
            for alias in node.names:
                # Some names of ours exist for type checkers alone.
                if not hasattr(found, alias.name) and hasattr(found, "__path__"):
                    importlib.import_module(f"{node.module}.{alias.name}")
places = {str(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
print(json.dumps({"functions": count, "places": sorted(places)}))
"""

# Trains as production does, in a process of its own, and serves what it made.
TRAINING = """
import asyncio, sys
from datetime import UTC, datetime
import msgspec, numpy as np
from shared.adapters.inference import OnnxInference
from shared.adapters.training_process import TrainingProcess
from shared.domain.confidence.models import StoredModel, served, version_of
from shared.domain.confidence.training import TrainingRequest
from shared.training.dataset import make_dataset

async def main():
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=TrainingRequest)
    result = await TrainingProcess().train(request)
    made_at = datetime(2026, 1, 1, tzinfo=UTC)
    stored = StoredModel(
        version=version_of("vwap_bounce", made_at, result.model.artefact), strategy="vwap_bounce",
        status="champion", basis="model", artefact=result.model.artefact,
        document=msgspec.to_builtins(result.model.document), created_at=made_at,
    )
    model = served(stored, request.strategy)
    engine = OnnxInference()
    await engine.load(model)
    states = make_dataset(request.strategy, request.outcomes).states
    probabilities = engine.probabilities(model, states)
    answer = {"decision": result.decision, "difference": result.model.document.scores["export_difference"],
              "libraries": result.model.document.libraries, "lowest": float(np.min(probabilities)),
              "highest": float(np.max(probabilities)), "n": len(probabilities)}
    print(msgspec.json.encode(answer).decode())

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app and the packages of requirements.txt as this environment has them, slimmed."""
    made = tmp_path_factory.mktemp("slim")
    stage(ROOT, made, VERSION)
    compile_all(made)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name, _, marker = line.partition(";")
        if "PyPy" in marker and "!=" not in marker:
            continue
        distribution = importlib.metadata.distribution(name.partition("==")[0].strip())
        for file in distribution.files or []:
            source = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or not source.is_file():
                continue
            target = made / PACKAGES / file
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(source, target)
    slim(made / PACKAGES)
    # Where a company reads TLS traffic, its interpreter adds the company's certificate to certifi's file at
    # the first start. The app does not write that.
    subprocess.run([*BARE, "-c", "import certifi"], env=environment(made), check=True)
    return made


def environment(tree: Path) -> dict[str, str]:
    """The variables of a process that finds the app and its packages in `tree`, and nothing else."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tree}{os.pathsep}{tree / PACKAGES}"}


def _link(source: Path, target: Path) -> None:
    """A second name for the same file, because a copy of all packages takes seconds."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def run(tree: Path, program: str, given: bytes = b"") -> dict[str, Any]:
    """What `program` prints, which runs in `tree` with its packages alone."""
    before = listing(tree)
    done = subprocess.run(
        [*BARE, "-c", program],
        cwd=tree,
        env=environment(tree),
        input=given,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    # Root may write where a mode forbids it. So what proves that a read-only mount suffices is that nothing
    # was written.
    assert listing(tree) == before
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def listing(tree: Path) -> dict[str, int]:
    """Every file with its time, without the bytecode of packages, which this environment may not have."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in tree.rglob("*")
        if path.is_file() and not (path.suffix == ".pyc" and path.is_relative_to(tree / PACKAGES))
    }


def test_the_app_imports_all_that_it_ever_imports_from_the_slim_package(tree: Path) -> None:
    found = run(tree, CLOSURE)
    assert found["functions"] > 15
    others = [
        place
        for place in found["places"]
        if not place.startswith((str(tree), "functions", "shared", "function_app"))
        and "site-packages" in place
    ]
    assert not others
    loaded = {
        Path(place).relative_to(tree / PACKAGES).parts[0]
        for place in found["places"]
        if str(tree / PACKAGES) in place
    }
    assert {"sklearn", "scipy", "skl2onnx", "onnx", "onnxruntime", "psycopg", "redis", "azure"} <= loaded


def test_training_fits_exports_and_serves_from_the_slim_package(tree: Path) -> None:
    outcomes = made_outcomes(400, seed=1, signal=1.5)
    request = TrainingRequest(strategy=DEFAULT, outcomes=outcomes, data_hash="0" * 64, champion=None)
    found = run(tree, TRAINING, msgspec.json.encode(request))
    assert (found["decision"], found["n"]) == ("model", 400)
    assert found["difference"] <= 1e-5
    assert 0 < found["lowest"] < found["highest"] < 1
    # The versions in a model's document come from the packages' metadata.
    assert found["libraries"] == {
        name: importlib.metadata.version(name)
        for name in ("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx")
    }


def test_what_no_rule_may_find_is_there_and_the_rest_is_not(tree: Path) -> None:
    packages = tree / PACKAGES
    assert not list(unneeded(packages))
    for path in packages.rglob("*"):
        inside = path.relative_to(packages)
        if inside.parts[0].endswith(".dist-info"):
            continue
        assert path.suffix not in SOURCE_SUFFIXES
        assert TEST_DIRECTORIES.isdisjoint(inside.parts[:-1]) or inside.as_posix() in EXCEPTIONS
    for metadata in packages.glob("*.dist-info"):
        assert (metadata / "METADATA").is_file()
        name = re.split(r"-\d", metadata.name)[0]
        distribution = importlib.metadata.PathDistribution(metadata)
        missing = [
            str(file)
            for file in distribution.files or []
            if ".." not in file.parts and not Path(str(file.locate())).exists()
        ]
        assert not missing, name


def test_every_part_that_is_left_out_by_name_is_in_the_packages() -> None:
    """A name that matches nothing is left from an older version of its package."""
    slimmed = ("onnxruntime", "scikit-learn")
    files = [str(file) for name in slimmed for file in importlib.metadata.files(name) or []]
    for pattern in PARTS:
        if pattern not in ("bin", "include"):
            expression = re.compile(re.escape(pattern).replace(r"\*", "[^/]*") + "(/|$)")
            assert any(expression.match(file) for file in files), pattern


def test_licences_metadata_and_code_stay_and_the_list_of_files_is_true(tmp_path: Path) -> None:
    record = "a/__init__.py,,\na/tests/test_a.py,,\na/_core.pyi,,\na-1.dist-info/RECORD,,\n../../bin/a,,\n"
    files = (
        "a/__init__.py", "a/testing.py", "a/tests/test_a.py", "a/tests/LICENSE", "a/_core.pyi",
        "a/src/core.cc", "a/test.py", "bin/a", "sklearn/datasets/data/x.csv", "sklearn/datasets/_base.py",
        "a-1.dist-info/licenses/tests/LICENSE.c", "a-1.dist-info/RECORD",
    )  # fmt: skip
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(record if name.endswith("RECORD") else "")
    left_out = slim(tmp_path)
    assert left_out.files == 5
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "a-1.dist-info/RECORD", "a-1.dist-info/licenses/tests/LICENSE.c", "a/__init__.py", "a/test.py",
        "a/testing.py", "a/tests/LICENSE", "sklearn/datasets/_base.py",
    ]  # fmt: skip
    kept = (tmp_path / "a-1.dist-info/RECORD").read_text()
    assert kept == "a/__init__.py,,\na-1.dist-info/RECORD,,\n../../bin/a,,\n"
    assert slim(tmp_path).files == 0
