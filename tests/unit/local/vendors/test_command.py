"""`python -m local.vendors` shows people what happened, and never ends in a traceback."""

import json
import sys
from pathlib import Path

import pytest

from local.vendors.__main__ import main
from local.vendors.shown import shown
from tests.support.ports import free_port

MAIL = {
    "number": 7,
    "vendor": "smtp",
    "at": 1_790_000_000.0,
    "to": ["me@example.com"],
    "subject": "Your license is ready",
    "text": "Fetch your key here:\n\nhttp://127.0.0.1:7071/api/claim/x\n",
    "html": "<p>Fetch</p>",
    "sender": "",
}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["vendors", *arguments])
    return main()


def test_a_mail_is_shown_with_its_link_on_a_line_of_its_own() -> None:
    lines = shown({"received": [MAIL]}).splitlines()
    assert lines[0] == "7  smtp  2026-09-21T14:13:20Z"
    assert "    to: me@example.com" in lines
    assert "        http://127.0.0.1:7071/api/claim/x" in lines
    assert "<p>" not in "\n".join(lines)
    assert shown({"received": []}) == "nothing has come in"


def test_an_order_shows_what_became_of_each_event() -> None:
    found = {"subscription": "sub_1", "customer": "cus_1", "email": "me@example.com", "events": []}
    deliveries = [
        {"kind": "invoice.paid", "statuses": [0, 200], "is_taken": True},
        {"kind": "charge.succeeded", "statuses": [401], "is_taken": False},
    ]
    text = shown({**found, "deliveries": deliveries})
    assert "taken: no answer, 200" in text
    assert "not taken: 401" in text


def test_a_fault_is_confirmed_and_one_of_an_unknown_vendor_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = {"vendor": "slack", "kind": "status", "count": 2}
    assert shown(fault) == "slack fails its next 2 requests (status)"
    assert shown(fault | {"count": 0}) == "slack works"
    with pytest.raises(SystemExit):
        run(monkeypatch, "fault", "slak")


def test_a_stack_that_is_gone_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "received", "--state", str(tmp_path)) == 1
    assert "use make up" in capsys.readouterr().err
    vendors = {"url": f"http://127.0.0.1:{free_port()}", "control_token": "t"}
    (tmp_path / "stack.json").write_text(json.dumps({"vendors": vendors}))
    assert run(monkeypatch, "received", "--state", str(tmp_path)) == 1
    assert "do not answer" in capsys.readouterr().err
