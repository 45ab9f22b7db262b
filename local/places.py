"""Where things lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# All that a checkout makes of itself and never commits: a stack's state, tools, packages.
SCRATCH = ROOT / ".local"
