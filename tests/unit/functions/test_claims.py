"""The page of claim links: what it may do, what it says next, and that only a POST uses a link."""

import html
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from shared.domain.access.licenses import License
from shared.domain.notifications.events import Event
from tests.support.api import Answered, Api
from tests.support.places import ROOT

PAGE = (ROOT / "functions/static/claim.html").read_text(encoding="utf-8")
SCRIPT = (ROOT / "functions/static/claim.js").read_text(encoding="utf-8")
ADDRESS = {"x-forwarded-for": "203.0.113.7:4711"}


async def licensed(api: Api, **values: Any) -> License:
    return await api.services.license_service("tester").create_license("acct-1", plan="starter", **values)


def link(api: Api, license_: License, kind: str = "license_created") -> str:
    """The path of the link that a message about the license shows."""
    event = {"event_id": "e", "kind": kind, "at": api.clock(), "license_id": license_.license_id}
    url = urlsplit(api.services.claims.url_for(msgspec.convert(event, Event)) or "")
    assert url.netloc == urlsplit(api.services.settings.public_url).netloc
    return url.path.removeprefix("/api/")


async def use(api: Api, path: str) -> Answered:
    return await api.call("POST", path, headers=ADDRESS)


async def test_opening_a_link_does_not_use_it(api: Api) -> None:
    path = link(api, await licensed(api))
    for method in ("GET", "HEAD", "GET"):
        assert (await api.call(method, path)).status == 200
    assert api.key_store.keys == {}
    used = await use(api, path)
    assert (used.status, used.headers["cache-control"]) == (200, "no-store")
    assert used.json["symbols"] == ["ES", "NQ"]
    again = await use(api, path)
    assert (again.status, again.code) == (409, "claim_used")
    assert "ask for a new link" in again.json["detail"]


async def test_the_page_may_do_only_what_it_needs(api: Api) -> None:
    page = await api.call("GET", link(api, await licensed(api)))
    assert page.headers["content-type"] == "text/html"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["cache-control"] == "no-store"
    rules = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    text = page.body.decode()
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", text), "nothing inline"
    for part in re.findall(r'(?:src|href)="\.\./(static/[^"]+)"', text):
        answered = await api.call("GET", part)
        assert (answered.status, answered.headers["x-content-type-options"]) == (200, "nosniff")
        assert answered.headers["content-type"] == ("text/css" if part.endswith("css") else "text/javascript")


async def test_the_command_on_the_page_works_as_it_stands(api: Api) -> None:
    claimed = (await use(api, link(api, await licensed(api)))).json
    (template,) = re.findall(r'data-template="([^"]*)"', PAGE)
    address = f"{api.services.settings.public_url}/api"
    command = html.unescape(template).format(key=claimed["key"], api=address)
    first, header, last = command.splitlines()
    curl, silent, url, option, source, document = shlex.split(first)
    assert (curl, silent, option, source, document) == ("curl", "-s", "-H", "@-", f"<<{last}")
    name, _, value = header.partition(": ")
    path = urlsplit(url).path.removeprefix("/api/")
    answered = await api.call("GET", path, headers={name.lower(): value})
    assert (answered.status, answered.json["license_id"]) == (200, claimed["license_id"])


def test_the_page_and_its_script_agree_and_every_field_has_a_label() -> None:
    ids = set(re.findall(r'\bid="([\w-]+)"', PAGE))
    used = set(re.findall(r'element\("([\w-]+)"\)', SCRIPT)) | {"offer", "given", "refused"}
    assert used <= ids
    for field in re.findall(r'<input id="(\w+)"', PAGE):
        assert f'<label for="{field}">' in PAGE
    assert '<html lang="en">' in PAGE
    assert 'role="status"' in PAGE
    assert "{key}" in SCRIPT
    assert "innerHTML" not in SCRIPT


def contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_text_has_contrast_in_light_and_dark() -> None:
    style = (ROOT / "functions/static/claim.css").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media")[:2]]
    for scheme in schemes:
        pairs = [("text", "back"), ("soft", "back"), ("text", "field"), ("on-act", "act")]
        assert all(contrast(scheme[one], scheme[other]) >= 4.5 for one, other in pairs)
        assert all(contrast(scheme[one], scheme["back"]) >= 3 for one in ("line", "act"))


async def test_links_that_are_forged_or_over_say_what_to_do(api: Api) -> None:
    path = link(api, await licensed(api))
    forged = await use(api, path[:-1] + ("0" if path[-1] != "0" else "1"))
    assert (forged.status, forged.code) == (404, "not_found")
    api.clock.forward(7 * 24 * 3600)
    over = await use(api, path)
    assert (over.status, over.code) == (403, "claim_expired")
    assert "Ask for a new one" in over.json["detail"]
    assert (await use(api, "claim/" + "x" * 129)).code == "validation_failed"
    for _ in range(28):
        await use(api, path)
    refused = await use(api, path)
    assert (refused.status, refused.code) == (429, "tries_exceeded")
    assert refused.headers["retry-after"] == "3600"


async def test_a_license_that_has_ended_or_has_all_its_keys_gives_none(api: Api) -> None:
    licenses = api.services.license_service("tester")
    full = await licensed(api)
    await licenses.create_keys(full.license_id, 2)
    assert (await use(api, link(api, full))).code == "keys_exceeded"
    revoked = await licensed(api)
    await licenses.revoke_license(revoked.license_id)
    assert (await use(api, link(api, revoked))).code == "license_revoked"
    short = await licensed(api, expires_at=api.clock.time.replace(hour=15))
    path = link(api, short)
    api.clock.forward(3600)
    assert (await use(api, path)).code == "license_expired"


async def test_an_outage_leaves_the_link_good(api: Api) -> None:
    path = link(api, await licensed(api))
    api.stores.server.away = True
    assert (await use(api, path)).code == "database_unavailable"
    api.stores.server.away, api.key_store.away = False, True
    assert (await use(api, path)).code == "key_store_unavailable"
    api.key_store.away, api.redis.away = False, True
    assert (await use(api, path)).status == 200


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers to requests for a link do not wait for the slowest one."""
    monkeypatch.setattr("shared.services.claims.asyncio.sleep", _no_time)


async def _no_time(delay_s: float) -> None:
    assert 0 <= delay_s <= 0.3


@pytest.mark.usefixtures("at_once")
async def test_a_holder_who_lost_the_keys_gets_a_link_by_mail(api: Api) -> None:
    license_ = await licensed(api, email="Me@Example.com")
    api.stores.claims.listed.append(license_)
    answers = [
        await api.call("POST", "claims", body={"email": email}, headers=ADDRESS)
        for email in ("me@example.com", "nobody@example.com")
    ]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].body == answers[1].body
    told = api.stores.notifications.events.values()
    (event,) = [each for each in told if each.kind == "claim_requested"]
    assert event.license_id == license_.license_id
    path = urlsplit(api.services.claims.url_for(event) or "").path.removeprefix("/api/")
    assert (await use(api, path)).json["others_end_at"] == "2026-03-03T14:30:00Z"


@pytest.mark.usefixtures("at_once")
async def test_requests_for_links_are_bounded_and_their_bodies_judged(api: Api) -> None:
    for email in ("", "me", "me@", "a b@example.com", "me@example.com\0", "x" * 65 + "@example.com"):
        assert (await api.call("POST", "claims", body={"email": email})).code == "validation_failed"
    assert (await api.call("POST", "claims", body={"email": "me@x.com", "cc": 1})).code == "unknown_field"
    assert api.redis.tries == {}
    for _ in range(3):
        assert (await api.call("POST", "claims", body={"email": "me@x.com"}, headers=ADDRESS)).status == 202
    refused = await api.call("POST", "claims", body={"email": "me@x.com"}, headers=ADDRESS)
    assert (refused.status, refused.code) == (429, "tries_exceeded")
    assert not any("me@x.com" in what for what in api.redis.tries), "no mail address in the cache"
    api.redis.away = True
    assert (await api.call("POST", "claims", body={"email": "you@x.com"})).code == "cache_unavailable"
    api.redis.away, api.stores.server.away = False, True
    assert (await api.call("POST", "claims", body={"email": "you@x.com"})).code == "database_unavailable"
