"""Lists model versions for operators, and serves a frozen version that they accept."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from shared.domain.confidence.models import ModelDocument, ModelStatus, StoredModel, is_frozen
from shared.domain.confidence.safeguards import average_of
from shared.errors import Conflict, NotFound
from shared.services.auditing import AuditLog


class ModelStore(Protocol):
    async def list(self, strategy: str | None) -> Sequence[StoredModel]: ...
    async def promote(self, version: str) -> None: ...


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version: `average` is the mean confidence that it gives, learnt from `n` signals."""

    version: str
    strategy: str
    status: ModelStatus | Literal["frozen"]
    basis: str
    average: float
    n: int


class ModelService:
    """Changes are audited under `actor`."""

    def __init__(self, *, models: ModelStore, audit: AuditLog, actor: str) -> None:
        self._models = models
        self._audit = audit
        self._actor = actor

    async def list(self, strategy: str | None) -> Sequence[ModelVersion]:
        """The newest versions of a strategy, or of all, newest first; raises Unavailable."""
        return [_version(stored) for stored in await self._models.list(strategy)]

    async def accept(self, version: str) -> None:
        """Serves a frozen version from now on.

        Raises NotFound, Unavailable, and Conflict for a version that is not frozen.
        """
        known = {each.version: each for each in await self.list(None)}
        if version not in known:
            raise NotFound(f"There is no model version {version} among the newest; `list` shows them.")
        chosen = known[version]
        if chosen.status != "frozen":
            raise Conflict(
                f"{version} is {chosen.status} and not frozen; only frozen versions need to be accepted."
            )
        # The entry comes first: better an entry too many than a promotion that nobody can account for.
        await self._audit.write(self._actor, "model accepted", version, {"strategy": chosen.strategy})
        await self._models.promote(version)


def _version(stored: StoredModel) -> ModelVersion:
    document = msgspec.convert(stored.document, ModelDocument)
    average = average_of(document)
    return ModelVersion(
        version=stored.version,
        strategy=stored.strategy,
        status="frozen" if is_frozen(stored, document) else stored.status,
        basis=stored.basis,
        average=average.mean,
        n=document.n,
    )
