"""The state directory of a stack: its lock, its files and its secrets."""

import stat
from pathlib import Path

import pytest

from local.stack.state import StateDirectory, StateInUse
from local.supervisor import Command


def test_state_is_held_by_one_and_run_forgets(tmp_path: Path) -> None:
    run, up = StateDirectory(tmp_path, "run"), StateDirectory(tmp_path, "up")
    with run.held():
        run.write_keys({"bot": "k"})
        secret = run.secret("one")
        with pytest.raises(StateInUse, match="STATE="), up.held():
            pass
        run.publish({"base_url": "http://127.0.0.1:1"})
        for path in (run.stack_file, tmp_path / "secrets.json", run.data / "keys.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not run.stack_file.exists()
    with run.held():
        assert run.read_keys() == {}
        assert run.secret("one") == secret
    with up.held():
        up.write_keys({"bot": "k"})
    with up.held():
        assert up.read_keys() == {"bot": "k"}


def test_nobody_else_can_enter_its_directories_even_if_they_were_made_for_everybody(tmp_path: Path) -> None:
    root = tmp_path / "state"
    for directory in (root, root / "up", root / "logs"):
        directory.mkdir(mode=0o755)
    (root / "lock").touch(mode=0o644)
    state = StateDirectory(root, "up")
    with state.held():
        for directory in (state.root, state.data, state.logs):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((root / "lock").stat().st_mode) == 0o600


async def test_what_a_process_writes_only_its_owner_can_read(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.touch(mode=0o644)
    made = tmp_path / "made"
    command = Command(
        ["/bin/sh", "-c", f"echo logged; mkdir {made}; echo data > {made}/file"], {}, log, tmp_path
    )
    await command.start()
    assert await command.wait() == 0
    assert log.read_text() == "logged\n"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (log, made, made / "file")]
    assert modes == [0o600, 0o700, 0o600]


def test_a_secret_made_earlier_is_not_taken_for_one_that_settings_give(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path, "up")
    made = state.secret("api_key_pepper")
    other = state.secret("valkey_password")
    state.forget_secret("api_key_pepper")
    assert "api_key_pepper" not in (tmp_path / "secrets.json").read_text()
    assert state.secret("valkey_password") == other
    assert state.secret("api_key_pepper") != made
