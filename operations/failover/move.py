"""Asks and changes the two regions of a move: apps, databases, licenses and stacks."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from functions.timer_table import TIMERS
from operations.cloud import Cloud, ToolFailed
from operations.command import UsageError
from operations.failover.regions import PROGRAM, Region
from operations.failover.sequences import ReplicaState
from operations.process import PYTHON
from shared.errors import SignalCloudError

# `az postgres flexible-server replica promote` of some versions fails (Azure/azure-cli #33776).
SERVER_API = "api-version=2025-08-01"
FENCE = "default_transaction_read_only"
# An app that is stopped first writes nothing after the replica has caught up; a lost region need not answer.
LOST_TIMEOUT_S = 60.0
FENCED_WITHIN_S = 300.0
PROMOTED_WITHIN_S = 1800.0
SERVED_WITHIN_S = 900.0
LICENSES_WITHIN_S = 2 * 3600.0
BACKUP_DAYS = 30
# UTC, as in infra/components/postgres.py.
MAINTENANCE_WINDOW = "Sat:08:00"


class ReplicaDatabase(Protocol):
    def replica_state(self) -> ReplicaState: ...
    def is_fenced(self) -> bool: ...
    def are_raised(self) -> bool: ...
    def raise_counters(self) -> dict[str, int]: ...


@dataclass(frozen=True)
class Move:
    """A move of the service from the region `old` to `new`; `is_forced` if `old` is lost."""

    cloud: Cloud
    old: Region
    new: Region
    database: ReplicaDatabase
    is_forced: bool

    # Reads

    def server(self, region: Region) -> dict[str, Any]:
        shown: dict[str, Any] = self.cloud.read(
            *("az", "postgres", "flexible-server", "show"), *_of_server(region, "--name")
        )
        return shown

    def is_promoted(self) -> bool:
        """Whether the new region's server is no replica."""
        shown = self.server(self.new)
        role = (shown.get("replica") or {}).get("role") or shown.get("replicationRole")
        return role in ("Primary", "None")

    def fence(self) -> str:
        """The fence of the new region's server: on or off."""
        shown = self.cloud.read(
            *("az", "postgres", "flexible-server", "parameter", "show", "--name", FENCE),
            *_of_server(self.new, "--server-name"),
        )
        return str(shown["value"]).lower()

    def are_sequences_raised(self) -> bool:
        return self.is_promoted() and self.database.are_raised()

    def is_app_stopped(self) -> bool:
        """Whether the old app is stopped, or runs again as the passive one."""
        return not self.old.is_active or self._old_app_state() == "Stopped"

    def is_old_app_running(self) -> bool:
        return self._old_app_state() == "Running"

    def _old_app_state(self) -> str:
        try:
            shown = self.cloud.find(
                *("az", "functionapp", "show"), *_of_app(self.old), timeout_s=LOST_TIMEOUT_S
            )
        except ToolFailed:
            shown = None
        return str((shown or {}).get("state", "unknown"))

    def are_backups_kept(self) -> bool:
        days = (self.server(self.new).get("backup") or {}).get("backupRetentionDays", 0)
        return int(days) >= BACKUP_DAYS

    def licenses(self) -> dict[str, Any]:
        """The storage account of licenses and keys, which both regions use."""
        account = self.old["data_storage_account"]
        shown: dict[str, Any] = self.cloud.read("az", "storage", "account", "show", "--name", account)
        return shown

    def licenses_copied(self) -> str:
        """The time until which licenses and keys are in the other region for certain."""
        account = self.old["data_storage_account"]
        words = ("az", "storage", "account", "show", "--name", account, "--expand", "geoReplicationStats")
        try:
            stats = self.cloud.read(*words).get("geoReplicationStats") or {}
        except ToolFailed as error:  # perhaps nobody answers in a lost region; a move needs no answer
            return f"a time that is not known ({error.detail})"
        return str(stats.get("lastSyncTime", "a time that is not known"))

    def are_licenses_here(self) -> bool:
        """Whether the licenses' region answers, or the account has moved to the new region."""
        found = self.licenses()
        return (
            not self.is_forced
            or found.get("statusOfPrimary", "available") == "available"
            or found["primaryLocation"] == self.new["location"].replace(" ", "").lower()
        )

    def are_timers_on(self) -> bool:
        found = self.cloud.read("az", "functionapp", "config", "appsettings", "list", *_of_app(self.new))
        values = {setting["name"]: setting["value"] for setting in found}
        return all(values.get(name, "0").lower() in ("0", "false") for name in _timer_settings())

    # Changes

    def check(self) -> None:
        """Says what a move would lose; raises UsageError if it makes no sense."""
        if self.is_promoted():
            self.cloud.say(f"  the database of {self.new.stack} was promoted before")
        else:
            self._say_lag()
        self.cloud.say(f"  licenses and keys were copied until {self.licenses_copied()}")
        if not self.is_forced and self.server(self.old).get("state") != "Ready":
            raise UsageError(
                f"the database of {self.old.stack} is not ready: a planned move needs both regions"
            )

    def _say_lag(self) -> None:
        try:
            found = self.database.replica_state()
        except SignalCloudError as error:
            if not self.cloud.dry_run:
                raise
            self.cloud.say(f"  this machine cannot ask the replica: {error.detail} {error.internal}")
            return
        if not found.is_replica:
            raise UsageError(f"the database of {self.new.stack} is no replica, although Azure calls it one")
        if found.replayed_at is None:
            self.cloud.say("  the replica has replayed nothing since its start")
            return
        age_s = (datetime.now(UTC) - found.replayed_at).total_seconds()
        self.cloud.say(f"  the newest transaction that the replica has is {age_s:.1f} s old")

    def stop_app(self) -> None:
        """Stops the old app; a region that is lost need not answer."""
        if not self._tell_old("az", "functionapp", "stop", *_of_app(self.old)):
            self.cloud.say("  stop its app as soon as it answers; its database comes back as a replica")

    def release_bots(self) -> None:
        """Cuts the connections to the old hub, where nobody sends any more; so bots negotiate again.

        A bot without a watchdog would otherwise wait there for ever.
        """
        hub = self.old["webpubsub_endpoint"].removeprefix("https://").partition(".")[0]
        self._tell_old(
            *("az", "resource", "invoke-action", "--action", "restart", "--name", hub),
            *("--resource-type", "Microsoft.SignalRService/webPubSub"),
            *("--resource-group", self.old["resource_group"]),
        )

    def _tell_old(self, *words: str) -> bool:
        """Changes the old region; returns whether it answered, which a lost region need not do."""
        try:
            self.cloud.perform(*words, timeout_s=LOST_TIMEOUT_S if self.is_forced else 300.0)
        except ToolFailed as error:
            if not self.is_forced:
                raise
            self.cloud.say(f"  {self.old.stack} does not answer: {error.detail}")
            return False
        return True

    def begin_licenses(self) -> None:
        if not self.licenses().get("failoverInProgress"):
            account = self.old["data_storage_account"]
            self.cloud.perform(
                "az", "storage", "account", "failover", "--name", account, "--no-wait", "--yes"
            )

    def await_licenses(self) -> None:
        self.cloud.await_until(
            self.are_licenses_here, "licenses and keys can be read again", at_most_s=LICENSES_WITHIN_S
        )

    def set_fence(self, value: str) -> None:
        """Sets the fence, and waits until the server itself has it."""
        self.cloud.perform(
            *("az", "postgres", "flexible-server", "parameter", "set", "--name", FENCE, "--value", value),
            *_of_server(self.new, "--server-name"),
        )
        self.cloud.await_until(
            lambda: self.database.is_fenced() is (value == "on"),
            f"{FENCE} is {value} on the server",
            at_most_s=FENCED_WITHIN_S,
        )

    def promote(self) -> None:
        """Exchanges the servers' roles: the old one comes back as a replica and never as a second primary."""
        option = "Forced" if self.is_forced else "Planned"
        replica = {"role": "Primary", "promoteMode": "Switchover", "promoteOption": option}
        self.cloud.perform(
            *("az", "rest", "--method", "patch", "--url", f"{self.new['postgres_server_id']}?{SERVER_API}"),
            *("--body", json.dumps({"properties": {"replica": replica}})),
        )
        self.cloud.await_until(
            self.is_promoted, "the replica is the primary server", at_most_s=PROMOTED_WITHIN_S
        )

    def raise_sequences(self) -> None:
        if self.cloud.dry_run:
            self.cloud.say("  would raise the sequence counter of each symbol")
            return
        raised = self.database.raise_counters()
        for symbol, sequence in sorted(raised.items()):
            self.cloud.say(f"  {symbol} continues after {sequence}")

    def start_timers(self) -> None:
        settings = [f"{name}=0" for name in _timer_settings()]
        self.cloud.perform(
            *("az", "functionapp", "config", "appsettings", "set", "--settings", *settings),
            *_of_app(self.new),
        )

    def smoke(self) -> None:
        """Runs the smoke test at the bots' address, again until Front Door asks the new region."""
        self.cloud.await_until(self._is_served, f"{self._url} passes", at_most_s=SERVED_WITHIN_S)

    @property
    def _url(self) -> str:
        # Only the stack with Front Door has the bots' address; the other one has its app's.
        fronted = [region["url"] for region in (self.old, self.new) if region["url"] != region["app_url"]]
        return fronted[0] if fronted else self.new["url"]

    def _is_served(self) -> bool:
        try:
            self.cloud.perform(PYTHON, "-m", "operations.smoke", self._url, timeout_s=300.0)
        except ToolFailed as error:
            lines = [line for line in error.answer.output.splitlines() if line.startswith("FAILED")]
            self.cloud.say("\n".join(f"  {line}" for line in lines))
            return False
        return True

    def set_role(self, region: Region, role: str) -> None:
        """Makes the role permanent. Without a refresh, because that would read the lost region."""
        self.cloud.perform("pulumi", "config", "set", "role", role, *PROGRAM, region.stack)
        self.cloud.perform("pulumi", "up", "--yes", "--skip-preview", *PROGRAM, region.stack, is_shown=True)

    def has_role(self, region: Region, role: str) -> bool:
        return self.cloud.text("pulumi", "stack", "output", "role", *PROGRAM, region.stack) == role

    def keep_backups(self) -> None:
        self.cloud.perform(
            *("az", "postgres", "flexible-server", "update", "--backup-retention", str(BACKUP_DAYS)),
            # A server that was made as a replica has none of its own.
            *("--maintenance-window", MAINTENANCE_WINDOW),
            *_of_server(self.new, "--name"),
        )

    def start_old_app(self) -> None:
        self.cloud.perform("az", "functionapp", "start", *_of_app(self.old))

    def say_what_remains(self) -> None:
        for line in (
            f"as soon as {self.old.stack} answers: stop its app, then see The way back in docs/operations.md",
            f"let the feeder and the publishers send the last 15 minutes again through {self._url}",
            "the storage account is in one region only (LRS): set its replication again",
        ):
            self.cloud.say(f"  {line}")


def _timer_settings() -> list[str]:
    return [f"AzureWebJobs.{timer.name}.Disabled" for timer in TIMERS]


def _of_app(region: Region) -> tuple[str, ...]:
    return ("--resource-group", region["resource_group"], "--name", region["app_name"])


def _of_server(region: Region, option: str) -> tuple[str, ...]:
    return ("--resource-group", region["resource_group"], option, region["postgres_server"])
