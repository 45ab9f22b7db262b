"""Records who changed what; rows are only ever added."""

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Database
from shared.sql import queries

_SQL = queries("audit")


class Audit:
    """Writes entries under the login of the functions, or of the jobs if `jobs` is true."""

    def __init__(self, database: Database, *, jobs: bool = False) -> None:
        self._database = database
        self._jobs = jobs

    async def write(self, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        """Adds one entry; `detail` is plain JSON and holds no secret. Raises Unavailable.

        The database takes the entry's actor from the login of this connection, and adds `actor` as a note.
        """
        entry = {"note": actor, "action": action, "subject": subject, "detail": Jsonb(dict(detail))}
        async with self._database.transaction(jobs=self._jobs) as connection:
            await connection.execute(_SQL["write"], entry)
