"""Lists the steps of a move to the passive region, in an order in which no sequence is given twice.

The passive app is up while its database is promoted. After a forced promotion it could give bots a sequence
that the lost region gave before. So the replica is made read-only by default before the promotion, and
accepts writes only after its counters were raised.
"""

from operations.failover.move import BACKUP_DAYS, Move
from operations.steps import Step

# With these steps done, bots are served.
SERVING = frozenset(
    (
        "fence-app",
        "fence-database",
        "promote",
        "sequences",
        "open-database",
        "timers",
        "release-bots",
        "smoke",
    )
)


def steps(move: Move) -> list[Step]:
    """The steps of `move`, in order."""
    return (_forced if move.is_forced else _planned)(move)


def _forced(move: Move) -> list[Step]:
    new = move.new
    return [
        Step("check", "says how far the new region lags behind", 30, move.check),
        Step("fence-app", "stops the old app if it answers", 60, move.stop_app, move.is_app_stopped),
        Step(
            "begin-licenses", "starts the move of licenses and keys if their region is lost", 20,
            move.begin_licenses, move.are_licenses_here,
        ),
        Step(
            "fence-database", "lets the replica refuse writes after its promotion", 60,
            lambda: move.set_fence("on"), lambda: move.is_promoted() or move.fence() == "on",
        ),
        Step("promote", "makes the replica the primary server", 300, move.promote, move.is_promoted),
        Step(
            "sequences", "leaves a gap, so that no sequence is given twice", 5,
            move.raise_sequences, move.are_sequences_raised,
        ),
        Step(
            "open-database", "lets the new primary server accept writes", 60,
            lambda: move.set_fence("off"), lambda: move.fence() == "off",
        ),
        Step("timers", "starts the timers", 60, move.start_timers, move.are_timers_on),
        Step("licenses", "waits for licenses and keys", 3600, move.await_licenses, move.are_licenses_here),
        Step("release-bots", "cuts the connections to the old hub", 60, move.release_bots),
        Step("smoke", "tests the bots' address", 120, move.smoke),
        _program(move),
        Step("backups", f"keeps them for {BACKUP_DAYS} days", 120, move.keep_backups, move.are_backups_kept),
        Step("remains", f"says what is left to do beside {new.stack}", 1, move.say_what_remains),
    ]  # fmt: skip


def _planned(move: Move) -> list[Step]:
    old = move.old
    return [
        Step("check", "says how far the new region lags behind", 30, move.check),
        Step("fence-app", "stops the old app", 60, move.stop_app, move.is_app_stopped),
        Step("promote", "exchanges the two servers, without a loss", 300, move.promote, move.is_promoted),
        Step("timers", "starts the timers", 60, move.start_timers, move.are_timers_on),
        Step("release-bots", "cuts the connections to the old hub", 60, move.release_bots),
        Step("smoke", "tests the bots' address", 120, move.smoke),
        _program(move),
        Step(
            "old-program", f"makes {old.stack} the passive region", 300,
            lambda: move.set_role(old, "passive"), lambda: move.has_role(old, "passive"),
        ),
        Step("old-app", f"starts the app of {old.stack}", 30, move.start_old_app, move.is_old_app_running),
        Step("backups", f"keeps them for {BACKUP_DAYS} days", 120, move.keep_backups, move.are_backups_kept),
    ]  # fmt: skip


def _program(move: Move) -> Step:
    new = move.new
    return Step(
        "program", f"makes {new.stack} the active region", 300,
        lambda: move.set_role(new, "active"), lambda: move.has_role(new, "active"),
    )  # fmt: skip
