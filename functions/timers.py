"""Timer triggers; every run is bounded and idempotent, for a run can be repeated or skipped."""

import azure.functions as func

from shared.container import container

blueprint = func.Blueprint()


@blueprint.function_name("timer_signal_engine")
@blueprint.timer_trigger(arg_name="timer", schedule="%ENGINE_SCHEDULE%")
async def run_signal_engine(timer: func.TimerRequest) -> None:
    """Runs the engine over bars whose arrival did not, because a process died in between."""
    services = container()
    signalled = await services.signals.catch_up()
    if signalled:
        services.counters.add("signals_published", signalled)


@blueprint.function_name("timer_outbox_relay")
@blueprint.timer_trigger(arg_name="timer", schedule="%RELAY_SCHEDULE%")
async def run_outbox_relay(timer: func.TimerRequest) -> None:
    """Sends what could not be pushed at once, in order per symbol."""
    services = container()
    await services.realtime.relay()
    await services.refresh_measurements()


@blueprint.function_name("timer_heartbeat")
@blueprint.timer_trigger(arg_name="timer", schedule="%HEARTBEAT_SCHEDULE%")
async def send_heartbeat(timer: func.TimerRequest) -> None:
    """Tells every group the last sequence of its symbol."""
    services = container()
    await services.realtime.heartbeat(await services.market_now())


@blueprint.function_name("timer_training")
@blueprint.timer_trigger(arg_name="timer", schedule="%TRAINING_SCHEDULE%")
async def train_models(timer: func.TimerRequest) -> None:
    """Trains each strategy's model on recorded trades; promotes only what is honestly better."""
    services = container()
    await services.training.run_all(await services.market_now())


@blueprint.function_name("timer_license_expiry")
@blueprint.timer_trigger(arg_name="timer", schedule="%LICENSE_SCHEDULE%")
async def expire_licenses(timer: func.TimerRequest) -> None:
    """Ends licenses that are past their expiry: caches emptied, connections closed."""
    services = container()
    await services.licenses.expire_due(services.now())


@blueprint.function_name("timer_upkeep")
@blueprint.timer_trigger(arg_name="timer", schedule="%UPKEEP_SCHEDULE%")
async def keep_partitions(timer: func.TimerRequest) -> None:
    """Makes the coming months' partitions and drops what is past retention."""
    services = container()
    await services.upkeep.run(services.now())
