"""Stands in for Azure and Pulumi around two regions: state that commands read and change, and their rules.

`Regions.run` takes the place of processes. It can fail once at a call, before or after the change is made.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from functions.timer_table import TIMERS
from operations.failover.sequences import GAP, ReplicaState
from operations.process import Answer, Call
from tests.support.samples import START

SYMBOL = "ES"


@dataclass
class Stack:
    """What Azure and Pulumi hold of one stack."""

    name: str
    location: str
    role: str
    url: str
    config: dict[str, str] = field(default_factory=dict)
    app: str = "Running"
    server_role: str = "Primary"
    fence: str = "off"
    timers: str = "0"
    backup_days: int = 7
    connections: int = 3

    def outputs(self) -> dict[str, str]:
        return {
            "app_name": f"func-{self.name}",
            "app_url": f"https://func-{self.name}.azurewebsites.net",
            "data_storage_account": "stsigdata",
            "database": "signal_cloud",
            "location": self.location,
            "postgres_host": f"psql-{self.name}.postgres.database.azure.com",
            "postgres_server": f"psql-{self.name}",
            "postgres_server_id": f"/servers/psql-{self.name}",
            "resource_group": f"rg-{self.name}",
            "role": self.role,
            "url": self.url,
            "webpubsub_endpoint": f"wps-{self.name}.webpubsub.azure.com",
        }


class Regions:
    """`prod` is active in one region, `standby` passive in the other; if `lost`, prod's does not answer."""

    def __init__(self, *, lost: bool) -> None:
        self.lost = lost
        self.stacks = {
            "prod": Stack("prod", "centralus", "active", "https://signals.example.com", backup_days=30),
            "standby": Stack(
                "standby", "eastus2", "passive", "https://func-standby.azurewebsites.net",
                server_role="AsyncReplica", timers="1",
            ),
        }  # fmt: skip
        self.licenses = "centralus"
        # The bots have seen 12 sequences; the replica of a lost region lacks the last two.
        self.seen = 12
        self.counter = 10 if lost else 12
        self.raised = False
        self.calls: list[tuple[str, ...]] = []
        self.fails_at: int | None = None
        self.fails_late = False
        self.reused: list[int] = []

    # The database of the new region

    def replica_state(self) -> ReplicaState:
        return ReplicaState(True, START)

    def is_fenced(self) -> bool:
        return self.stacks["standby"].fence == "on"

    def are_raised(self) -> bool:
        return self.raised

    def raise_counters(self) -> dict[str, int]:
        self._fail(("raise", "counters"))
        if self.raised:
            return {}
        self.raised = True
        self.counter += GAP
        self._live()
        return {SYMBOL: self.counter}

    # Commands

    def run(self, call: Call) -> Answer:
        words = call.words
        failure = self._would_fail()
        if failure is not None and not self.fails_late:
            return failure
        answer = self._answer(words)
        self._live()
        return failure or answer

    def _would_fail(self) -> Answer | None:
        number, self.calls = len(self.calls), [*self.calls, ()]
        return Answer(1, "", "it failed") if number == self.fails_at else None

    def _fail(self, words: tuple[str, ...]) -> None:
        self.calls.append(words)

    def _live(self) -> None:
        """What bots do between two commands: a publisher publishes wherever a primary server accepts it."""
        standby = self.stacks["standby"]
        if standby.server_role == "Primary" and standby.fence == "off" and standby.app == "Running":
            self.counter += 1
            if self.counter <= self.seen:
                self.reused.append(self.counter)

    def _answer(self, words: tuple[str, ...]) -> Answer:
        if words[0] == "pulumi":
            return self._pulumi(words)
        match words:
            case ("az", "rest", *_):
                return self._promote(words)
            case ("az", "storage", "account", "show", *_):
                status = "unavailable" if self.lost and self.licenses == "centralus" else "available"
                return _json({"primaryLocation": self.licenses, "statusOfPrimary": status})
            case ("az", "storage", "account", "failover", *_):
                self.licenses = "eastus2"
                return Answer(0)
            case ("az", "functionapp" | "postgres" | "resource", *_):
                return self._of_stack(words, self.stacks[words[words.index("--resource-group") + 1][3:]])
            case (_, "-m", "operations.smoke", url):
                return self._smoke(url)
        raise AssertionError(f"nobody knows {words}")

    def _pulumi(self, words: tuple[str, ...]) -> Answer:
        match words:
            case ("pulumi", "stack", "output", "--json", *_, name):
                return _json(self.stacks[name].outputs())
            case ("pulumi", "stack", "output", "role", *_, name):
                return Answer(0, self.stacks[name].role)
            case ("pulumi", "config", "get", _, *_):
                return Answer(0, "admins")
            case ("pulumi", "config", "set", "role", role, *_, name):
                self.stacks[name].config["role"] = role
                return Answer(0)
            case ("pulumi", "up", *_, name):
                return self._up(self.stacks[name])
        raise AssertionError(f"nobody knows {words}")

    def _up(self, stack: Stack) -> Answer:
        if self.lost and stack.name == "prod":
            return Answer(255, "", "the region does not answer")
        stack.role = stack.config.get("role", stack.role)
        stack.timers = "0" if stack.role == "active" else "1"
        return Answer(0)

    def _promote(self, words: tuple[str, ...]) -> Answer:
        url, body = words[words.index("--url") + 1], json.loads(words[words.index("--body") + 1])
        replica = body["properties"]["replica"]
        new = next(stack for stack in self.stacks.values() if f"/servers/psql-{stack.name}?" in url)
        old = next(stack for stack in self.stacks.values() if stack is not new)
        assert replica["promoteMode"] == "Switchover"
        if replica["promoteOption"] == "Planned":
            if self.lost:
                return Answer(1, "", "the primary server is not ready")
            assert old.app == "Stopped", "the old app still writes, and bots would see a read-only database"
        new.server_role, old.server_role = "Primary", "AsyncReplica"
        return Answer(0)

    def _of_stack(self, words: tuple[str, ...], stack: Stack) -> Answer:
        if self.lost and stack.name == "prod":
            return Answer(1, "", "the region does not answer")
        match words[1:5]:
            case ("functionapp", "show", *_):
                return _json({"state": stack.app})
            case ("functionapp", "stop", *_):
                stack.app = "Stopped"
            case ("resource", "invoke-action", "--action", "restart"):
                assert words[words.index("--name") + 1] == f"wps-{stack.name}"
                stack.connections = 0
            case ("functionapp", "start", *_):
                stack.app = "Running"
            case ("functionapp", "config", "appsettings", "list"):
                return _json([{"name": name, "value": stack.timers} for name in _timer_settings()])
            case ("functionapp", "config", "appsettings", "set"):
                assert {f"{name}=0" for name in _timer_settings()} <= set(words)
                stack.timers = "0"
            case ("postgres", "flexible-server", "show", *_):
                backup = {"backupRetentionDays": stack.backup_days}
                return _json({"state": "Ready", "replica": {"role": stack.server_role}, "backup": backup})
            case ("postgres", "flexible-server", "parameter", "show"):
                return _json({"value": stack.fence})
            case ("postgres", "flexible-server", "parameter", "set"):
                stack.fence = words[words.index("--value") + 1]
            case ("postgres", "flexible-server", "update", *_):
                stack.backup_days = int(words[words.index("--backup-retention") + 1])
                # MAINTENANCE_DAY and MAINTENANCE_HOUR_UTC of infra: Saturday, 08:00.
                assert words[words.index("--maintenance-window") + 1] == "Sat:08:00"
            case _:
                raise AssertionError(f"nobody knows {words}")
        return Answer(0)

    def _smoke(self, url: str) -> Answer:
        """Front Door asks the region whose database accepts writes."""
        assert url == "https://signals.example.com"
        served = next(stack for stack in self.stacks.values() if stack.server_role == "Primary")
        reachable = not (self.lost and (served.name == "prod" or self.licenses == "centralus"))
        works = reachable and served.app == "Running" and served.fence == "off" and served.timers == "0"
        return Answer(0) if works else Answer(1, "FAILED  ready       answered 503")


def _json(document: Any) -> Answer:
    return Answer(0, json.dumps(document))


def _timer_settings() -> list[str]:
    return [f"AzureWebJobs.{timer.name}.Disabled" for timer in TIMERS]
