"""Reads how to reach a running stack from the files in its state directory."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path


def settings_of_running(state: Path) -> Mapping[str, str]:
    """The settings that a command such as `license` needs; empty if no stack runs on `state`."""
    try:
        stack = json.loads((state / "stack.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    names = ("database_url", "redis_url", "tables_connection_string", "webpubsub_connection_string")
    settings = {name.upper(): str(stack[name]) for name in names}
    settings["WEBPUBSUB_HUB"] = stack["hub"]
    settings |= stack.get("vendors", {}).get("settings", {})
    # A stack whose settings gave it a pepper keeps none here: then the command needs the same setting.
    with contextlib.suppress(FileNotFoundError):
        kept = json.loads((state / "secrets.json").read_text(encoding="utf-8"))
        settings["API_KEY_PEPPER"] = kept.get("api_key_pepper", "")
    return settings
