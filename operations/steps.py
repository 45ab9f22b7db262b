"""Runs the steps of a long operation in order: skips those that are done, and continues after a failure.

Each step asks the systems themselves whether it is done, never a file on this machine. So the next run begins
where this one stopped, also on another machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from operations.command import UsageError
from shared.errors import ConfigurationError, SignalCloudError


@dataclass(frozen=True, slots=True)
class Step:
    """A part of an operation. `does` says it in one sentence; `usual_s` is how long it usually takes.

    `is_done` asks whether nothing is left to do, and changes nothing; a step without it always runs. `act` is
    safe to repeat: whatever a former attempt has made, it finds and keeps. Both raise SignalCloudError.
    """

    name: str
    does: str
    usual_s: float
    act: Callable[[], None]
    is_done: Callable[[], bool] | None = None


class StepFailed(ConfigurationError):
    """A step failed; the text names it, `internal` says why."""

    def __init__(self, step: Step, error: SignalCloudError) -> None:
        why = "\n  ".join(filter(None, (error.detail, error.internal)))
        super().__init__(
            f"The step {step.name} failed. Mend the cause and run the same command again: it continues here.",
            internal=why,
        )
        self.step = step


def chosen(steps: Sequence[Step], *, first: str | None = None, only: Sequence[str] = ()) -> list[Step]:
    """The steps from `first` on, and of them those in `only` if it names any; raises UsageError."""
    names = [step.name for step in steps]
    unknown = [name for name in (first, *only) if name is not None and name not in names]
    if unknown:
        raise UsageError(f"there is no step {', '.join(unknown)}, only {', '.join(names)}")
    begin = names.index(first) if first else 0
    picked = [step for step in steps[begin:] if not only or step.name in only]
    if not picked:
        raise UsageError(f"nothing is to do: {', '.join(only)} comes before {first}")
    return picked


def run_steps(
    steps: Sequence[Step],
    *,
    dry_run: bool = False,
    say: Callable[[str], None] = print,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Runs each step that is not done, and says what it does; raises StepFailed at the first that fails.

    In a dry run each `act` runs too, and must print its changes in place of making them (see `Cloud`).
    """
    for number, step in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] {step.name}: {step.does} (usually {duration(step.usual_s)})")
        began = now()
        try:
            if step.is_done is not None and step.is_done():
                say("  is done already")
                continue
            step.act()
        except KeyboardInterrupt:
            say(f"  interrupted: run the same command again, and it continues with {step.name}")
            raise
        except SignalCloudError as error:
            raise StepFailed(step, error) from error
        if not dry_run:
            say(f"  done in {duration(now() - began)}")


def duration(seconds: float) -> str:
    """A duration to read, such as `20 s` or `12 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
