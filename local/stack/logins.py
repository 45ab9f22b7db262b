"""Gives the functions and the timers of a stack logins of their own, with the same rights as in Azure.

The stack itself, and the commands that an operator runs, use the administrator's login.
"""

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from local.stack.state import StateDirectory
from shared.adapters.postgres.database import FUNCTIONS_ROLE, JOBS_ROLE
from shared.adapters.postgres.logins import make_login

FUNCTIONS_LOGIN = "signal_http"
JOBS_LOGIN = "signal_timers"


async def separate_logins(admin_url: str, state: StateDirectory) -> tuple[str, str]:
    """Makes both logins in a migrated database; returns the addresses for functions and for timers."""
    urls = []
    async with await AsyncConnection.connect(admin_url, autocommit=True) as connection:
        for login, role in ((FUNCTIONS_LOGIN, FUNCTIONS_ROLE), (JOBS_LOGIN, JOBS_ROLE)):
            password = state.secret(f"{login}_password")
            await make_login(connection, login, role, password)
            urls.append(make_conninfo(admin_url, user=login, password=password))
    functions_url, jobs_url = urls
    return functions_url, jobs_url
