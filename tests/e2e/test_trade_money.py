"""What a bot meets on the running stack if its pnl is after fees, and if it withdraws a trade."""

import httpx

from tests.e2e.test_http_api import a_trade
from tests.support.running import RunningStack


def test_a_trade_after_fees_is_refused_and_says_what_to_send(stack: RunningStack) -> None:
    with stack.client("bot") as api:
        answer = api.post("/trades", json=a_trade(pnl="108.00", fees="4.50"))
        right = api.post("/trades", json=a_trade(pnl="112.50", fees="4.50"))
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    (error,) = answer.json()["errors"]
    assert error["field"].endswith("pnl")
    assert "Expected 112.5 USD" in error["message"]
    assert "It is the amount after fees" in error["message"]
    assert right.json()["recorded"] == 1


def test_a_trade_is_withdrawn_for_good(stack: RunningStack) -> None:
    headers = {"Authorization": f"Bearer {stack.new_key()['key']}"}
    stranger = {"Authorization": f"Bearer {stack.new_key()['key']}"}
    with httpx.Client(base_url=f"{stack.base_url}/api", headers=headers) as api:
        trade, other = a_trade(trade_id="a.b_c:d-1"), a_trade()
        api.post("/trades", json={"trades": [trade, other]})
        assert api.get("/performance").json()["trades"] == 2
        assert api.delete("/trades/a.b_c:d-1", headers=stranger).json()["code"] == "trade_not_found"
        first = api.delete("/trades/a.b_c:d-1")
        assert (first.status_code, first.json()["trade_id"]) == (200, "a.b_c:d-1")
        assert api.delete("/trades/a.b_c%3Ad-1").json() == first.json()
        assert api.get("/performance").json()["trades"] == 1
        stored = {row["trade_id"]: row["withdrawn_at"] for row in api.get("/trades").json()["trades"]}
        assert stored == {"a.b_c:d-1": first.json()["withdrawn_at"], other["trade_id"]: None}
        again = api.post("/trades", json=trade).json()
        assert again["results"] == [
            {"trade_id": "a.b_c:d-1", "status": "duplicate", "withdrawn": True, "index": 0}
        ]
        refused = api.request("PUT", "/trades/a.b_c:d-1")
        assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE")
