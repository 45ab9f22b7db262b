"""What `pulumi up` runs."""

import sys
from pathlib import Path

# Pulumi runs this folder as the program; the package lies one above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pulumi

from infra.config_reader import ConfigurationProblems
from infra.program import build
from infra.settings import read_settings
from infra.stack_config import running_stack

try:
    settings = read_settings(running_stack())
except ConfigurationProblems as problems:
    # The CLI shows a RunError's text alone, without a stack trace.
    raise pulumi.RunError(str(problems)) from None

for name, value in build(settings).items():
    pulumi.export(name, value)
