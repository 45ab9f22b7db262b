"""The part of a connect event that we use."""

from shared.domain.access.hub_events import ConnectRequest
from shared.domain.decoding import decode


def test_the_groups_are_those_of_the_token() -> None:
    body = b'{"claims": {"sub": ["a"], "webpubsub.group": ["key.a", "once.b"]}, "query": {}}'
    assert decode(body, ConnectRequest).groups == ["key.a", "once.b"]
    assert ConnectRequest({"role": ["webpubsub.joinLeaveGroup"]}).groups == []
