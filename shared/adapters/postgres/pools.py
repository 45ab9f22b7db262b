"""Divides a process's connections into pools, so that one kind of work takes none from another."""

from shared.adapters.postgres.connections import CONNECTIONS_POOL_SIZE
from shared.adapters.postgres.database import JOBS_POOL_SIZE, JOBS_ROLE, Database, Password
from shared.adapters.postgres.performance import COSTLY_POOL_SIZE


class Pools:
    """The pools of one event loop; each opens on first use.

    `costly` is for queries that take long, `connections` for the counts of open sockets, whose limit must
    hold however busy `main` is. What timers do across accounts goes through a pool of their own login.
    """

    def __init__(
        self,
        url: str,
        *,
        role: str,
        main_size: int,
        password: Password | None,
        jobs_url: str | None,
        jobs_password: Password | None,
    ) -> None:
        """`jobs_url` is the address under the timers' login; without it, `url` must allow their role."""
        jobs = (
            Database(jobs_url, role=JOBS_ROLE, pool_size=JOBS_POOL_SIZE, password=jobs_password)
            if jobs_url
            else None
        )
        self.main = Database(url, role=role, pool_size=main_size, password=password, jobs=jobs)
        self.costly = Database(url, role=role, pool_size=COSTLY_POOL_SIZE, idle_size=0, password=password)
        self.connections = Database(
            url, role=role, pool_size=CONNECTIONS_POOL_SIZE, idle_size=0, password=password, jobs=jobs
        )

    async def close(self) -> None:
        for pool in (self.main, self.costly, self.connections):
            await pool.close()
