"""Every operation of azure-messaging-webpubsubservice, unmodified, and the refusals of the REST API."""

import asyncio
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncServiceClient
from yarl import URL

from tests.support.webpubsub import BareClient, Dialer, StandIn

ODD_NAMES = ["a/b", "100%", "a b", "é", "it's", "a?b&c=d#e", "%2F", "+"]


async def _call[T](operation: Callable[..., T], *arguments: object, **options: object) -> T:
    return await asyncio.to_thread(partial(operation, *arguments, **options))


async def test_sending_to_all_in_each_content_type(dial: Dialer, service: WebPubSubServiceClient) -> None:
    client = await dial.json()
    await _call(service.send_to_all, {"n": 1})
    await _call(service.send_to_all, "plain ü", content_type="text/plain")
    await _call(service.send_to_all, io.BytesIO(b"\x00\x01"), content_type="application/octet-stream")
    received = [await client.next() for _ in range(3)]
    assert [(message["dataType"], message["data"]) for message in received] == [
        ("json", {"n": 1}),
        ("text", "plain ü"),
        ("binary", "AAE="),
    ]
    assert all(message["from"] == "server" for message in received)


async def test_sending_leaves_out_the_excluded_and_what_the_filter_does_not_match(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    ann, bob, nobody = await dial.json(sub="ann"), await dial.json(sub="bob"), await dial.json()
    everyone = (ann, bob, nobody)
    await _call(service.send_to_all, 1, excluded=[ann.connection_id, nobody.connection_id])
    assert (await bob.next())["data"] == 1
    await _call(service.send_to_all, 2, filter="startswith(userId, 'a') or userId eq null")
    assert [(await client.next())["data"] for client in (ann, nobody)] == [2, 2]
    await _call(service.send_to_all, 3, filter=f"connectionId in ('{bob.connection_id}')")
    assert (await bob.next())["data"] == 3
    for client in everyone:
        await client.nothing_came()


async def test_sending_to_groups_users_and_connections(dial: Dialer, service: WebPubSubServiceClient) -> None:
    ann, bob = await dial.json(sub="ann"), await dial.json(sub="bob")
    for client in (ann, bob):
        await _call(service.add_connection_to_group, "g", client.connection_id)
    await _call(service.send_to_group, "g", "for the group", excluded=[bob.connection_id])
    await _call(service.send_to_group, "g", "filtered", filter="'g' in groups and userId ne 'ann'")
    await _call(service.send_to_user, "ann", "for ann", filter="'g' in groups")
    await _call(service.send_to_user, "ann", "not for ann", filter="not ('g' in groups)")
    await _call(service.send_to_connection, bob.connection_id, "for bob")
    assert [(await ann.next())["data"] for _ in range(2)] == ["for the group", "for ann"]
    assert [(await bob.next())["data"] for _ in range(2)] == ["filtered", "for bob"]
    for client in (ann, bob):
        await client.nothing_came()


def test_a_missing_target_is_accepted(service: WebPubSubServiceClient) -> None:
    service.send_to_group("nobody", {})
    service.send_to_user("nobody", {})
    service.send_to_connection("nobody", {})
    service.close_connection("nobody")
    service.close_user_connections("nobody")
    service.close_group_connections("nobody")
    service.remove_connection_from_all_groups("nobody")
    service.remove_connection_from_group("g", "nobody")
    service.remove_user_from_all_groups("nobody")
    service.remove_user_from_group("g", "nobody")
    service.revoke_permission("sendToGroup", "nobody")
    assert list(service.list_connections(group="nobody")) == []
    assert not service.has_permission("sendToGroup", "nobody")
    for missing in (
        partial(service.add_connection_to_group, "g", "nobody"),
        partial(service.add_user_to_group, "g", "nobody"),
        partial(service.grant_permission, "sendToGroup", "nobody"),
    ):
        with pytest.raises(ResourceNotFoundError):
            missing()


async def test_existence(dial: Dialer, service: WebPubSubServiceClient) -> None:
    client = await dial.json(sub="ann", **{"webpubsub.group": "g"})
    present = (
        partial(service.connection_exists, client.connection_id),
        partial(service.user_exists, "ann"),
        partial(service.group_exists, "g"),
    )
    assert [await _call(exists) for exists in present] == [True, True, True]
    await client.ws.close()
    assert [await _call(exists) for exists in present] == [False, False, False]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_names_travel_percent_encoded(dial: Dialer, service: WebPubSubServiceClient, name: str) -> None:
    client = await dial.json(sub=name)
    await _call(service.add_user_to_group, name, name)
    assert await _call(service.user_exists, name)
    assert await _call(service.group_exists, name)
    await _call(service.send_to_group, name, 1, filter="userId eq '{}'".format(name.replace("'", "''")))
    assert (await client.next())["group"] == name
    await _call(service.grant_permission, "joinLeaveGroup", client.connection_id, target_name=name)
    await client.join(name)


async def test_membership_by_connection_and_user(dial: Dialer, service: WebPubSubServiceClient) -> None:
    one, two = await dial.json(sub="ann"), await dial.json(sub="ann")

    async def members(group: str) -> set[str]:
        return {
            member.connection_id
            for member in await _call(lambda: list(service.list_connections(group=group)))
        }

    both = {one.connection_id, two.connection_id}
    for group in ("g", "h", "i"):
        await _call(service.add_user_to_group, group, "ann")
    assert await members("g") == both
    await _call(service.remove_connection_from_group, "g", one.connection_id)
    assert await members("g") == {two.connection_id}
    await _call(service.remove_connection_from_all_groups, two.connection_id)
    assert await members("h") == {one.connection_id}
    await _call(service.remove_user_from_group, "h", "ann")
    assert not await _call(service.group_exists, "h")
    await _call(service.remove_user_from_all_groups, "ann")
    assert not await _call(service.group_exists, "i")


async def test_listing_goes_by_pages_and_stops_at_top(dial: Dialer, service: WebPubSubServiceClient) -> None:
    clients = [await dial.json(sub=f"user{number}", **{"webpubsub.group": "g"}) for number in range(7)]
    ids = [client.connection_id for client in clients]

    def pages(**options: Any) -> list[list[str]]:
        found = service.list_connections(group="g", **options).by_page()
        return [[member.connection_id for member in page] for page in found]

    assert await _call(pages, maxpagesize=3) == [ids[:3], ids[3:6], ids[6:]]
    assert await _call(pages, maxpagesize=3, top=5) == [ids[:3], ids[3:5]]
    assert await _call(pages, top=7) == [ids]
    assert [
        member.user_id for member in await _call(lambda: list(service.list_connections(group="g", top=2)))
    ] == [
        "user0",
        "user1",
    ]


async def test_permissions_override_roles_and_leave_membership(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    client = await dial.json(role=["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.g"])
    await client.join("g")
    has = partial(service.has_permission, connection_id=client.connection_id)
    assert await _call(has, "joinLeaveGroup")
    assert not await _call(has, "sendToGroup")
    assert await _call(has, "sendToGroup", target_name="g")
    await _call(service.revoke_permission, "joinLeaveGroup", client.connection_id, target_name="g")
    refused = await client.request(type="joinGroup", group="g", ackId=2)
    assert refused["error"]["name"] == "Forbidden"
    assert await _call(service.group_exists, "g")
    await client.join("another", ack_id=3)
    await _call(service.revoke_permission, "joinLeaveGroup", client.connection_id)
    assert not await _call(has, "joinLeaveGroup", target_name="another")
    await _call(service.grant_permission, "sendToGroup", client.connection_id)
    assert (await client.request(type="sendToGroup", group="x", data=1, dataType="json", ackId=4))["success"]


async def test_closing_by_connection_user_group_and_hub(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    async def fresh() -> tuple[BareClient, BareClient]:
        claims = {"sub": "ann", "webpubsub.group": "g"}
        return await dial.json(**claims), await dial.json(**claims)

    closings: list[Callable[[list[str], str], None]] = [
        lambda spared, why: service.close_user_connections("ann", excluded=spared, reason=why),
        lambda spared, why: service.close_group_connections("g", excluded=spared, reason=why),
        lambda spared, why: service.close_all_connections(excluded=spared, reason=why),
    ]
    for close in closings:
        closed, spared = await fresh()
        await _call(close, [spared.connection_id], "why not")
        assert (await closed.next())["message"] == "why not"
        assert await closed.closed() == 1000
        await spared.nothing_came()
        await _call(service.close_connection, spared.connection_id)
        assert (await spared.next())["event"] == "disconnected"


async def test_access_tokens_with_roles_and_groups_open_the_door(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    made = await _call(
        service.get_client_access_token,
        user_id="ann",
        roles=["webpubsub.joinLeaveGroups.symbol.*"],
        groups=["greeted"],
        minutes_to_expire=1,
    )
    client = BareClient(await dial.socket(made["url"], "json.webpubsub.azure.v1"))
    client.connected = await client.next()
    assert client.connected["userId"] == "ann"
    assert await _call(service.group_exists, "greeted")
    await client.join("symbol.ES")
    assert not (await client.request(type="joinGroup", group="symbol.ES.x", ackId=2))["success"]


async def test_the_server_makes_tokens_too(stand_in: StandIn, hub: str, dial: Dialer) -> None:
    query = (
        "userId=ann&role=webpubsub.joinLeaveGroup&group=a&group=b&minutesToExpire=5&api-version=2024-12-01"
    )
    url = f"{stand_in.http}/api/hubs/{hub}/:generateToken?{query}"
    bearer = jwt.encode({"aud": url, "exp": 4_000_000_000}, stand_in.key, algorithm="HS256")
    async with dial.session.post(url, headers={"Authorization": f"Bearer {bearer}"}) as response:
        assert response.status == 200
        token = (await response.json())["token"]
    claims = jwt.decode(token, stand_in.key, algorithms=["HS256"], options={"verify_aud": False})
    assert claims["exp"] - claims["iat"] == 300
    assert (claims["sub"], claims["role"], claims["webpubsub.group"]) == (
        "ann",
        ["webpubsub.joinLeaveGroup"],
        ["a", "b"],
    )
    ws = await dial.socket(
        f"{stand_in.http}/client/hubs/{hub}?access_token={token}", "json.webpubsub.azure.v1"
    )
    assert (await BareClient(ws).next())["userId"] == "ann"


async def test_the_async_service_client(stand_in: StandIn, hub: str, dial: Dialer) -> None:
    client = await dial.json(sub="ann")
    async with AsyncServiceClient.from_connection_string(stand_in.connection_string, hub=hub) as service:
        await service.add_user_to_group("a/b", "ann")
        assert await service.group_exists("a/b")
        await service.send_to_group("a/b", {"n": 1}, filter="userId eq 'ann'")
        assert (await client.next())["data"] == {"n": 1}
        token = await service.get_client_access_token(user_id="bob")
        assert token["url"].startswith(f"ws://127.0.0.1:{stand_in.port}/client/hubs/{hub}?access_token=")
        await service.close_all_connections(reason="done")
    assert (await client.next())["message"] == "done"


def test_a_reverse_proxy_leaves_the_audience_as_it_is_configured(stand_in: StandIn, hub: str) -> None:
    with WebPubSubServiceClient(
        "http://pubsub.invalid:1234",
        hub,
        AzureKeyCredential(stand_in.key),
        reverse_proxy_endpoint=stand_in.http,
    ) as service:
        service.send_to_all({"through": "the proxy"})


@pytest.mark.parametrize(
    "params",
    [
        {"filter": "userId eq"},
        {"filter": "length(groups) gt 1"},
        {"messageTtlSeconds": "301"},
        {"messageTtlSeconds": "-1"},
        {"messageTtlSeconds": "soon"},
    ],
)
def test_a_bad_query_is_a_400(service: WebPubSubServiceClient, params: dict[str, str]) -> None:
    with pytest.raises(HttpResponseError) as refused:
        service.send_to_all({}, params=params)
    assert refused.value.status_code == 400


@pytest.mark.parametrize("ttl_s", [0, 300])
def test_the_bounds_of_the_time_to_live(service: WebPubSubServiceClient, ttl_s: int) -> None:
    service.send_to_all({}, params={"messageTtlSeconds": ttl_s})


def test_another_key_is_a_401(stand_in: StandIn, hub: str) -> None:
    with (
        WebPubSubServiceClient(stand_in.http, hub, AzureKeyCredential("x" * 40)) as service,
        pytest.raises(ClientAuthenticationError),
    ):
        service.send_to_all({})


def _bearer(stand_in: StandIn, audience: str, **claims: object) -> dict[str, str]:
    content = {"aud": audience, "exp": 4_000_000_000} | claims
    return {"Authorization": "Bearer " + jwt.encode(content, stand_in.key, algorithm="HS256")}


async def test_what_a_request_token_must_say(stand_in: StandIn, hub: str, dial: Dialer) -> None:
    path = f"{stand_in.http}/api/hubs/{hub}/groups/a%2Fb/:send"
    url = f"{path}?api-version=2024-12-01"

    async def status(headers: dict[str, str], address: str = url, body: bytes = b"{}") -> int:
        headers = {"Content-Type": "application/json"} | headers
        async with dial.session.post(
            URL(address, encoded=True), data=io.BytesIO(body), headers=headers
        ) as answer:
            return answer.status

    for accepted in (
        url,
        path,
        path.upper(),
        path.replace("%2F", "/"),
        f"https://other{path[len(stand_in.http) :]}",
    ):
        assert await status(_bearer(stand_in, accepted)) == 202, accepted
    assert await status(_bearer(stand_in, url, exp=1)) == 401
    assert await status(_bearer(stand_in, url.replace("a%2Fb", "c"))) == 401
    assert await status(_bearer(stand_in, f"{url}&filter=x")) == 401
    assert await status({}) == 401
    assert await status(_bearer(stand_in, path), path) == 400
    assert await status(_bearer(stand_in, path), url.replace("2024-12-01", "2021-10-01")) == 400
    assert await status(_bearer(stand_in, path), body=b"{") == 400
    assert await status(_bearer(stand_in, path), body=b'"\xff"') == 400
    assert await status(_bearer(stand_in, path) | {"Content-Type": "text/html"}) == 415
    assert await status(_bearer(stand_in, path), body=b'"' + b"x" * (1 << 20) + b'"') == 413


async def test_broken_connections_do_not_fail_a_send(
    stand_in: StandIn, dial: Dialer, service: WebPubSubServiceClient
) -> None:
    """A 500 would make the SDK send again, and every healthy subscriber would get the message twice."""
    healthy = await dial.json()
    for _ in range(20):
        broken = await dial.json()
        broken.ws.get_extra_info("socket").shutdown(2)
    for number in range(5):
        await _call(service.send_to_all, number)
    assert [(await healthy.next())["data"] for _ in range(5)] == list(range(5))
    await healthy.nothing_came()
