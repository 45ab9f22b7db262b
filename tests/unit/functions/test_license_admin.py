"""Operators list, make, change and end licenses over HTTP; what nobody may do is refused with the reason."""

from datetime import timedelta
from typing import Any

import pytest

from shared.services.licenses import LicenseService
from tests.support.api import Answered, Api
from tests.support.licenses import NOW


@pytest.fixture
async def ask(api: Api) -> Any:
    """Calls a route under a key with the scopes ops and admin."""
    key = await api.key("ops", "admin", account="operators", limit=1_000)

    async def call(method: str, path: str, body: object = None, **params: Any) -> Answered:
        return await api.call(method, path, key=key, body=body, **params)

    return call


async def made(ask: Any, account: str, **values: Any) -> str:
    answered = await ask("POST", "ops/licenses", {"account_id": account} | values)
    assert answered.status == 200, answered.body
    return str(answered.json["license"]["license_id"])


async def test_the_same_reference_makes_one_license_and_other_values_are_a_conflict(ask: Any) -> None:
    asked = {"plan": "pro", "reference": "order 7", "days": 30}
    assert await made(ask, "acct-1", **asked) == await made(ask, "acct-1", **asked)
    refused = await ask(
        "POST", "ops/licenses", {"account_id": "acct-1", "reference": "order 7", "plan": "free"}
    )
    assert (refused.status, refused.code) == (409, "conflict")
    assert "plan" in refused.json["detail"]


async def test_single_values_are_overridden_shown_and_taken_back(ask: Any) -> None:
    license_id = await made(ask, "acct-1", plan="starter", notes="vip")
    path = f"ops/licenses/{license_id}"
    changed = await ask("PATCH", path, {"overrides": {"sessions": 3, "keys": 9}, "email": "a@b.example"})
    assert (changed.json["license"]["terms"]["sessions"], changed.json["license"]["notes"]) == (3, "vip")
    assert set(changed.json["license"]["overridden"]) == {"sessions", "keys"}
    changed = await ask("PATCH", path, {"overrides": {"sessions": None}, "notes": None})
    assert (changed.json["license"]["overridden"], changed.json["license"]["notes"]) == (["keys"], "")
    assert changed.json["license"]["email"] == "a@b.example"
    changed = await ask("PATCH", path, {"overrides": None, "plan": "pro"})
    assert (changed.json["license"]["overridden"], changed.json["license"]["plan"]) == ([], "pro")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plan": "platinum"}, "plan"),
        ({"overrides": {"symbols": ["GC"]}}, "symbols"),
        ({"overrides": {"sessions": 0}}, "sessions"),
        ({"overrides": {"colour": 1}}, "overrides.colour"),
        ({"email": "nobody"}, "email"),
    ],
)
async def test_unknown_plans_symbols_and_values_are_named(ask: Any, body: object, field: str) -> None:
    license_id = await made(ask, "acct-1")
    refused = await ask("PATCH", f"ops/licenses/{license_id}", body)
    assert (refused.status, refused.fields) == (422, [field])


async def test_licenses_are_listed_by_filter_in_pages_and_as_a_table(ask: Any) -> None:
    ids = [await made(ask, f"acct-{n}", plan="pro", notes="=SUM(A1)" if n == 1 else "") for n in range(5)]
    await made(ask, "acct-free", plan="free")
    seen, cursor = [], ""
    while cursor is not None:
        page = (await ask("GET", "ops/licenses", plan="pro", order="-account", limit=2, cursor=cursor)).json
        assert page["matching"] == 5
        seen += [row["license_id"] for row in page["licenses"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    table = await ask("GET", "ops/licenses", plan="pro", format="csv")
    assert table.headers["content-type"] == "text/csv"
    lines = table.body.decode().split("\r\n")
    assert len(lines) == 7  # the names, five licenses, and the end of the last line
    assert any(",'=SUM(A1)," in line for line in lines)
    refused = await ask("GET", "ops/licenses", order="price")
    assert (refused.status, refused.fields) == (422, ["order"])


async def test_a_bulk_action_says_first_what_it_would_do_then_does_it_with_an_entry_each(
    api: Api, ask: Any
) -> None:
    ids = [await made(ask, f"acct-{n}", plan="starter", days=10) for n in range(3)]
    endless = await made(ask, "acct-endless", plan="starter")
    asked = {"filter": {"plan": "starter"}, "action": "extend", "days": 30}
    told = (await ask("POST", "ops/licenses/bulk", asked)).json
    assert (told["dry_run"], told["changed"], told["refused"], told["matching"]) == (True, 3, 1, 4)
    (refused,) = [item for item in told["licenses"] if item["outcome"] == "refused"]
    assert (refused["license_id"], "never expires" in refused["detail"]) == (endless, True)
    assert api.key_store.licenses[ids[0]].expires_at == NOW + timedelta(days=10)
    api.audit.entries.clear()
    done = (await ask("POST", "ops/licenses/bulk", asked | {"dry_run": False, "limit": 2})).json
    rest = asked | {"dry_run": False, "limit": 2, "cursor": done["next_cursor"]}
    rest = (await ask("POST", "ops/licenses/bulk", rest)).json
    assert (done["changed"] + rest["changed"], rest["next_cursor"]) == (3, None)
    assert {api.key_store.licenses[each].expires_at for each in ids} == {NOW + timedelta(days=40)}
    entries = [(actor[:4], action) for actor, action, subject in api.audit.entries if subject in ids]
    assert entries == [("key ", "license extended")] * 3


async def test_a_license_that_no_longer_fits_the_filter_is_left_alone(
    api: Api, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is a moment behind: the filter is judged again on the true record."""
    license_id = await made(ask, "acct-1", plan="starter")
    listed = api.stores.license_list.listed[license_id]
    await ask("PATCH", f"ops/licenses/{license_id}", {"plan": "pro"})
    api.stores.license_list.listed[license_id] = listed
    asked = {"filter": {"plan": "starter"}, "action": "revoke", "dry_run": False}
    report = (await ask("POST", "ops/licenses/bulk", asked)).json
    assert [(item["outcome"], item["detail"]) for item in report["licenses"]] == [
        ("refused", "It no longer fits the filter.")
    ]
    assert api.key_store.licenses[license_id].status == "active"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"filter": {}, "action": "revoke"}, "filter"),
        ({"filter": {"text": ""}, "action": "revoke", "dry_run": False}, "filter"),
        ({"filter": {"text": " ", "plan": ""}, "action": "revoke", "dry_run": False}, "filter"),
        ({"filter": {"plan": "pro"}, "action": "extend"}, "days"),
        ({"filter": {"plan": "pro"}, "action": "plan", "plan": "platinum"}, "plan"),
        ({"filter": {"plan": "pro"}, "action": "suspend", "days": 3}, "days"),
        ({"filter": {"colour": "red"}, "action": "suspend"}, "filter.colour"),
        ({"filter": {"plan": "pro"}, "action": "suspend", "cursor": "x"}, "cursor"),
    ],
)
async def test_a_bulk_action_that_says_too_little_is_refused(ask: Any, asked: object, field: str) -> None:
    refused = await ask("POST", "ops/licenses/bulk", asked)
    assert (refused.status, refused.fields) == (422, [field])


async def test_an_extended_license_works_again_with_the_same_key(api: Api, ask: Any) -> None:
    service: LicenseService = api.services.license_service("tester")
    license_id = await made(ask, "acct-1", days=1)
    key = await service.create_key(license_id)
    api.clock.forward(86_400)
    await api.services.endings.run(api.clock())
    assert (await api.call("GET", "license", key=key)).code == "license_expired"
    extended = await ask("POST", f"ops/licenses/{license_id}/extend", {"days": 30})
    assert extended.json["license"]["status"] == "active"
    assert (await api.call("GET", "license", key=key)).status == 200
    refused = await ask("POST", f"ops/licenses/{license_id}/extend", {})
    assert (refused.status, refused.fields) == (422, ["days"])
    events = api.stores.notifications.events.values()
    kinds = [event.kind for event in events if event.license_id == license_id]
    assert kinds == ["license_created", "license_expired", "license_extended"]


async def test_keys_are_shown_without_secrets_rotated_and_revoked(api: Api, ask: Any) -> None:
    license_id = await made(ask, "acct-1")
    key = (await ask("POST", f"ops/licenses/{license_id}/keys", {"scopes": ["bot"]})).json
    rotated = (await ask("POST", f"ops/keys/{key['key']['public_id']}/rotate", {"overlap_s": 0})).json
    assert (await api.call("GET", "license", key=key["plain_key"])).code == "key_expired"
    assert (await api.call("GET", "license", key=rotated["plain_key"])).status == 200
    assert (await ask("POST", f"ops/keys/{rotated['key']['public_id']}/revoke")).json["caches_told"]
    assert (await api.call("GET", "license", key=rotated["plain_key"])).code == "key_revoked"
    shown = (await ask("GET", f"ops/licenses/{license_id}")).body.decode()
    assert all(stored.key_hash not in shown for stored in api.key_store.keys.values())
