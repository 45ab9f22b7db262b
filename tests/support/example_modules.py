"""Loads the modules of examples/, which are no package of ours."""

import importlib.util
import sys
from types import ModuleType

from tests.support.places import ROOT


def load(name: str) -> ModuleType:
    """A module of the examples, under the name by which they import each other."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
