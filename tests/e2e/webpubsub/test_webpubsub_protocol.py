"""The client endpoint frame by frame: connecting, groups, acks, sequences, recovery, closing."""

import asyncio
import base64
import io
import time

import aiohttp
import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from tests.support.webpubsub import (
    ALL_ROLES,
    JSON_PROTOCOL,
    RELIABLE_PROTOCOL,
    BareClient,
    Dialer,
    StandIn,
    break_off,
    eventually,
)


async def test_connected_says_who_the_client_is(dial: Dialer) -> None:
    plain = await dial.json(sub="ann")
    reliable = await dial.reliable()
    assert plain.connected["userId"] == "ann"
    assert "reconnectionToken" not in plain.connected
    assert reliable.connected["reconnectionToken"]
    assert "userId" not in reliable.connected


async def test_connecting_by_query_path_and_header(stand_in: StandIn, hub: str, dial: Dialer) -> None:
    token = stand_in.token(hub)
    by_query = await dial.socket(f"{stand_in.http}/client/?hub={hub}&access_token={token}", JSON_PROTOCOL)
    by_header = await dial.socket(
        f"{stand_in.http}/client/hubs/{hub}",
        JSON_PROTOCOL,
        headers={"Authorization": f"Bearer {token}"},
    )
    other_audience = stand_in.token(hub, aud=f"https://elsewhere/client/?hub={hub}")
    by_old_audience = await dial.socket(
        f"{stand_in.http}/client/?hub={hub}&access_token={other_audience}", JSON_PROTOCOL
    )
    for ws in (by_query, by_header, by_old_audience):
        assert (await BareClient(ws).next())["event"] == "connected"


@pytest.mark.parametrize(
    "claims",
    [
        {"lifetime_s": -1},
        {"aud": "http://127.0.0.1/client/hubs/another"},
        {"aud": "http://127.0.0.1/api/hubs/x/:send"},
        {"nbf": time.time() + 3600},
        {"sub": "x" * 129},
    ],
    ids=["expired", "another hub", "a REST token", "not yet valid", "long user id"],
)
async def test_a_token_that_does_not_fit_is_refused_at_connect(
    dial: Dialer, claims: dict[str, float | str]
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial.json(**claims)
    assert refused.value.status == 401


async def test_a_foreign_signature_and_a_missing_token_are_refused(
    stand_in: StandIn, hub: str, dial: Dialer
) -> None:
    head, body, _ = stand_in.token(hub).split(".")
    for query in (f"?access_token={head}.{body}.AAAA", ""):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await dial.socket(f"{stand_in.http}/client/hubs/{hub}{query}", JSON_PROTOCOL)
        assert refused.value.status == 401


async def test_expiry_counts_at_connect_only(dial: Dialer) -> None:
    client = await dial.reliable(lifetime_s=2, role=ALL_ROLES)
    await asyncio.sleep(3)
    await client.join("g")
    await break_off(client)
    again = await dial.recover(client)
    assert (await again.next())["event"] == "connected"


async def test_what_is_not_an_upgrade_is_a_bad_request(stand_in: StandIn, hub: str, dial: Dialer) -> None:
    async with dial.session.get(f"{stand_in.http}/client/hubs/{hub}") as response:
        assert response.status == 400
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial.socket(stand_in.url(hub), "protobuf.webpubsub.azure.v1")
    assert refused.value.status == 400


async def test_groups_from_the_token_and_by_role(dial: Dialer) -> None:
    listener = await dial.json(**{"webpubsub.group": ["a", "b"]})
    sender = await dial.json(role="webpubsub.sendToGroup.a", sub="sam")
    assert (await sender.request(type="sendToGroup", group="a", data={"n": 1}, dataType="json", ackId=1))[
        "success"
    ]
    assert await listener.next() == {
        "type": "message",
        "from": "group",
        "fromUserId": "sam",
        "group": "a",
        "dataType": "json",
        "data": {"n": 1},
    }
    refused = await sender.request(type="sendToGroup", group="b", data=1, dataType="json", ackId=2)
    assert refused["error"]["name"] == "Forbidden"
    refused = await listener.request(type="joinGroup", group="c", ackId=3)
    assert refused["success"] is False
    assert refused["error"]["name"] == "Forbidden"
    await listener.nothing_came()


async def test_leaving_a_group_ends_its_messages(dial: Dialer, service: WebPubSubServiceClient) -> None:
    client = await dial.json(role=ALL_ROLES)
    await client.join("g")
    assert (await client.request(type="leaveGroup", group="g", ackId=2))["success"]
    await asyncio.to_thread(service.send_to_group, "g", {"lost": True})
    await client.nothing_came()
    assert not await asyncio.to_thread(service.group_exists, "g")


async def test_no_echo_spares_the_sender_only(dial: Dialer) -> None:
    sender, other = await dial.json(role=ALL_ROLES), await dial.json(role=ALL_ROLES)
    for client in (sender, other):
        await client.join("g")
    await sender.request(type="sendToGroup", group="g", data="quiet", dataType="text", noEcho=True, ackId=2)
    await sender.send(type="sendToGroup", group="g", data="loud", dataType="text")
    assert (await sender.next())["data"] == "loud"
    assert [(await other.next())["data"] for _ in range(2)] == ["quiet", "loud"]


@pytest.mark.parametrize("data_type", ["binary", "protobuf"])
async def test_binary_data_travels_as_base64(dial: Dialer, data_type: str) -> None:
    client = await dial.json(role=ALL_ROLES)
    await client.join("g")
    data = base64.b64encode(bytes(range(256))).decode()
    await client.send(type="sendToGroup", group="g", data=data, dataType=data_type)
    message = await client.next()
    assert (message["dataType"], message["data"]) == (data_type, data)


async def test_numbers_keep_every_digit(dial: Dialer) -> None:
    client = await dial.json(role=ALL_ROLES)
    await client.join("g")
    await client.ws.send_str('{"type":"sendToGroup","group":"g","dataType":"json","data":{"price":6543.250}}')
    assert '{"price":6543.250}' in await client.ws.receive_str(timeout=5)


async def test_acks_take_a_moment_and_an_ack_id_counts_once(dial: Dialer) -> None:
    client = await dial.json(role=ALL_ROLES)
    began = time.monotonic()
    await client.join("g", ack_id=7)
    assert time.monotonic() - began >= 0.009
    await client.send(type="sendToGroup", group="g", data=1, dataType="json", ackId=8)
    assert (await client.next())["data"] == 1
    assert (await client.next())["success"]
    again = await client.request(type="sendToGroup", group="g", data=1, dataType="json", ackId=8)
    assert again["success"] is False
    assert again["error"]["name"] == "Duplicate"
    await client.nothing_came()


async def test_a_refused_request_may_be_repeated_under_its_ack_id(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    client = await dial.json()
    assert not (await client.request(type="joinGroup", group="g", ackId=1))["success"]
    await asyncio.to_thread(service.grant_permission, "joinLeaveGroup", client.connection_id, target_name="g")
    assert (await client.request(type="joinGroup", group="g", ackId=1))["success"]


async def test_recovery_replays_what_was_not_acknowledged_in_order(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    client = await dial.reliable(role=ALL_ROLES)
    await client.join("g")
    for number in (1, 2, 3):
        await asyncio.to_thread(service.send_to_group, "g", {"n": number})
        assert (await client.next())["sequenceId"] == number
    await client.send(type="sequenceAck", sequenceId=2)
    await client.nothing_came()
    await break_off(client)
    await asyncio.to_thread(service.send_to_group, "g", {"n": 4})
    await asyncio.to_thread(service.send_to_group, "g", {"n": 5}, params={"messageTtlSeconds": 1})
    await asyncio.to_thread(service.send_to_connection, client.connection_id, {"n": 6})
    await asyncio.sleep(1.2)
    again = await dial.recover(client)
    assert await again.next() == client.connected
    assert [(await again.next())["sequenceId"] for _ in range(3)] == [3, 4, 6]
    await again.nothing_came()


async def test_recovery_takes_a_living_connection_over(dial: Dialer, service: WebPubSubServiceClient) -> None:
    client = await dial.reliable(**{"webpubsub.group": "g"})
    again = await dial.recover(client)
    assert (await again.next())["event"] == "connected"
    await client.ws.receive()  # the old socket is cut
    await asyncio.to_thread(service.send_to_group, "g", {"still": "here"})
    assert (await again.next())["data"] == {"still": "here"}


async def test_what_cannot_be_recovered_is_accepted_and_closed_with_1008(dial: Dialer) -> None:
    client = await dial.reliable()
    wrong_token = await dial.recover(client, token="wrong")
    assert await wrong_token.closed() == 1008
    await client.ws.close()
    ended = await dial.recover(client)
    assert await ended.closed() == 1008


async def test_too_many_unacknowledged_messages_refuse_the_recovery(
    dial: Dialer, service: WebPubSubServiceClient
) -> None:
    sender, client = await dial.json(role=ALL_ROLES), await dial.reliable(**{"webpubsub.group": "g"})
    for number in range(1_001):
        await sender.send(type="sendToGroup", group="g", data=number, dataType="json")
    assert [(await client.next())["data"] for _ in range(1_001)] == list(range(1_001))
    await break_off(client)
    again = await dial.recover(client)
    assert await again.closed() == 1008
    await eventually(lambda: not service.connection_exists(client.connection_id), "its end")


async def test_a_late_acknowledgement_makes_recovery_possible_again(dial: Dialer) -> None:
    sender, client = await dial.json(role=ALL_ROLES), await dial.reliable(**{"webpubsub.group": "g"})
    for number in range(1_500):
        await sender.send(type="sendToGroup", group="g", data=number, dataType="json")
    for _ in range(1_500):
        await client.next()
    await client.send(type="sequenceAck", sequenceId=1_499)
    await client.nothing_came()
    await break_off(client)
    again = await dial.recover(client)
    assert (await again.next())["event"] == "connected"
    assert (await again.next())["sequenceId"] == 1_500


async def test_closing_says_why_and_ends_with_1000(dial: Dialer, service: WebPubSubServiceClient) -> None:
    client = await dial.reliable()
    await asyncio.to_thread(service.close_connection, client.connection_id, reason="enough")
    assert await client.next() == {"type": "system", "event": "disconnected", "message": "enough"}
    assert await client.closed() == 1000
    assert await (await dial.recover(client)).closed() == 1008


async def test_a_simple_client_gets_bare_data(
    stand_in: StandIn, hub: str, dial: Dialer, service: WebPubSubServiceClient
) -> None:
    ws = await dial.socket(stand_in.url(hub, sub="simon", **{"webpubsub.group": "g"}))
    assert ws.protocol is None
    await asyncio.to_thread(service.send_to_group, "g", {"n": 1})
    assert await ws.receive_str(timeout=5) == '{"n": 1}'
    await asyncio.to_thread(service.send_to_user, "simon", "hello", content_type="text/plain")
    assert await ws.receive_str(timeout=5) == "hello"
    await asyncio.to_thread(
        service.send_to_all, io.BytesIO(b"\x00\xff"), content_type="application/octet-stream"
    )
    assert await ws.receive_bytes(timeout=5) == b"\x00\xff"
    await ws.send_str("taken, and heard by nobody")
    await asyncio.to_thread(service.close_all_connections, reason="bye")
    message = await ws.receive(timeout=5)
    assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1000, "bye")


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        '{"type":"invoke","invocationId":"1"}',
        '{"type":"joinGroup","group":""}',
        f'{{"type":"joinGroup","group":"{"g" * 1025}"}}',
        f'{{"type":"event","event":"{"e" * 129}"}}',
        '{"type":"joinGroup","group":"g","ackId":-1}',
        '{"type":"sendToGroup","group":"g","dataType":"text","data":1}',
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"%"}',
        '{"type":"sendToGroup","group":"g","dataType":"xml","data":"<a/>"}',
        "[" * 100_000,
    ],
)
async def test_a_frame_that_breaks_the_protocol_ends_the_connection(dial: Dialer, frame: str) -> None:
    client = await dial.json(role=ALL_ROLES)
    await client.ws.send_str(frame)
    assert (await client.next())["event"] == "disconnected"
    assert await client.closed() == 1008


async def test_a_frame_over_1_mb_is_too_big_and_one_of_1_mb_is_not(dial: Dialer) -> None:
    client = await dial.json(role=ALL_ROLES)
    await client.join("g")
    frame = '{"type":"sendToGroup","group":"g","dataType":"text","data":"%s"}'
    await client.ws.send_str(frame % ("x" * ((1 << 20) - len(frame) + 2)))
    assert len((await client.next())["data"]) > 1_000_000
    await client.ws.send_str(frame % ("x" * ((1 << 20) - len(frame) + 3)))
    assert await client.closed() == 1009


async def test_a_consumer_that_does_not_read_is_cut_and_others_go_on(
    stand_in: StandIn, hub: str, dial: Dialer, service: WebPubSubServiceClient
) -> None:
    sender = await dial.json(role=ALL_ROLES)
    good = await dial.reliable(**{"webpubsub.group": "g"})
    host = ("127.0.0.1", stand_in.port)
    deaf = []
    for protocol in (JSON_PROTOCOL, RELIABLE_PROTOCOL):
        reader, writer = await asyncio.open_connection(*host, limit=1024)
        path = stand_in.url(hub, sub="deaf", **{"webpubsub.group": "g"}).partition(str(stand_in.port))[2]
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
            f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
        )
        assert b"101" in await reader.readline()
        deaf.append(writer)
    assert len([one for one in service.list_connections(group="g") if one.user_id == "deaf"]) == 2
    data = "x" * 500_000
    for number in range(60):
        await sender.send(type="sendToGroup", group="g", data=f"{number} {data}", dataType="text")
        message = await good.next()
        assert message["data"].startswith(f"{number} ")
        await good.send(type="sequenceAck", sequenceId=message["sequenceId"])
    assert not await asyncio.to_thread(service.user_exists, "deaf")
    for writer in deaf:
        writer.transport.abort()
