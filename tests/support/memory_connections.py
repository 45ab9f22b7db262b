"""The table of connections in memory, with the same rules as its SQL."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from shared.domain.access.connections import ConnectedSession, Opening, Verdict, judge_openings
from shared.domain.access.sessions import SessionRecord
from shared.errors import DatabaseBusy, DatabaseUnavailable


@dataclass
class Row:
    license_id: str
    opened_at: float
    checked_at: float
    session_id: str | None = None
    session: SessionRecord | None = None


@dataclass
class MemoryConnections:
    """`is_away` makes it fail; `is_busy` means that every connection is in use.

    `batches` are the numbers of openings and closings of each transaction.
    """

    clock: Callable[[], float] = lambda: 0.0
    is_away: Callable[[], bool] = lambda: False
    is_busy: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    batches: list[tuple[int, int]] = field(default_factory=list)
    pruned: list[float] = field(default_factory=list)

    def _answer(self) -> None:
        if self.is_away():
            raise DatabaseUnavailable("The database cannot be reached.", internal="refused")
        if self.is_busy:
            raise DatabaseBusy("Too many requests wait for the database.", retry_after_s=1.0)

    def of(self, license_id: str) -> list[str]:
        return sorted(name for name, row in self.rows.items() if row.license_id == license_id)

    async def record(self, openings: Sequence[Opening], closed: Sequence[str]) -> list[Verdict]:
        self._answer()
        self.batches.append((len(openings), len(closed)))
        for name in closed:
            self.rows.pop(name, None)
        present = Counter(row.license_id for row in self.rows.values())
        verdicts = judge_openings(openings, present, self.used)
        for opening, verdict in zip(openings, verdicts, strict=True):
            if verdict == "opened":
                self.used.setdefault(opening.nonce, opening.connection_id)
                row = Row(opening.license_id, self.clock(), self.clock(), opening.session_id, opening.session)
                self.rows.setdefault(opening.connection_id, row)
        return verdicts

    async def unchecked(self, older_than_s: float, limit: int) -> list[str]:
        self._answer()
        oldest: dict[str, float] = {}
        for row in self.rows.values():
            oldest[row.license_id] = min(row.checked_at, oldest.get(row.license_id, row.checked_at))
        due = [(at, name) for name, at in oldest.items() if self.clock() - at > older_than_s]
        return [name for _, name in sorted(due)][:limit]

    async def counted(self, license_id: str) -> list[str]:
        self._answer()
        return self.of(license_id)

    async def compare(
        self, license_id: str, listed: Collection[str], added: Collection[str], older_than_s: float
    ) -> int:
        self._answer()
        now = self.clock()
        missing = [
            name
            for name in self.of(license_id)
            if name not in listed and now - self.rows[name].opened_at > older_than_s
        ]
        for name in missing:
            del self.rows[name]
        for name in added:
            self.rows.setdefault(name, Row(license_id, now, now))
        for name in self.of(license_id):
            self.rows[name].checked_at = now
        return len(missing)

    async def excess(self, license_id: str, limit: int) -> list[str]:
        self._answer()
        return sorted(self.of(license_id), key=lambda name: (self.rows[name].opened_at, name))[limit:]

    async def connected_sessions(self, after: str, limit: int) -> list[ConnectedSession]:
        self._answer()
        found: dict[str, ConnectedSession] = {}
        for name, row in sorted(self.rows.items(), key=lambda each: -each[1].opened_at):
            if row.session_id is not None and row.session_id > after:
                new = ConnectedSession(row.license_id, row.session_id, row.session, [])
                found.setdefault(row.session_id, new).connection_ids.append(name)
        return [found[session_id] for session_id in sorted(found)][:limit]

    async def prune_used_urls(self, older_than_s: float) -> int:
        self._answer()
        self.pruned.append(older_than_s)
        return 0
