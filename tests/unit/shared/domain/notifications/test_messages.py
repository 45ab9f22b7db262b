"""Every event can be shown on every channel, and no value of it mentions, links or hides anything."""

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.notifications.files import shipped_templates
from shared.domain.notifications.channels import ChannelKind
from shared.domain.notifications.events import Event, EventKind
from shared.domain.notifications.messages import CLAIM, SHOWN, Templates, escaped, shown
from shared.errors import ConfigurationError

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
CHANNELS: tuple[ChannelKind, ...] = get_args(ChannelKind)
KINDS: tuple[EventKind, ...] = get_args(EventKind)
LINK = "https://signals.example.com/api/claim/secret-token"


def an_event(kind: EventKind, **values: str | int | float | None) -> Event:
    return Event(
        event_id="e",
        kind=kind,
        at=AT,
        account_id="acct-1",
        license_id="lic_0123456789ab",
        values={**{name: f"the {name}" for name in SHOWN[kind]}, **values},
    )


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_event_is_shown_on_each_channel(kind: EventKind, channel: ChannelKind) -> None:
    message = shipped_templates().render(an_event(kind), channel)
    assert message.title
    assert message.text
    assert "$" not in message.title + message.text
    assert message.title[0].isupper() or message.title.startswith("the ")
    assert len(message.title) + len(message.text) < 2_000


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_without_its_values_is_shown_too(kind: EventKind) -> None:
    event = Event(event_id="e", kind=kind, at=AT)
    assert shipped_templates().render(event, "mail").text


@pytest.mark.parametrize("kind", ["license_created", "claim_requested"])
def test_a_claim_link_is_in_the_mail_alone(kind: EventKind) -> None:
    templates = shipped_templates()
    assert LINK in templates.render(an_event(kind), "mail", {CLAIM: LINK}).text
    for channel in CHANNELS:
        if channel != "mail":
            message = templates.render(an_event(kind), channel, {CLAIM: LINK})
            assert "claim/" not in message.title + message.text


NASTY = (
    "@everyone <@123> <!channel> **b** [x](https://evil.example) `c` \u202egnp.exe\u200b\r\nBcc: a@b.c\x00"
)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_value_mentions_nobody_and_links_nowhere(channel: ChannelKind) -> None:
    message = shipped_templates().render(
        an_event("session_taken_over", instance=NASTY, symbol=NASTY), channel
    )
    text = message.title + "\n" + message.text
    assert "\x00" not in text
    assert "\u202e" not in text
    assert "\n" not in message.title
    assert "Bcc" not in [line[:3] for line in text.splitlines()]
    if channel in ("discord", "slack", "telegram"):
        assert "@everyone" not in text
        assert "https://evil" not in text
    if channel == "discord":
        assert "**b**" not in text
        assert "[x](" not in text


@given(st.text(max_size=400), st.sampled_from(CHANNELS))
def test_any_value_is_one_short_line(value: str, channel: ChannelKind) -> None:
    line = escaped(shown(value), channel)
    assert len(shown(value)) <= 200
    assert not any(character in line for character in "\n\r\x00\u2028\u202e")
    if channel == "discord":
        assert "@e" not in line


def test_a_license_without_end_is_valid_until_further_notice() -> None:
    created = shipped_templates().render(an_event("license_created", expires_at=None), "slack")
    assert "valid until further notice" in created.text
    closing = shipped_templates().render(an_event("signal_published", expires_at=None), "slack")
    assert "Valid until: -" in closing.text


def test_numbers_and_nothing_are_shown() -> None:
    assert [shown(value) for value in (None, "", 3, 0.5, 12.0)] == ["-", "-", "3", "0.5", "12"]


def test_an_sms_is_short() -> None:
    event = an_event("license_extended", **dict.fromkeys(SHOWN["license_extended"], "x" * 500))
    assert len(shipped_templates().render(event, "sms").text) <= 320


def test_a_template_that_is_missing_or_shows_what_there_is_not_is_refused() -> None:
    good: dict[tuple[EventKind, ChannelKind | None], str] = {(kind, None): "T\ntext" for kind in KINDS}
    Templates(good)
    with pytest.raises(ConfigurationError, match=r"test\.txt is missing"):
        Templates({key: text for key, text in good.items() if key != ("test", None)})
    for key in (("test", None), ("claim_requested", "discord")):
        with pytest.raises(ConfigurationError, match=CLAIM):
            Templates({**good, key: f"T\n${CLAIM}"})
