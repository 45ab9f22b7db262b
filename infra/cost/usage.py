"""Computes what a month takes of everything, from the figures of the load and a recorded stack."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infra.components.autoscale import CONNECTIONS_OUT_PER_INSTANCE, UNITS_OUT_PERCENT
from infra.cost.prices import CannotEstimate, Load
from infra.ncrontab import CronSchedule, parse_schedule
from infra.offline.recording import Recording, Resource
from infra.settings.model import PLAN_SIZES
from infra.timers import timers

# The share of an instance's memory at which plan-memory alerts and autoscale adds an instance.
MEMORY_ALERT_SHARE = 0.9
HOURS = 730  # of a month, as in Azure's own estimates
DAYS = HOURS / 24
GB = 10**9
BILLED_MESSAGE_BYTES = 2000  # Microsoft's article counts 1,000,000 messages as 2,000,000 KB
UNIT_CONNECTIONS = 1000
RECOMMENDED_SHARE = 0.8  # of the connections, by Microsoft's article on the billing model
FREE_CONNECTIONS = 20
MESSAGES_A_UNIT_DAY = {"Free_F1": 20_000, "Standard_S1": 1_000_000, "Premium_P1": 1_000_000}
_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def runs_a_day(schedule: str) -> int:
    """Runs of a timer on each of its days; raises CannotEstimate for a schedule that it cannot count."""
    try:
        read = parse_schedule(schedule)
    except ValueError as error:
        raise CannotEstimate(f"a schedule cannot be counted: {error}") from error
    if not isinstance(read, CronSchedule):
        raise CannotEstimate(f"{schedule!r} is an interval, not a schedule of six fields")
    return read.runs_a_day


def weekly_capacity(setting: Resource, connected_minimum: int) -> float:
    """Average instances over a week that the minima of an autoscale setting keep.

    A recurring profile holds from its time until the next one's. `connected_minimum` is the number of
    instances that connected bots need.
    """
    profiles = setting.inputs["profiles"]
    starts: list[tuple[float, Mapping[str, Any]]] = []
    for profile in profiles:
        schedule = profile.get("recurrence", {}).get("schedule")
        if schedule is None:
            starts.append((0.0, profile["capacity"]))
            continue
        hour = schedule["hours"][0] + schedule["minutes"][0] / 60
        starts += [(_WEEK.index(day) * 24 + hour, profile["capacity"]) for day in schedule["days"]]
    starts.sort(key=lambda start: start[0])
    ends = [at for at, _ in starts[1:]] + [starts[0][0] + 7 * 24]
    total = 0.0
    for (begins, capacity), ends_at in zip(starts, ends, strict=True):
        instances = min(max(int(capacity["minimum"]), connected_minimum), int(capacity["maximum"]))
        total += instances * (ends_at - begins)
    return total / (7 * 24)


@dataclass(frozen=True)
class Usage:
    """A month of `users` bots on a recorded stack."""

    recording: Recording
    users: int
    load: Load

    @property
    def sessions(self) -> float:
        """Sessions of all bots together."""
        return self.users * self.load["sessions_per_month"]

    @property
    def confidences(self) -> float:
        return self.sessions * self.load["symbols_per_bot"] * self.load["confidences_per_session"]

    @property
    def requests(self) -> float:
        """HTTP requests of bots: confidences, reported trades, and one negotiate request a session."""
        trades = self.sessions * self.load["symbols_per_bot"] * self.load["trades_per_session"]
        return self.confidences + trades + self.sessions

    @property
    def answer_bytes(self) -> float:
        return self.requests * self.load["answer_bytes"]

    @property
    def request_bytes(self) -> float:
        return self.requests * self.load["request_bytes"]

    @cached_property
    def schedules(self) -> dict[str, str]:
        """Schedules of the timers in the app's settings."""
        settings = self.recording.only("Microsoft.Web/sites").inputs["siteConfig"]["appSettings"]
        names = {timer.setting for timer in timers()}
        return {each["name"]: each["value"] for each in settings if each["name"] in names}

    @property
    def timer_runs(self) -> float:
        return DAYS * sum(runs_a_day(schedule) for schedule in self.schedules.values())

    @property
    def pushed_bytes(self) -> float:
        """Bytes that Web PubSub sends to bots: signals of each symbol, and heartbeats to each connection."""
        connected = self.load["connected_hours_per_session"] / 24
        beats = runs_a_day(self.schedules["HEARTBEAT_SCHEDULE"]) * connected
        signals = self.load["confidences_per_session"]
        a_session = beats * self.load["heartbeat_bytes"] + (
            self.load["symbols_per_bot"] * signals * self.load["signal_bytes"]
        )
        return self.sessions * a_session

    @property
    def billed_messages(self) -> float:
        """Azure divides the bytes of all outbound traffic by 2 KB; it does not round up each message."""
        events = self.sessions * self.load["hub_event_bytes_per_session"]
        return (self.pushed_bytes + events) / BILLED_MESSAGE_BYTES

    @property
    def connected_share(self) -> float:
        """Share of a month during which bots are connected."""
        return self.load["sessions_per_month"] * self.load["connected_hours_per_session"] / HOURS

    @cached_property
    def instances(self) -> float:
        """Average instances of a dedicated plan."""
        plan = self.recording.only("Microsoft.Web/serverfarms")
        needed = math.ceil(self.users / CONNECTIONS_OUT_PER_INSTANCE)
        for setting in self._scalings(plan):
            idle, busy = weekly_capacity(setting, 1), weekly_capacity(setting, needed)
            return idle + (busy - idle) * self.connected_share
        return float(plan.inputs["sku"]["capacity"])

    @cached_property
    def units(self) -> float:
        """Average units of Web PubSub: as recorded, or as autoscale sets them while bots are connected."""
        service = self.recording.only("Microsoft.SignalRService/webPubSub")
        fixed = int(service.inputs["sku"]["capacity"])
        for setting in self._scalings(service):
            (profile,) = setting.inputs["profiles"]
            maximum = int(profile["capacity"]["maximum"])
            per_unit = UNIT_CONNECTIONS * UNITS_OUT_PERCENT / 100
            busy = min(max(fixed, math.ceil(self.users / per_unit)), maximum)
            return fixed + (busy - fixed) * self.connected_share
        return float(fixed)

    def _scalings(self, target: Resource) -> list[Resource]:
        settings = self.recording.of_type("Microsoft.Insights/autoscaleSettings")
        return [each for each in settings if each.inputs["targetResourceUri"] == target.id]

    @property
    def is_flex(self) -> bool:
        return self.recording.settings.compute.plan == "flex"

    @property
    def processes(self) -> float:
        """Average Python processes, each of which sends metrics."""
        if self.is_flex:
            return 1.0
        return self.instances * PLAN_SIZES[self._plan_sku].processors

    @property
    def idle_mb(self) -> float:
        """Megabytes of an instance at rest: the platform, and the hosts of production and staging."""
        slots = 1 + len(self.recording.of_type("Microsoft.Web/sites/slots"))
        workers = PLAN_SIZES[self._plan_sku].processors * self.load["worker_mb"]
        return self.load["platform_mb"] + slots * (self.load["functions_host_mb"] + workers)

    @property
    def instance_mb(self) -> float:
        """Megabytes of an instance while it also trains a model."""
        return self.idle_mb + self.load["training_mb"]

    def _too_little_memory(self) -> Iterator[str]:
        if self.is_flex:
            return
        memory_mb = PLAN_SIZES[self._plan_sku].memory_gb * 1000
        if self.instance_mb > MEMORY_ALERT_SHARE * memory_mb:
            yield (
                f"{self._plan_sku} has {memory_mb:,.0f} MB, and an instance with production, staging and a "
                f"training uses about {self.instance_mb:,.0f}: raise plan_sku"
            )

    @property
    def _plan_sku(self) -> str:
        return str(self.recording.only("Microsoft.Web/serverfarms").inputs["sku"]["name"])

    @property
    def telemetry_gb(self) -> float:
        """Gigabytes that the app sends to Application Insights."""
        ratio = float(self.recording.settings.compute.telemetry_sample_ratio)
        traces = self.requests * ratio * self.load["trace_bytes"]
        metrics = self.processes * HOURS * 60 * self.load["metrics_bytes_per_minute"]
        return (traces + metrics) / GB

    @property
    def platform_log_gb(self) -> float:
        diagnosed = len(self.recording.of_type("Microsoft.Insights/diagnosticSettings"))
        return diagnosed * DAYS * self.load["platform_log_mb_per_resource_day"] / 1000

    @cached_property
    def log_gb(self) -> float:
        """Gigabytes that the workspace takes, up to its daily cap."""
        workspace = self.recording.only("Microsoft.OperationalInsights/workspaces")
        cap = workspace.inputs["workspaceCapping"]["dailyQuotaGb"] * DAYS
        return min(self.telemetry_gb + self.platform_log_gb, float(cap))

    @property
    def connections(self) -> int:
        """Connections that Web PubSub accepts with as many units as it can have."""
        service = self.recording.only("Microsoft.SignalRService/webPubSub")
        if service.inputs["sku"]["name"] == "Free_F1":
            return FREE_CONNECTIONS
        units = int(service.inputs["sku"]["capacity"])
        for setting in self._scalings(service):
            units = int(setting.inputs["profiles"][0]["capacity"]["maximum"])
        return units * UNIT_CONNECTIONS

    def crowded(self) -> list[str]:
        """What the stack still carries, above the share that is recommended."""
        share = self.users / self.connections
        if not RECOMMENDED_SHARE < share <= 1:
            return []
        return [
            f"{self.users:,} bots are {share:.0%} of the {self.connections:,} connections that Web PubSub "
            f"accepts. Microsoft recommends {RECOMMENDED_SHARE:.0%}, at which webpubsub-quota alerts"
        ]

    def warnings(self) -> list[str]:
        """The limits of the stack that so many bots exceed, each with the setting to change."""
        sku = self.recording.only("Microsoft.SignalRService/webPubSub").inputs["sku"]["name"]
        found = []
        if self.users > self.connections:
            found.append(
                f"Web PubSub accepts {self.connections:,} connections, and there are {self.users:,} bots: "
                "raise webpubsub_units"
            )
        quota = MESSAGES_A_UNIT_DAY[sku]
        daily = self.billed_messages / self.load["sessions_per_month"]
        if sku == "Free_F1" and daily > quota:
            found.append(
                f"Web PubSub's free tier sends {quota:,} messages a day, and these bots need {daily:,.0f}: "
                "change webpubsub_sku"
            )
        found += self._too_little_memory()
        workspace = self.recording.only("Microsoft.OperationalInsights/workspaces")
        if self.telemetry_gb + self.platform_log_gb > self.log_gb:
            cap = workspace.inputs["workspaceCapping"]["dailyQuotaGb"]
            found.append(
                f"logs reach their cap of {cap} GB a day: "
                "raise log_daily_cap_gb, or lower telemetry_sample_ratio"
            )
        return found
