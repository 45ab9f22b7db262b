"""A destination, and a notification of it that was given up, as PATH_VALUES names them."""

from dataclasses import replace
from uuid import UUID

from shared.domain.notifications.destinations import Destination, Secrets
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import Lane
from shared.domain.notifications.routing import Route
from tests.support.api import Api
from tests.support.requests import PATH_VALUES


async def put_notification(api: Api) -> None:
    """Stores both, of the account that `Api.key` uses."""
    sealed = api.services.secret_box.seal(PATH_VALUES["destination_id"], Secrets(address="https://a.example"))
    destination = Destination(
        destination_id=PATH_VALUES["destination_id"],
        account_id="acct-1",
        license_id="lic_0123456789ab",
        kind="webhook",
        events=["daily_summary"],
        address="https://a.example",
        sealed=sealed,
        sealed_by=api.services.secret_box.name,
        created_at=api.clock(),
    )
    await api.stores.destinations.add(destination, 10)
    event = Event(event_id="e-1", kind="daily_summary", at=api.clock(), account_id="acct-1")
    route = Route(Lane("own", destination.destination_id), event.at, "acct-1")
    queue = api.stores.notification_queue
    queue.put(event, route)
    key = UUID(PATH_VALUES["notification_id"])
    (row,) = queue.rows.values()
    queue.rows = {key: replace(row, notification_id=key, state="parked")}
