"""`python -m operations.notify` against the vendors' stand-ins and a real server."""

import json
from uuid import UUID

import pytest

from operations import notify
from operations.command import UsageError
from shared.settings import read_settings
from tests.support.ports import free_port
from tests.support.vendors import vendor_stand_ins


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, database_url: str) -> dict[str, str]:
    """What the command reads, for tests to change."""
    given = {
        "DATABASE_URL": database_url,
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "TABLES_CONNECTION_STRING": "UseDevelopmentStorage=true",
        "WEBPUBSUB_CONNECTION_STRING": "Endpoint=http://localhost;AccessKey=k;Version=1.0;",
        "API_KEY_PEPPER": "p" * 32,
        "NOTIFY_COMMUNITY": f"discord://123456789012345678/{'t' * 68}",
        "NOTIFY_SMS": "twilio://sekrit",
    }
    monkeypatch.setattr(notify, "command_settings", lambda environment: read_settings(given))
    return given


async def run(*arguments: str) -> int:
    return await notify._run(notify._parser().parse_args(arguments))


async def test_a_test_shows_what_the_vendor_answers(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with vendor_stand_ins() as vendors:
        settings["VENDOR_ADDRESSES"] = json.dumps({"discord": vendors.address("discord")})
        settings["NOTIFY_MAIL"] = f"mailto://127.0.0.1:{vendors.smtp_port}?from=licenses@example.com"
        assert await run("test", "discord") == 0
        assert capsys.readouterr().out == "community (discord): sent\n"
        await vendors.fault("discord", status=429, retry_after_s=3)
        assert await run("test", "community") == 1
        assert "429 Too Many Requests. It asks to wait 3 s." in capsys.readouterr().out
        assert await run("test", "mail", "--to", "holder@example.org") == 0
        assert len(vendors.received.find("smtp")) == 1
        assert await run("test", "ops") == 1
        assert "no address" in capsys.readouterr().out


async def test_channels_are_listed_without_their_addresses(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="add --to"):
        await run("test", "mail")
    assert await run("list") == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "ready" in lines["community"]
    assert "no address" in lines["ops"]
    assert "apprise does not take this address" in lines["sms"]
    assert "sekrit" not in out
    assert "tttt" not in out


async def test_what_was_given_up_is_listed_and_what_does_not_exist_cannot_be_retried(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run("parked") == 0
    assert capsys.readouterr().out == "nothing was given up\n"
    with pytest.raises(Exception, match="no notification"):
        await run("retry", str(UUID(int=7)))
    with pytest.raises(Exception, match="no channel pigeon"):
        await run("test", "pigeon")
