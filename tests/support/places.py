"""Names the directories that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
