"""Runs all of Signal Cloud on one machine: data services, functions, timers, demo keys, stack.json."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx

from functions.timer_table import TIMERS
from functions.web.body_limits import MAX_BODY_BYTES
from local.host.configuration import BODY_LIMIT_SETTING, load_local_settings
from local.places import ROOT
from local.stack.demo_keys import DemoKeys, await_durable, demo_keys
from local.stack.export_keys import export_key
from local.stack.logins import separate_logins
from local.stack.options import StackOptions
from local.stack.ports import HOST, is_port_free
from local.stack.services import Endpoints, PostgresProcess, data_services, function_host, timer_host
from local.stack.standby import ActiveStack
from local.stack.state import StateDirectory
from local.stack.vendors import VendorStandIns, vendor_stand_ins
from local.supervisor import Guardian, Service, ServiceFailed, Supervisor, last_lines
from shared.adapters.postgres import Database, Upkeep
from shared.adapters.postgres.database import JOBS_ROLE
from shared.adapters.postgres.migrations import migrate

READY_TIMEOUT_S = 30.0
HUB = "signals"

# Shorter intervals than in Azure: a replay packs hours into seconds, and a person is watching.
_SHORTER = {
    "ENGINE_SCHEDULE": "*/5 * * * * *",
    "RELAY_SCHEDULE": "* * * * * *",
    "EXPORT_SCHEDULE": "0 0 * * * *",
    "UPKEEP_SCHEDULE": "0 */10 * * * *",
}
SCHEDULES = {timer.setting: timer.schedule for timer in TIMERS} | _SHORTER
RUN_TRAINING_SCHEDULE = "0 * * * * *"


def stack_settings(options: StackOptions) -> dict[str, str]:
    """Settings of the app's processes: the environment, then local.settings.json, then the stack's own."""
    settings = dict(os.environ)
    load_local_settings(ROOT, settings)
    defaults = SCHEDULES | {BODY_LIMIT_SETTING: str(MAX_BODY_BYTES)}
    if options.mode == "run":
        defaults["TRAINING_SCHEDULE"] = RUN_TRAINING_SCHEDULE
    for name, value in defaults.items():
        settings.setdefault(name, value)
    settings["MARKET_CLOCK"] = options.market_clock
    # Keys open the services that the stack starts, never Entra ID. The shell may have these set for a
    # deployment.
    settings.update(dict.fromkeys(("AZURE_CLIENT_ID", "TABLES_ENDPOINT", "WEBPUBSUB_ENDPOINT"), ""))
    return settings


class Stack:
    """One stack; `start` returns when it is ready, `stop` leaves no process behind.

    A stack that follows another one is a passive region: its database is a read replica, and its timers run
    only after `start_timers`.
    """

    def __init__(self, options: StackOptions, state: StateDirectory, say: Callable[[str], None]) -> None:
        self.options = options
        self.base_url = f"http://{HOST}:{options.port}"
        self.keys: DemoKeys | None = None
        self._state = state
        self._say = say
        self._settings: dict[str, str] = {}
        self._timer_settings: dict[str, str] = {}
        self._admin_url = ""
        self._services: list[Service] = []
        self._timers: Service | None = None
        self._vendors: VendorStandIns | None = None
        self._ready = False
        self._supervisor = Supervisor(Guardian([state.stack_file, state.load_keys_file]), say, self._publish)

    @property
    def services(self) -> list[Service]:
        return self._services

    async def start(self) -> None:
        """Raises ServiceFailed; its text is for the terminal."""
        started = time.monotonic()
        port = self.options.port
        if not is_port_free(port):
            raise ServiceFailed(f"port {port} is in use; choose another with PORT={port + 1}")
        settings = await asyncio.to_thread(stack_settings, self.options)
        followed = self.options.standby_of
        active = None if followed is None else await asyncio.to_thread(ActiveStack.read, followed)
        if active is not None:
            settings["TABLES_CONNECTION_STRING"] = active.tables_connection_string
            settings["API_KEY_PEPPER"] = active.secrets.get(
                "api_key_pepper", settings.get("API_KEY_PEPPER", "")
            )
        if settings.get("API_KEY_PEPPER"):
            self._state.forget_secret("api_key_pepper")
        else:
            settings["API_KEY_PEPPER"] = self._state.secret("api_key_pepper")
        if not settings.get("LICENSE_EXPORT_KEY"):
            settings["LICENSE_EXPORT_KEY"] = export_key(self._state)
        if not settings.get("PUBLIC_URL"):
            settings["PUBLIC_URL"] = self.base_url
        source = None if active is None else active.database_url
        if active is None:
            self._vendors = vendor_stand_ins(self._state, settings, self.base_url)
            settings |= self._vendors.settings if self._vendors else {}
        endpoints = await asyncio.to_thread(data_services, self._state, settings, port, source)
        first = [*endpoints.started(), *([self._vendors.service] if self._vendors else [])]
        self._services.extend(first)
        await self._supervisor.start(*first)
        self._settings = self._complete(endpoints)
        if active is not None:
            self._follow(active)
        else:
            await self._prepare(owns_postgres=endpoints.postgres is not None)
        host = function_host(self._state, self._settings, port, self.options.workers)
        self._timers = timer_host(self._state, self._timer_settings)
        started_now = [host] if active is not None else [host, self._timers]
        self._services.extend(started_now)
        async with asyncio.TaskGroup() as group:
            # `run` wipes its data at the next start, so its keys need not be on disk.
            if self.options.mode == "up" and endpoints.azurite is not None and self.keys is not None:
                group.create_task(await_durable(self.keys, self._state))
            await self._supervisor.start(*started_now)
            await self._await_ready(host)
        self._ready = True
        self._publish()
        self._say(f"ready after {time.monotonic() - started:.1f} s: {self.base_url}")

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stops everything in reverse order, within a time limit; kills as soon as `hurry` is set."""
        self._ready = False
        self._state.stack_file.unlink(missing_ok=True)
        await self._supervisor.stop(hurry)

    async def start_timers(self) -> None:
        """Starts the timers of a passive region that takes over; does nothing if they run."""
        if self._timers is not None and self._timers not in self._services:
            await self.supervise(self._timers)
            self._publish()
            self._say("timers started")

    def stop_functions(self) -> None:
        """Ends the function host and the timers, as `az functionapp stop` does; the data services stay."""
        for service in self._services:
            if service.name in ("host", "timers"):
                service.restart = False
                service.process.signal(service.stop_signal)

    async def supervise(self, *services: Service) -> None:
        """Starts more processes, which `stop` ends before the stack's own."""
        self._services.extend(services)
        await self._supervisor.start(*services)

    async def ensure_trade_months(self, first: datetime, last: datetime) -> None:
        """Makes the partitions for trades of a replay of old bars, which no report may make."""
        months = (last.year - first.year) * 12 + last.month - first.month
        database = Database(self._admin_url, role=JOBS_ROLE, pool_size=1)
        try:
            await Upkeep(database).ensure_partitions(first, months)
        finally:
            await database.close()

    @staticmethod
    def _complete(endpoints: Endpoints) -> dict[str, str]:
        settings = dict(endpoints.settings)
        if endpoints.postgres is not None:
            process = endpoints.postgres.process
            assert isinstance(process, PostgresProcess)
            settings["DATABASE_URL"] = process.server.url
        return settings

    async def _prepare(self, *, owns_postgres: bool) -> None:
        """Migrates the schema, then makes the demo keys, because their audit rows need the schema.

        On a Postgres of its own, it also makes the logins of functions and timers. Only the timers' process
        gets that of the timers.
        """
        started = time.monotonic()
        self._admin_url = self._settings["DATABASE_URL"]
        migrated = await migrate(self._admin_url)
        self._timer_settings = self._settings
        if owns_postgres:
            functions_url, jobs_url = await separate_logins(self._admin_url, self._state)
            self._settings = self._settings | {"DATABASE_URL": functions_url, "JOBS_DATABASE_URL": ""}
            self._timer_settings = self._settings | {"JOBS_DATABASE_URL": jobs_url}
        self.keys = await demo_keys(self._settings, self._state, self.options.load_keys)
        self._say(
            f"prepared   after {(time.monotonic() - started) * 1000:>5.0f} ms: "
            f"{len(migrated)} migrations, {len(self.keys.by_name)} keys"
            + (f", {self.options.load_keys} keys for load" if self.options.load_keys else "")
        )

    def _follow(self, active: ActiveStack) -> None:
        """Uses the schema, the logins and the keys of the active region, which this one shares."""
        self._admin_url = self._settings["DATABASE_URL"]
        functions_url, jobs_url = active.login_urls(self._admin_url)
        self._settings = self._settings | {"DATABASE_URL": functions_url, "JOBS_DATABASE_URL": ""}
        self._timer_settings = self._settings | {"JOBS_DATABASE_URL": jobs_url}
        self.keys = DemoKeys(active.keys, (), ())

    async def _await_ready(self, host: Service) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        problem = ""
        async with httpx.AsyncClient(base_url=self.base_url, timeout=5.0) as client:
            while time.monotonic() < deadline:
                try:
                    answer = await client.get("/api/health/ready")
                except httpx.TransportError as error:
                    problem = type(error).__name__
                else:
                    if answer.status_code == httpx.codes.OK:
                        return
                    problem = answer.text
                await asyncio.sleep(0.05)
        raise ServiceFailed(
            f"the functions are not ready after {READY_TIMEOUT_S:.0f} s: {problem}\n"
            f"{last_lines(host.process.log_path)}"
        )

    def _publish(self) -> None:
        """Writes stack.json; process ids change when a service is started again."""
        if not self._ready or self.keys is None:
            return
        document: dict[str, Any] = {
            "base_url": self.base_url,
            "hub": self._settings.get("WEBPUBSUB_HUB") or HUB,
            "webpubsub_connection_string": self._settings["WEBPUBSUB_CONNECTION_STRING"],
            "database_url": self._admin_url,
            "functions_database_url": self._settings["DATABASE_URL"],
            "redis_url": self._settings["REDIS_URL"],
            "tables_connection_string": self._settings["TABLES_CONNECTION_STRING"],
            "keys": self.keys.public,
            "processes": {
                "supervisor": os.getpid(),
                **{service.name: service.pid for service in self._services if service.pid is not None},
            },
        }
        if self._vendors is not None:
            document["vendors"] = dict(self._vendors.document)
        if self.keys.load:
            self._state.publish_load_keys(self.keys.load)
        self._state.publish(document)
