"""Audits the changes of one actor. A change stands, even if its audit entry cannot be written."""

import logging
from collections.abc import Mapping
from typing import Protocol

from shared.errors import Unavailable

log = logging.getLogger(__name__)


class AuditLog(Protocol):
    async def write(self, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None: ...


class Auditor:
    """Writes entries under the name of `actor`."""

    def __init__(self, audit: AuditLog, actor: str) -> None:
        self._audit = audit
        self._actor = actor

    async def note(self, action: str, subject: str, **detail: object) -> bool:
        """Whether the change is audited; logs why it is not."""
        try:
            await self._audit.write(self._actor, action, subject, detail)
        except Unavailable as error:
            log.warning("not audited: %s by %s, %s: %s", action, self._actor, subject, error.internal)
            return False
        return True
