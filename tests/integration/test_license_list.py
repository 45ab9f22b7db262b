"""The list of licenses in Postgres: keeps the newest, tells each step once, finds what a filter selects."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import scalar_row

from shared.adapters.plans import shipped_plans
from shared.adapters.postgres import Database
from shared.adapters.postgres.license_list import LicenseList
from shared.domain.access.license_filter import ORDERS, LicenseFilter, LicenseOrder
from shared.domain.access.licenses import License
from shared.domain.notifications.events import Event
from shared.domain.notifications.license_events import expiry_warning, license_events
from shared.services.license_listing import LicenseListingService
from tests.support.licenses import NOW, a_license, changed, drawn_licenses

PLANS = shipped_plans()
SAME_DATABASE = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Crashed(Exception):
    """Stands for a process that dies within a transaction."""


def events_of(before: License | None, after: License) -> Sequence[Event]:
    return license_events(before, after, PLANS.terms_of(after), NOW)


def crash(before: License | None, after: License) -> Sequence[Event]:
    raise Crashed


def warning_of(license_: License, days: int, now: datetime) -> Event:
    return expiry_warning(license_, days, PLANS.terms_of(license_), now)


async def told(database: Database) -> list[str]:
    """The ids of the stored events."""
    async with database.transaction(jobs=True) as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        return await (await cursor.execute("select event_id from notification_events order by 1")).fetchall()


async def found(listed: LicenseList, chosen: LicenseFilter, **asked: Any) -> list[str]:
    """The ids of the licenses that `chosen` selects, over pages of seven."""
    after, ids = None, []
    while True:
        page = await listed.page(
            chosen,
            plans_with_symbol=[name for name in PLANS if chosen.symbol in PLANS[name].symbols],
            after=after,
            limit=7,
            now=NOW,
            **asked,
        )
        ids += [each.license_id for each in page.licenses]
        after = page.end
        if after is None:
            return ids


@pytest.fixture
def listed(database: Database) -> LicenseList:
    return LicenseList(database)


# What happens to one license: puts of its revisions, as processes and the timer make them, and crashes.
STATUSES = ("active", "suspended", "active", "expired", "active", "revoked")
HISTORY = [a_license(status=status, revision=number) for number, status in enumerate(STATUSES, 1)]
STEPS = st.lists(st.tuples(st.integers(0, len(HISTORY) - 1), st.booleans()), max_size=12)


@SAME_DATABASE
@given(steps=STEPS)
async def test_any_order_of_puts_crashes_and_repeats_ends_in_the_newest_told_once(
    database: Database, steps: list[tuple[int, bool]]
) -> None:
    listed = LicenseList(database)
    license_id = f"lic_{abs(hash(tuple(steps))) % 10**12:012d}"
    history = [msgspec.structs.replace(each, license_id=license_id) for each in HISTORY]
    shown: list[License] = []
    for place, crashes in [*steps, (len(history) - 1, False)]:
        after = history[place]
        if crashes:
            with suppress(Crashed):
                await listed.put([after], crash)
            continue
        newer = not shown or shown[-1].revision < after.revision
        assert await listed.put([after], events_of) == newer
        if newer:
            shown.append(after)
    assert await listed.revisions([license_id]) == {license_id: len(history)}
    expected = [
        event.event_id
        for before, after in zip([None, *shown], shown, strict=False)
        for event in events_of(before, after)
    ]
    mine = [event_id for event_id in await told(database) if event_id.startswith(license_id)]
    assert mine == sorted(expected)


async def test_processes_that_list_the_same_licenses_at_once_tell_each_step_once(
    database: Database, listed: LicenseList
) -> None:
    first = [a_license(number) for number in range(1, 31)]
    second = [changed(each, status="suspended") for each in first]
    puts = [listed.put(each, events_of) for each in (first, second, first[::-1], second[::-1])]
    stored = await asyncio.gather(*puts)
    ids = await told(database)
    assert len(ids) == len(set(ids)) == sum(ids.count(each) for each in set(ids))
    # Where the second revision came first, the list has never seen the first one.
    assert 30 <= sum(stored) <= 60
    assert await listed.revisions([each.license_id for each in first]) == dict.fromkeys(
        (each.license_id for each in first), 2
    )


# What a filter selects


DRAWN = drawn_licenses(60)
FILTERS = st.builds(
    LicenseFilter,
    plan=st.sampled_from([None, None, "standard", "free", "none"]),
    status=st.sampled_from([None, None, "active", "suspended", "revoked", "expired"]),
    account_id=st.sampled_from([None, None, "acct-1", "acme"]),
    symbol=st.sampled_from([None, None, "ES", "CL", "TEST"]),
    reference=st.sampled_from([None, None, "stripe:sub_1", "order"]),
    expiring_within_days=st.sampled_from([None, None, 1, 7, 3_650]),
    text=st.sampled_from([None, None, "late", "someone@", "%", "STRA\u00dfE", "acme"]),
)
KEYS: dict[str, Callable[[License], str]] = {
    "created": lambda each: each.created_at.isoformat(),
    "expires": lambda each: each.expires_at.isoformat() if each.expires_at else "~",
    "account": lambda each: each.account_id,
    "plan": lambda each: each.plan,
    "id": lambda each: "",
}


@SAME_DATABASE
@given(chosen=FILTERS, order=st.sampled_from(ORDERS), descending=st.booleans())
async def test_the_list_selects_what_the_rule_selects_in_order(
    database: Database, chosen: LicenseFilter, order: LicenseOrder, descending: bool
) -> None:
    listed = LicenseList(database)
    await listed.put(DRAWN, events_of)
    fitting = [each for each in DRAWN if chosen.fits(each, PLANS.terms_of, NOW)]
    fitting.sort(key=lambda each: (KEYS[order](each), each.license_id), reverse=descending)
    ids = await found(listed, chosen, order=order, descending=descending)
    assert ids == [each.license_id for each in fitting]


async def test_a_bot_sees_its_own_account_in_the_list_and_no_other(
    database: Database, listed: LicenseList
) -> None:
    await listed.put([a_license(1), a_license(2)], events_of)
    async with database.transaction(account_id="acct-1") as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        seen = await (await cursor.execute("select account_id from license_list")).fetchall()
    assert seen == ["acct-1"]


# Warnings


async def test_a_license_is_warned_of_seven_days_and_one_day_before_each_end(listed: LicenseList) -> None:
    license_ = a_license(expires_at=NOW + timedelta(days=10))
    await listed.put([license_], events_of)

    async def warned(days: float) -> list[int]:
        now, seen = NOW + timedelta(days=days), []

        def note(license_: License, warning: int) -> Event:
            seen.append(warning)
            return warning_of(license_, warning, now)

        await listed.warn(now, note)
        return seen

    assert [await warned(days) for days in (0, 2.9, 3.1, 8, 9.1, 9.9, 10.1)] == [[], [], [7], [], [1], [], []]
    extended = changed(license_, expires_at=NOW + timedelta(days=40))
    await listed.put([extended], events_of)
    assert [await warned(days) for days in (32, 34, 39.5)] == [[], [7], [1]]
    await listed.put([changed(extended, status="suspended", expires_at=NOW + timedelta(days=80))], events_of)
    assert await warned(79.5) == []


async def test_nobody_is_warned_of_the_end_of_what_renews_itself(listed: LicenseList) -> None:
    end = NOW + timedelta(days=6)
    paid = {"expires_at": end, "paid_until": end}
    licenses = [
        a_license(1, **paid, renews=True),
        a_license(2, **paid),
        a_license(3, expires_at=end, paid_until=end + timedelta(days=9), renews=True),
        a_license(4, expires_at=end, renews=True),
    ]
    await listed.put(licenses, events_of)
    seen: list[str] = []

    def note(license_: License, warning: int) -> Event:
        seen.append(license_.license_id)
        return warning_of(license_, warning, NOW)

    await listed.warn(NOW, note)
    # What an operator has shortened ends, whatever is paid.
    assert seen == [each.license_id for each in licenses[1:]]


async def test_the_licenses_of_a_user_at_discord_are_found(listed: LicenseList) -> None:
    mine = [a_license(number, discord_user_id="1" * 17) for number in (1, 2)]
    await listed.put([*mine, a_license(3, discord_user_id="2" * 17), a_license(4)], events_of)
    assert await listed.of_discord_user("1" * 17, 9) == mine
    assert await listed.of_discord_user("1" * 17, 1) == mine[:1]
    assert await listed.of_discord_user("3" * 17, 9) == []


async def test_a_list_ahead_of_a_restored_source_is_set_back_and_tells_nothing(
    database: Database, listed: LicenseList
) -> None:
    restored = a_license()
    await listed.put([changed(changed(restored, notes="lost"), status="revoked")], events_of)
    before = await told(database)

    class Source:
        async def license_pages(self) -> AsyncIterator[list[License]]:
            yield [restored]

        async def get_license(self, license_id: str) -> License:
            return restored

    service = LicenseListingService(Source(), LicenseList(database), PLANS, lambda: NOW)
    assert await service.run() == 1
    assert await listed.revisions([restored.license_id]) == {restored.license_id: 1}
    assert await told(database) == before
    assert await service.run() == 0
