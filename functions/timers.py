"""Runs the timers. Every run is bounded and idempotent, because the host may repeat or skip a run."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import azure.functions as func

from functions.timer_table import TIMERS
from shared.container import Container, container
from shared.errors import Unavailable

log = logging.getLogger(__name__)

_ROWS = {row.name: row for row in TIMERS}

blueprint = func.Blueprint()


def timer(name: str) -> Callable[[Callable[[Container], Awaitable[None]]], Any]:
    """Registers the decorated coroutine function for the table's row `name`; runs pass it the container."""
    row = _ROWS[name]

    def register(work: Callable[[Container], Awaitable[None]]) -> Any:
        async def run(timer: func.TimerRequest) -> None:
            try:
                await work(container())
            except Unavailable as error:
                # An outage is no defect of the timer: the next run does the work.
                log.warning("%s waits for its next run, %s: %s", row.name, error.code, error.internal)

        run.__name__, run.__qualname__, run.__module__ = work.__name__, work.__qualname__, work.__module__
        run.__doc__ = row.purpose
        triggered = blueprint.timer_trigger(arg_name="timer", schedule=f"%{row.setting}%")(run)
        return blueprint.function_name(row.name)(triggered)

    return register


@timer("timer_signal_engine")
async def run_signal_engine(services: Container) -> None:
    await services.bars.catch_up()


@timer("timer_outbox_relay")
async def run_outbox_relay(services: Container) -> None:
    await services.upkeep.relay_and_measure()


@timer("timer_heartbeat")
async def send_heartbeat(services: Container) -> None:
    await services.realtime.heartbeat(await services.market_clock.now())


@timer("timer_training")
async def train_models(services: Container) -> None:
    now = await services.market_clock.now()
    await services.settlement.run(now)
    await services.training.run_all(now)
    await services.suspicions.review()


@timer("timer_endings")
async def enforce_endings(services: Container) -> None:
    await services.endings.run(services.now())


@timer("timer_connections")
async def compare_connections(services: Container) -> None:
    # First, because a session that nothing renews for a minute is over.
    await services.connected_sessions.renew()
    await services.presence.reconcile()


@timer("timer_license_export")
async def export_licenses(services: Container) -> None:
    await services.license_export.run(services.now())


@timer("timer_notifications")
async def send_notifications(services: Container) -> None:
    await services.feed_watch.run()
    await services.destinations.reseal()
    await services.fan_out.run()
    await services.sending.run()


@timer("timer_daily_summary")
async def sum_up_day(services: Container) -> None:
    await services.daily_summary.run(services.now())


@timer("timer_test_stream")
async def publish_test_signal(services: Container) -> None:
    await services.test_stream.run(services.now())


@timer("timer_upkeep")
async def keep_partitions(services: Container) -> None:
    await services.upkeep.run(services.now())
    await services.payments.forget()


@timer("timer_licenses")
async def list_licenses(services: Container) -> None:
    await services.license_listing.run()
    await services.account_data.run()


@timer("timer_payments")
async def apply_payments(services: Container) -> None:
    await services.payments.run()
