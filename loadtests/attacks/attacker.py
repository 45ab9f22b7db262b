"""Runs one attack in a process of its own, at low priority.

`python -m loadtests.attacks.attacker` reads a Plan (MessagePack) on standard input, runs the attack between
the plan's times, and writes an Outcome on standard output.
"""

import os
import resource
import sys
import time

import msgspec
import uvloop

from loadtests.attacks.catalog import ATTACKS
from loadtests.attacks.field import Field, Outcome, Plan

# The innocent bot and the servers come first: this measures the servers' defences, not the machine's size.
NICENESS = 15


async def _attack(plan: Plan) -> Outcome:
    field = Field(plan)
    await ATTACKS[plan.name].run(field)
    return Outcome(answers=dict(field.answers), notes=field.notes, cpu_s=time.process_time())


def main() -> None:
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(_attack(plan))))


if __name__ == "__main__":
    main()
