"""Hooks in memory."""

from datetime import datetime

import msgspec

from shared.domain.access.hooks import MAX_HOOKS, Hook
from shared.errors import Conflict
from tests.support.memory_signals import Server


class MemoryHooks:
    """Shows the hooks of one account, as row-level security does; operators name no account."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.stored: dict[str, Hook] = {}

    async def add(self, hook: Hook) -> None:
        self._server.answer()
        live = [each for each in self.stored.values() if each.ended_at is None]
        if len([each for each in live if each.license_id == hook.license_id]) >= MAX_HOOKS:
            raise Conflict(f"The license {hook.license_id} has {MAX_HOOKS} hooks; end one first.")
        self.stored[hook.hook_id] = hook

    async def of_secret(self, account_id: str, public_id: str) -> Hook | None:
        self._server.answer()
        for hook in self.stored.values():
            opens = public_id in (hook.public_id, hook.previous_public_id) and hook.ended_at is None
            if opens and hook.account_id == account_id:
                return hook
        return None

    async def get(self, account_id: str | None, hook_id: str) -> Hook | None:
        self._server.answer()
        hook = self.stored.get(hook_id)
        return hook if hook is not None and account_id in (None, hook.account_id) else None

    async def of_account(self, account_id: str, license_id: str | None) -> list[Hook]:
        self._server.answer()
        found = [hook for hook in self.stored.values() if license_id in (None, hook.license_id)]
        return [hook for hook in reversed(found) if hook.account_id == account_id]

    async def rotate(self, hook: Hook, public_id: str, at: datetime) -> Hook | None:
        self._server.answer()
        stored = self.stored[hook.hook_id]
        if stored.ended_at is not None or stored.public_id != hook.public_id:
            return None
        return self._changed(stored, previous_public_id=stored.public_id, public_id=public_id, rotated_at=at)

    async def end(self, account_id: str, hook_id: str, at: datetime) -> Hook | None:
        hook = await self.get(account_id, hook_id)
        return None if hook is None else self._changed(hook, ended_at=hook.ended_at or at)

    def _changed(self, hook: Hook, **values: object) -> Hook:
        self.stored[hook.hook_id] = msgspec.structs.replace(hook, **values)
        return self.stored[hook.hook_id]
