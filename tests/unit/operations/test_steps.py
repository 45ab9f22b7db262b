"""Steps run in order, are skipped when they are done, and say where they stopped."""

import pytest

from operations.command import UsageError
from operations.steps import Step, StepFailed, chosen, run_steps
from shared.errors import ConfigurationError


class World:
    """Remembers what was done; `broken` fails once."""

    def __init__(self, broken: str = "") -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.broken = broken

    def step(self, name: str, *, always: bool = False) -> Step:
        def act() -> None:
            if self.broken == name:
                self.broken = ""
                raise ConfigurationError(f"{name} is refused", internal="by Azure")
            self.done.append(name)

        return Step(name, f"Makes {name}", 90, act, None if always else lambda: name in self.done)

    def run(self, *steps: Step) -> None:
        run_steps(steps, say=self.said.append, now=lambda: 0.0)


def test_steps_run_in_order_and_say_what_they_do_and_how_long() -> None:
    world = World()
    world.run(world.step("a"), world.step("b"))
    assert world.done == ["a", "b"]
    assert world.said == [
        "[1/2] a: Makes a (usually 90 s)",
        "  done in 0 s",
        "[2/2] b: Makes b (usually 90 s)",
        "  done in 0 s",
    ]


def test_the_next_run_continues_with_the_step_that_failed() -> None:
    world = World(broken="b")
    steps = [world.step("a"), world.step("b"), world.step("test", always=True)]
    with pytest.raises(StepFailed, match="step b failed") as raised:
        world.run(*steps)
    assert raised.value.internal == "b is refused\n  by Azure"
    assert raised.value.step.name == "b"
    world.run(*steps)
    assert world.done == ["a", "b", "test"]
    world.run(*steps)
    assert world.done == ["a", "b", "test", "test"]


def test_an_interruption_says_where_it_continues() -> None:
    world = World()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.run(Step("pulumi", "Makes all", 1200, interrupted))
    assert world.said[-1].endswith("continues with pulumi")


def test_steps_can_be_chosen() -> None:
    world = World()
    steps = [world.step(name) for name in "abcd"]
    assert [step.name for step in chosen(steps, first="b")] == ["b", "c", "d"]
    assert [step.name for step in chosen(steps, only=("d", "a"))] == ["a", "d"]
    with pytest.raises(UsageError, match="there is no step x, only a, b, c, d"):
        chosen(steps, first="x")
    with pytest.raises(UsageError, match="nothing is to do: a comes before b"):
        chosen(steps, first="b", only=("a",))
