"""A running stack as its users meet it: clients with keys, and the license command."""

import contextlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import httpx

from operations.license import main as license_command


@dataclass
class RunningStack:
    """What stack.json says, and clients of the stack by scope."""

    state: Path
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """stack.json as it is now; process ids change when a service is started again."""
        parsed: dict[str, Any] = json.loads((self.state / "stack.json").read_text())
        return parsed

    @cached_property
    def base_url(self) -> str:
        return str(self.document["base_url"])

    def client(self, name: str) -> httpx.Client:
        """A client with the key `name` of stack.json; bots get keys of their own with a wide limit."""
        return httpx.Client(
            base_url=f"{self.base_url}/api",
            headers={"Authorization": f"Bearer {self.key(name)}"},
            timeout=10,
        )

    def key(self, name: str) -> str:
        if not name.startswith("bot"):
            return str(self.document["keys"][name])
        if name not in self._keys:
            self._keys[name] = self.new_key("--requests-per-minute", "10000")["key"]
        return self._keys[name]

    def new_key(self, *arguments: str) -> dict[str, str]:
        """A key of a new license of a new account: `key`, `public_id` and `license_id`."""
        made = self.license("create", "--account", f"test-{uuid4().hex[:12]}", *arguments)
        return {
            "key": made["plain_key"],
            "public_id": made["key"]["public_id"],
            "license_id": made["license"]["license_id"],
        }

    def license(self, *arguments: str) -> Any:
        """What `python -m operations.license` prints as JSON; run in this process, which saves a second."""
        output, errors = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, STATE=str(self.state)),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            # The command runs a loop of its own, and a test may run one, too.
            ThreadPoolExecutor(1) as thread,
        ):
            status = thread.submit(license_command, [arguments[0], "--json", *arguments[1:]]).result()
        assert status == 0, errors.getvalue()
        return json.loads(output.getvalue())
