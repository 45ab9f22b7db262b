"""Makes the demo accounts' missing licenses and keys, and keeps the keys in the state directory."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from local.stack.state import StateDirectory
from shared.adapters.tables import LicenseTables
from shared.container import Container
from shared.domain.access.keys import hash_key, parse_key, same_hash
from shared.domain.access.licenses import Scope
from shared.domain.access.plans import Overrides
from shared.services.licenses import LicenseService
from shared.settings import read_settings

# Azurite writes its tables to disk every 5 s.
DURABLE_TIMEOUT_S = 8.0
LOAD_ACCOUNT = "load"
LOAD_REQUESTS_PER_MINUTE = 10_000


@dataclass(frozen=True)
class _Account:
    account_id: str
    scope: Scope
    requests_per_minute: int | None


# The three bots of `make run` have accounts of their own, so that each sees only its own trades, and
# limits that a fast replay does not reach. `bot` and `bot2` have the limits of the plan.
_ACCOUNTS = {
    "bot": _Account("demo", "bot", None),
    "bot2": _Account("demo-2", "bot", None),
    "publisher": _Account("demo-publisher", "publisher", 60_000),
    "feeder": _Account("demo-feeder", "feeder", 60_000),
    "ops": _Account("demo-ops", "ops", 6_000),
    "demo-bot-1": _Account("demo-bot-1", "bot", 10_000),
    "demo-bot-2": _Account("demo-bot-2", "bot", 10_000),
    "demo-bot-3": _Account("demo-bot-3", "bot", 10_000),
}
_PUBLIC = ("bot", "bot2", "publisher", "feeder", "ops")


@dataclass(frozen=True)
class DemoKeys:
    """API keys in plain text by name; `made` holds the public ids of those that are new."""

    by_name: Mapping[str, str]
    load: tuple[str, ...]
    made: tuple[str, ...]

    @property
    def public(self) -> dict[str, str]:
        """The keys of stack.json."""
        return {name: self.by_name[name] for name in _PUBLIC}

    @property
    def feeder(self) -> str:
        return self.by_name["feeder"]

    @property
    def ops(self) -> str:
        return self.by_name["ops"]

    @property
    def demo_bots(self) -> list[str]:
        return [key for name, key in self.by_name.items() if name.startswith("demo-bot-")]


async def demo_keys(settings: Mapping[str, str], state: StateDirectory, load_count: int) -> DemoKeys:
    """The keys of earlier starts; a new key for each one that the key store no longer has."""
    container = Container(read_settings(settings))
    try:
        return await _ensure(container, settings["API_KEY_PEPPER"].encode(), state, load_count)
    finally:
        await container.close()


async def _ensure(container: Container, pepper: bytes, state: StateDirectory, load_count: int) -> DemoKeys:
    kept = state.read_keys()
    kept_load = state.read_load_keys()[:load_count]
    known = await asyncio.gather(
        *(_is_known(container.tables, kept.get(name), pepper) for name in _ACCOUNTS),
        _is_known(container.tables, kept_load[-1] if len(kept_load) == load_count > 0 else None, pepper),
    )
    licenses = container.license_service("local stack")
    made: list[str] = []
    by_name: dict[str, str] = {}
    for (name, account), there in zip(_ACCOUNTS.items(), known[:-1], strict=True):
        by_name[name] = kept[name] if there else await _make(licenses, account)
        if not there:
            made.append(parse_key(by_name[name]).public_id)
    if made:
        state.write_keys(by_name)
    if load_count and not known[-1]:
        kept_load = await _make_for_load(licenses, load_count)
        made.append(parse_key(kept_load[-1]).public_id)
        state.keep_load_keys(kept_load)
    return DemoKeys(by_name, tuple(kept_load[:load_count]), tuple(made))


async def _is_known(store: LicenseTables, key: str | None, pepper: bytes) -> bool:
    if not key:
        return False
    found = await store.get_key(parse_key(key).public_id)
    return found is not None and found.status == "active" and same_hash(found.key_hash, hash_key(key, pepper))


async def _make(licenses: LicenseService, account: _Account) -> str:
    license_ = await licenses.create_license(
        account.account_id, overrides=Overrides(requests_per_minute=account.requests_per_minute)
    )
    return (await licenses.create_key(license_.license_id, (account.scope,))).plain


async def _make_for_load(licenses: LicenseService, count: int) -> list[str]:
    overrides = Overrides(requests_per_minute=LOAD_REQUESTS_PER_MINUTE)
    license_ = await licenses.create_license(LOAD_ACCOUNT, plan="load", overrides=overrides)
    return await licenses.create_keys(license_.license_id, count)


async def await_durable(keys: DemoKeys, state: StateDirectory) -> None:
    """Waits until Azurite has written the new keys to disk, so that they survive if it is killed."""
    written = state.data / "azurite" / "__azurite_db_table__.json"
    deadline = time.monotonic() + DURABLE_TIMEOUT_S
    while keys.made and time.monotonic() < deadline:
        text = await asyncio.to_thread(written.read_text, encoding="utf-8") if written.exists() else ""
        if all(public_id in text for public_id in keys.made):
            return
        await asyncio.sleep(0.1)
