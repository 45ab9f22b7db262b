"""Records, as a pytest plugin, which test runs which line, and makes every run repeatable.

Each line is reported once a test: `sys.monitoring` stops reporting a line until the next test begins, so
that the recording costs little.
"""

import json
import os
import resource
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import hypothesis
import pytest

RECORDING = "MUTANTS_RECORDING"  # the file to write; unset in a trial, which records nothing
MEMORY_BYTES = 4 * 2**30  # a fault that grows a list without end shall fail, not fill the machine

_monitoring = sys.monitoring
_TOOL = _monitoring.PROFILER_ID


class _Recorder:
    def __init__(self, root: Path) -> None:
        self._root = f"{root}{os.sep}"
        self._test: str | None = None
        self.tests: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))

    def start(self) -> None:
        events = _monitoring.events
        _monitoring.use_tool_id(_TOOL, "mutants")
        _monitoring.register_callback(_TOOL, events.PY_START, self._enter)
        _monitoring.register_callback(_TOOL, events.LINE, self._line)
        _monitoring.set_events(_TOOL, events.PY_START)

    def _enter(self, code: CodeType, _offset: int) -> object:
        if code.co_filename.startswith(self._root):
            _monitoring.set_local_events(_TOOL, code, _monitoring.events.LINE)
        return _monitoring.DISABLE

    def _line(self, code: CodeType, line: int) -> object:
        if self._test is not None:
            self.lines[code.co_filename.removeprefix(self._root)][line].add(self._test)
        return _monitoring.DISABLE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._test = item.nodeid
        _monitoring.restart_events()
        try:
            return (yield)
        finally:
            self._test = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests[report.nodeid] = self.tests.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        lines = {
            path: {line: sorted(tests) for line, tests in found.items()} for path, found in self.lines.items()
        }
        Path(os.environ[RECORDING]).write_text(json.dumps({"tests": self.tests, "lines": lines}))


def pytest_configure(config: pytest.Config) -> None:
    # Without a shrinking phase, a fault that a generated example finds is reported at once.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", phases=phases, derandomize=True, database=None)
    hypothesis.settings.load_profile("mutants")
    if RECORDING in os.environ:
        recorder = _Recorder(config.rootpath)
        config.pluginmanager.register(recorder)
        recorder.start()
    else:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, most))
