"""Reads what a passive region has from its active one: a read replica, the licenses and the keys."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from local.stack.logins import FUNCTIONS_LOGIN, JOBS_LOGIN
from local.supervisor import ServiceFailed


@dataclass(frozen=True)
class ActiveStack:
    """The stack that another one follows; the license tables are shared, as a geo-redundant account is."""

    database_url: str
    tables_connection_string: str
    keys: dict[str, str]
    secrets: dict[str, str]

    @classmethod
    def read(cls, state: Path) -> "ActiveStack":
        """Raises ServiceFailed if no stack runs on `state`."""
        try:
            document: dict[str, Any] = json.loads((state / "stack.json").read_text(encoding="utf-8"))
            kept: dict[str, str] = json.loads((state / "secrets.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ServiceFailed(f"no stack runs on {state}, so nothing can follow it") from error
        return cls(document["database_url"], document["tables_connection_string"], document["keys"], kept)

    def login_urls(self, replica_url: str) -> tuple[str, str]:
        """The addresses of the replica for functions and for timers, which has their logins."""
        functions, jobs = (
            make_conninfo(replica_url, user=login, password=self.secrets[f"{login}_password"])
            for login in (FUNCTIONS_LOGIN, JOBS_LOGIN)
        )
        return functions, jobs
