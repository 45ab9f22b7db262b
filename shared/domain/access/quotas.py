"""Decides whether an account may store more trades."""

import msgspec

from shared.domain.access.plans import Plan
from shared.errors import DailyQuotaExceeded, SignalCloudError, StorageQuotaExceeded


class Usage(msgspec.Struct, frozen=True):
    """What an account has stored, and how many trades on the present UTC day."""

    trades_today: int = 0
    stored_trades: int = 0
    stored_bytes: int = 0

    def plus(self, trades: int, size: int) -> "Usage":
        """The usage after a report of so many new trades, of `size` bytes together."""
        return Usage(self.trades_today + trades, self.stored_trades + trades, self.stored_bytes + size)


def quota_refusal(usage: Usage, plan: Plan, until_midnight_s: float) -> SignalCloudError | None:
    """The refusal of a report after which the account would have `usage`; None if the plan allows it.

    `until_midnight_s` are the seconds to the next UTC day, when the count of the day starts again.
    """
    for name, used, limit in (
        ("trades", usage.stored_trades, plan.stored_trades),
        ("bytes of trades", usage.stored_bytes, plan.stored_bytes),
    ):
        if used > limit:
            return StorageQuotaExceeded(
                f"The plan allows {limit} stored {name}, and this report would exceed them. Nothing of it "
                "was recorded. GET license shows the usage; another plan allows more."
            )
    if usage.trades_today > plan.trades_per_day:
        return DailyQuotaExceeded(
            f"The plan allows {plan.trades_per_day} new trades a day (UTC), and this report would exceed "
            "them. Nothing of it was recorded. GET license shows the usage; send the trades again after "
            "midnight UTC.",
            retry_after_s=until_midnight_s,
        )
    return None


def require_room(usage: Usage, plan: Plan, until_midnight_s: float) -> None:
    """Raises what `quota_refusal` returns."""
    refused = quota_refusal(usage, plan, until_midnight_s)
    if refused is not None:
        raise refused
