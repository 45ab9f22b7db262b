"""Names the directories that several modules use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Holds what commands make and nobody commits: a stack's state, tools, packages.
SCRATCH = ROOT / ".local"
