"""Runs the program for `pulumi up`."""

import sys
from datetime import UTC, datetime
from pathlib import Path

# Pulumi runs this folder; the package `infra` is found from the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pulumi

from infra.program import build
from infra.settings.keys import read_settings
from infra.settings.reader import ConfigurationError
from infra.settings.stacks import running_stack

try:
    settings = read_settings(running_stack())
except ConfigurationError as problems:
    # For a RunError the CLI shows the text without a stack trace.
    raise pulumi.RunError(str(problems)) from None

for name, value in build(settings, datetime.now(UTC).date()).items():
    pulumi.export(name, value)
