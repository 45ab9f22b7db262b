"""The update bot finds its files, and the hooks run tools of the project."""

import importlib.util
import sys
from pathlib import Path

from tests.support.places import ROOT
from tests.support.workflows import DEPENDABOT, read

# The file that each kind of update reads in its directories.
MANIFESTS = {
    "pip": "*requirements*.txt",
    "npm": "package-lock.json",
    "github-actions": ".github/workflows/*.yml",
}


def test_dependency_updates_find_their_files() -> None:
    updated = set()
    for update in read(DEPENDABOT)["updates"]:
        for directory in update.get("directories") or [update["directory"]]:
            found = list((ROOT / directory.strip("/")).glob(MANIFESTS[update["package-ecosystem"]]))
            assert found, directory
            updated |= set(found)
    own = {
        path
        for manifest in ("*requirements*.txt", "package-lock.json")
        for path in ROOT.rglob(manifest)
        if not {".local", ".venv", "node_modules"} & set(path.relative_to(ROOT).parts)
    }
    assert own <= updated


def test_hooks_run_the_projects_own_tools() -> None:
    for repository in read(ROOT / ".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            program, *arguments = hook["entry"].split()
            assert (Path(sys.executable).parent / Path(program).name).exists(), hook["id"]
            if arguments[:1] == ["-m"]:
                assert importlib.util.find_spec(arguments[1]), hook["id"]
