"""Calls the app's own functions over stand-ins that hold state; each answer is held against its schema."""

import asyncio
import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import azure.functions as func
import jsonschema
import msgspec

from functions.openapi import document
from local.host.routing import Template
from shared import container as composition
from shared.adapters.sealing import new_private_key, public_key_of
from shared.container import Container
from shared.domain.access.licenses import ApiKey, Scope
from shared.domain.access.plans import Overrides
from shared.errors import KeyStoreUnavailable, RealtimeUnavailable
from shared.services.key_making import CreatedKey
from shared.settings import Settings
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeExports, FakeKeyStore
from tests.support.app import functions
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_stores import MemoryStores
from tests.support.requests import PATH_VALUES
from tests.support.strategies import STRATEGIES

HUB_KEY = "a2V5"
EXPORT_PRIVATE_KEY = new_private_key()
SETTINGS = Settings(
    database_url="",
    database_role="",
    database_pool_size=1,
    redis_url="",
    tables_connection_string="",
    webpubsub_connection_string=f"Endpoint=http://127.0.0.1;AccessKey={HUB_KEY};Version=1.0;Port=8080;",
    webpubsub_hub="signals",
    api_key_pepper="p" * 32,
    market_clock="wall",
    log_level="INFO",
    license_export_key=public_key_of(EXPORT_PRIVATE_KEY),
)


class MemoryRedis(FakeCache):
    """All that is kept in Redis: grants, confidences and counts."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.sums: dict[str, int] = {}
        self.tries: dict[str, int] = {}

    async def ping(self) -> None:
        self._answer()

    async def add_counts(self, counts: Mapping[str, int]) -> None:
        self._answer()
        for name, count in counts.items():
            self.sums[name] = self.sums.get(name, 0) + count

    async def counts(self) -> dict[str, int]:
        self._answer()
        return dict(self.sums)

    async def count_try(self, what: str, window_s: int) -> tuple[int, float]:
        self._answer()
        self.tries[what] = self.tries.get(what, 0) + 1
        return self.tries[what], float(window_s)

    async def get_confidence(self, key: str) -> None:
        self._answer()

    async def put_confidences(self, entries: Sequence[tuple[str, Any, str | None]]) -> None:
        self._answer()
        for key, output, token in entries:
            self.confidences[key] = output
            if token is not None and self.locks.get(key) == token:
                del self.locks[key]


class MemoryKeyStore(FakeKeyStore):
    error_count = 0

    async def ping(self) -> None:
        if self.away:
            raise KeyStoreUnavailable("The key store cannot be reached.")


class MemoryHub:
    """Web PubSub: remembers what each group was sent, which were closed, and which connections it has."""

    hub = "signals"

    def __init__(self) -> None:
        self.away = False
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.closed: list[str] = []
        self.connections: dict[str, list[str]] = {}
        self.memberships: list[tuple[str, ...]] = []

    def _answer(self) -> None:
        if self.away:
            raise RealtimeUnavailable("The hub cannot be reached.")

    async def ping(self) -> None:
        self._answer()

    async def send_to_group(self, group: str, payload: bytes) -> None:
        self._answer()
        self.sent.append((group, json.loads(payload)))

    async def close_group(self, group: str, reason: str) -> None:
        self._answer()
        self.closed.append(group)

    async def connections_in(self, group: str) -> list[str]:
        self._answer()
        return list(self.connections.get(group, ()))

    async def client_access_url(
        self, user_id: str, groups: Sequence[str], memberships: Sequence[str], lifetime: timedelta
    ) -> str:
        self._answer()
        self.memberships.append(tuple(memberships))
        return f"wss://hub/{user_id}/{','.join(groups)}"


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        is_packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if is_packed else self.body)

    @property
    def code(self) -> str:
        """The code of the problem that this answer is."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        return str(self.json["code"])

    @property
    def fields(self) -> list[str]:
        """The bad fields that the problem names."""
        return [error["field"] for error in self.json["errors"]]


class Api:
    """The app in this loop, over stand-ins for its servers."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.clock = Clock()
        self.redis = MemoryRedis(self.clock)
        self.session_store = MemorySessions(
            clock_ms=lambda: round(self.clock.timestamp() * 1000), is_away=lambda: self.redis.away
        )
        self.key_store = MemoryKeyStore()
        self.hub = MemoryHub()
        self.stores = MemoryStores(self.clock())
        self.audit = FakeAudit()
        self.exports = FakeExports()
        self.spare_keys = False
        self.services = Container(settings)
        vars(self.services).update(
            now=self.clock,
            redis=self.redis,
            session_store=self.session_store,
            tables=self.key_store,
            hub=self.hub,
            exports=self.exports,
            pools=SimpleNamespace(main=self.stores.server, close=self.stores.server.close),
            stores=SimpleNamespace(**vars(self.stores), audit=self.audit, jobs_audit=self.audit),
        )
        composition._containers[asyncio.get_running_loop()] = self.services
        composition._container_of.cache_clear()

    def forget(self) -> None:
        """The next test makes its own."""
        composition._container_of.cache_clear()
        del composition._containers[asyncio.get_running_loop()]

    @property
    def counts(self) -> dict[str, int]:
        """What was counted, requests apart."""
        totals = self.services.counters.process_totals()
        totals.pop("requests", None)
        return {name: count for name, count in totals.items() if count}

    async def key(
        self,
        *scopes: Scope,
        symbols: Sequence[str] = ("ES", "NQ"),
        limit: int = 100,
        account: str = "acct-1",
        sessions: int | None = None,
    ) -> CreatedKey:
        """A key of a new license."""
        licenses = self.services.license_service("tester")
        license_ = await licenses.create_license(
            account,
            overrides=Overrides(symbols=tuple(symbols), requests_per_minute=limit, sessions=sessions),
            may_be_unserved=True,
        )
        if self.spare_keys:
            self._add_spare_key(license_.license_id)
        return await licenses.create_key(license_.license_id, scopes or ("bot",))

    def _add_spare_key(self, license_id: str) -> None:
        """Adds the key that PATH_VALUES names: of this license, and revoked."""
        public_id = PATH_VALUES["own_public_id"]
        self.key_store.keys[public_id] = ApiKey(
            public_id=public_id,
            key_hash="-",
            license_id=license_id,
            scopes=(),
            status="revoked",
            created_at=self.clock(),
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        key: CreatedKey | str | None = None,
        body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Answered:
        """What the function answers that serves `path`; the answer must be one that the document allows.

        `path` may have a query of its own, for names that are given twice. A declared path stands for the
        address with PATH_VALUES.
        """
        given = dict(headers or {})
        if key is not None:
            given["authorization"] = f"Bearer {key if isinstance(key, str) else key.plain}"
        path, _, query = path.format(**PATH_VALUES).partition("?")
        query = "&".join(part for part in (query, urlencode(params)) if part)
        route, run, route_params = function_of(method, path)
        sent = content if content is not None else b"" if body is None else msgspec.json.encode(body)
        request = func.HttpRequest(
            method=method,
            url=f"http://localhost/api/{path}?{query}" if query else f"http://localhost/api/{path}",
            headers=given,
            route_params=route_params,
            body=sent,
        )
        response = await run(request)
        answered = Answered(response.status_code, {**response.headers}, response.get_body())
        if route is not None and method != "HEAD":
            _check_documented(method, route, answered)
        return answered


def function_of(method: str, path: str) -> tuple[str | None, Any, dict[str, str]]:
    """The route and the function that serve a request, and its route parameters, as the host finds them."""
    for function in functions().values():
        trigger = function.get_trigger()
        if trigger is None or trigger.type != "httpTrigger" or "{*" in trigger.route:
            continue
        methods = {str(getattr(each, "value", each)) for each in trigger.methods}
        route_params = Template(trigger.route).match(f"/{path}")
        if route_params is not None and method in methods:
            return trigger.route, function.get_user_function(), route_params
    return None, functions()["zz_unmatched"].get_user_function(), {"path": path}


@cache
def _described() -> Any:
    return json.loads(msgspec.json.encode(document(STRATEGIES)))


def _check_documented(method: str, path: str, answered: Answered) -> None:
    described = _described()
    responses = described["paths"][f"/{path}"][method.lower()]["responses"]
    if answered.status == 500:
        assert answered.code == "internal"
        return
    assert str(answered.status) in responses, f"{method} {path} answers {answered.status}: {answered.body!r}"
    told = responses[str(answered.status)]
    content = told.get("content")
    if content is None:
        assert answered.body == b""
        return
    assert answered.headers["content-type"] in content
    if answered.status >= 400 and "problem" in answered.headers["content-type"]:
        assert answered.code in told["description"].split(", ")
    schema = content[answered.headers["content-type"]].get("schema")
    if schema is None or "json" not in answered.headers["content-type"]:
        return  # a file
    whole = {**schema, "components": described["components"]}
    jsonschema.validate(answered.json, whole, cls=jsonschema.Draft202012Validator)
