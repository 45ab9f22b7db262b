"""Decodes and encodes messages of the JSON subprotocols of Web PubSub."""

import base64
import binascii
from typing import Annotated, Literal

import msgspec
from aiohttp import WSMsgType

from local.webpubsub.frames import encode_frame, frame_header
from local.webpubsub.limits import MAX_EVENT_CHARS, MAX_GROUP_CHARS

JSON_PROTOCOL = "json.webpubsub.azure.v1"
RELIABLE_PROTOCOL = "json.reliable.webpubsub.azure.v1"

DataType = Literal["json", "text", "binary", "protobuf"]
AckError = Literal["Forbidden", "Duplicate", "InternalServerError"]
Group = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_GROUP_CHARS)]
Event = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EVENT_CHARS)]
AckId = Annotated[int, msgspec.Meta(ge=0)]


class MessageInvalid(Exception):
    """The frame or body does not follow the protocol."""


class JoinGroup(msgspec.Struct, tag="joinGroup", rename="camel"):
    group: Group
    ack_id: AckId | None = None


class LeaveGroup(msgspec.Struct, tag="leaveGroup", rename="camel"):
    group: Group
    ack_id: AckId | None = None


class SendToGroup(msgspec.Struct, tag="sendToGroup", rename="camel"):
    group: Group
    data: msgspec.Raw
    data_type: DataType = "json"
    no_echo: bool = False
    ack_id: AckId | None = None


class SendEvent(msgspec.Struct, tag="event", rename="camel"):
    event: Event
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_type: DataType = "json"
    ack_id: AckId | None = None


class SequenceAck(msgspec.Struct, tag="sequenceAck", rename="camel"):
    sequence_id: AckId


class Ping(msgspec.Struct, tag="ping"):
    pass


Upstream = JoinGroup | LeaveGroup | SendToGroup | SendEvent | SequenceAck | Ping
_upstream: msgspec.json.Decoder[Upstream] = msgspec.json.Decoder(Upstream)
_encoder = msgspec.json.Encoder()


def decode_upstream(payload: bytes, *, is_text: bool) -> Upstream:
    """Returns the request in a message of a client; raises MessageInvalid."""
    if not is_text:
        raise MessageInvalid("Only text frames are expected.")
    try:
        return _upstream.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageInvalid(str(error)) from error


class Payload(msgspec.Struct, frozen=True):
    """The data of a message: JSON text for json, UTF-8 for text, plain bytes for binary and protobuf."""

    data_type: DataType
    content: bytes

    def as_json(self) -> bytes:
        """Returns the value of a `data` field."""
        if self.data_type == "json":
            return self.content
        if self.data_type == "text":
            return _encoder.encode(self.content.decode())
        return b'"' + base64.b64encode(self.content) + b'"'


def payload_from_frame(data_type: DataType, data: msgspec.Raw) -> Payload:
    """Returns the payload of a `data` field; raises MessageInvalid if it does not fit `data_type`."""
    try:
        if data_type == "json":
            return payload_from_body("json", bytes(data))
        text = msgspec.json.decode(data, type=str)
        if data_type == "text":
            return Payload("text", text.encode())
        return Payload(data_type, base64.b64decode(text, validate=True))
    except (msgspec.MsgspecError, UnicodeError, binascii.Error) as error:
        raise MessageInvalid(f"data is not valid for dataType {data_type}.") from error


def payload_from_body(data_type: DataType, body: bytes) -> Payload:
    """Returns the payload of a whole body; raises MessageInvalid for broken JSON or UTF-8.

    It checks JSON but keeps the text, so that numbers keep every digit.
    """
    try:
        if data_type == "json":
            msgspec.json.decode(body)
            return Payload("json", body.strip())
        if data_type == "text":
            body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageInvalid(f"The content is not valid {data_type}.") from error
    return Payload(data_type, body)


class Message:
    """One message to many connections, which share one frame for each subprotocol."""

    __slots__ = ("_body", "_heads", "_json", "_payload", "_shared", "_simple", "_tail", "expires_at", "size")

    def __init__(self, origin: bytes, payload: Payload, expires_at: float | None) -> None:
        head = b'{"type":"message",' + origin + b',"dataType":"' + payload.data_type.encode() + b'","data":'
        self._payload = payload
        self._body = head + payload.as_json() + b"}"
        self._tail = b"," + self._body[1:]
        self._json: bytes | None = None
        self._simple: bytes | None = None
        self._heads: dict[int, bytes] = {}
        self._shared: tuple[int, bytes] | None = None
        self.expires_at = expires_at
        self.size = len(self._body)

    def json_frame(self) -> bytes:
        if self._json is None:
            self._json = encode_frame(WSMsgType.TEXT, self._body)
        return self._json

    def simple_frame(self) -> bytes:
        """Returns the bare data, for a client without a JSON subprotocol."""
        if self._simple is None:
            opcode = WSMsgType.TEXT if self._payload.data_type in ("json", "text") else WSMsgType.BINARY
            self._simple = encode_frame(opcode, self._payload.content)
        return self._simple

    def reliable_frame(self, sequence_id: int) -> bytes:
        """Returns the frame with `sequence_id`; connections at the same number share it."""
        if self._shared is not None and self._shared[0] == sequence_id:
            return self._shared[1]
        digits = b"%d" % sequence_id
        head = self._heads.get(len(digits))
        if head is None:
            length = len(b'{"sequenceId":') + len(digits) + len(self._tail)
            head = self._heads[len(digits)] = frame_header(WSMsgType.TEXT, length) + b'{"sequenceId":'
        frame = head + digits + self._tail
        self._shared = (sequence_id, frame)
        return frame


def from_group(group: str, from_user_id: str | None, payload: Payload, expires_at: float | None) -> Message:
    origin = b'"from":"group","group":' + _encoder.encode(group)
    if from_user_id is not None:
        origin += b',"fromUserId":' + _encoder.encode(from_user_id)
    return Message(origin, payload, expires_at)


def from_server(payload: Payload, expires_at: float | None) -> Message:
    return Message(b'"from":"server"', payload, expires_at)


def connected_frame(connection_id: str, user_id: str | None, reconnection_token: str | None) -> bytes:
    content: dict[str, str] = {"type": "system", "event": "connected", "connectionId": connection_id}
    if user_id is not None:
        content["userId"] = user_id
    if reconnection_token is not None:
        content["reconnectionToken"] = reconnection_token
    return encode_frame(WSMsgType.TEXT, _encoder.encode(content))


def disconnected_frame(reason: str) -> bytes:
    content = {"type": "system", "event": "disconnected", "message": reason}
    return encode_frame(WSMsgType.TEXT, _encoder.encode(content))


def ack_frame(ack_id: int, error: AckError | None, text: str) -> bytes:
    content: dict[str, object] = {"type": "ack", "ackId": ack_id, "success": error is None}
    if error is not None:
        content["error"] = {"name": error, "message": text}
    return encode_frame(WSMsgType.TEXT, _encoder.encode(content))


PONG_MESSAGE = encode_frame(WSMsgType.TEXT, b'{"type":"pong"}')
