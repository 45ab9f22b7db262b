"""Manages the licenses and API keys of a running stack or of a deployment: `python -m operations.license`.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE.
"""

from operations.license.command import main
from operations.license.outcome import INCOMPLETE
from operations.license.settings import NAMES, command_settings

__all__ = ["INCOMPLETE", "NAMES", "command_settings", "main"]
