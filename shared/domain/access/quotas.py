"""Decides whether an account may store more trades."""

import msgspec

from shared.domain.access.plans import Plan
from shared.errors import DailyQuotaExceeded, StorageQuotaExceeded


class Usage(msgspec.Struct, frozen=True):
    """What an account has stored, and how many trades on the present UTC day."""

    trades_today: int = 0
    stored_trades: int = 0
    stored_bytes: int = 0


def require_room(usage: Usage, plan: Plan, until_midnight_s: float, *, more: int = 0) -> None:
    """Raises the refusal if `usage` with `more` trades is above the plan's quotas.

    `until_midnight_s` are the seconds to the next UTC day, when the count of the day starts again.
    """
    for name, used, limit in (
        ("trades", usage.stored_trades + more, plan.stored_trades),
        ("bytes of trades", usage.stored_bytes + more, plan.stored_bytes),
    ):
        if used > limit:
            raise StorageQuotaExceeded(
                f"The plan allows {limit} stored {name}, and this report would exceed them. Nothing of it "
                "was recorded. GET license shows the usage; another plan allows more."
            )
    if usage.trades_today + more > plan.trades_per_day:
        raise DailyQuotaExceeded(
            f"The plan allows {plan.trades_per_day} new trades a day (UTC), and this report would exceed "
            "them. Nothing of it was recorded. GET license shows the usage; send the trades again after "
            "midnight UTC.",
            retry_after_s=until_midnight_s,
        )
