"""Events of the hub, read from their headers."""

import pytest

from functions.web.cloud_events import hub_event
from shared.domain.access.hub_events import HubEvent
from shared.errors import ValidationFailed

HEADERS = {
    "ce-type": "azure.webpubsub.sys.connect",
    "ce-hub": "signals",
    "ce-connectionid": "c-1",
    "ce-userid": "zo%C3%AB",
}


def test_an_event_is_read_from_its_headers() -> None:
    assert hub_event(HEADERS, "signals") == HubEvent("connect", "c-1", "zo\u00eb")
    assert (
        hub_event(HEADERS | {"ce-type": "azure.webpubsub.sys.disconnected"}, "Signals").kind == "disconnected"
    )
    connected = HEADERS | {"ce-type": "azure.webpubsub.sys.connected", "ce-hub": "SIGNALS"}
    assert hub_event(connected, "signals").kind == "connected"


def test_every_header_that_is_off_is_named() -> None:
    with pytest.raises(ValidationFailed) as caught:
        hub_event(
            {"ce-type": "azure.webpubsub.user.buy", "ce-hub": "other", "ce-userid": "u" * 300}, "signals"
        )
    assert [(error.field, error.code) for error in caught.value.errors] == [
        ("ce-type", "unknown_value"),
        ("ce-hub", "unknown_value"),
        ("ce-connectionid", "missing"),
        ("ce-userid", "out_of_range"),
    ]


def test_an_anonymous_client_has_no_user() -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "ce-userid"}
    assert hub_event(headers, "signals").user_id == ""


def test_ids_have_from_1_to_256_characters() -> None:
    longest = hub_event(HEADERS | {"ce-connectionid": "c" * 256, "ce-userid": "u" * 256}, "signals")
    assert (len(longest.connection_id), len(longest.user_id)) == (256, 256)
    assert hub_event(HEADERS | {"ce-connectionid": "c"}, "signals").connection_id == "c"
    for changed in ({"ce-connectionid": "c" * 257}, {"ce-userid": "u" * 257}):
        with pytest.raises(ValidationFailed):
            hub_event(HEADERS | changed, "signals")
