"""Answers every command of the bootstrap from one world: refuses, fails and is busy as that world says."""

import json
from typing import Any

from operations.process import PYTHON, Answer, Call
from tests.support.stand_in import azure, commands, deployments, directory, github, pulumi
from tests.support.stand_in.words import Words, parse
from tests.support.stand_in.world import Refused, World

_READS = {**azure.READS, **deployments.READS, **directory.READS}
_CHANGES = {**azure.CHANGES, **deployments.CHANGES, **directory.CHANGES}
_CALL_S = 1.0
LOST = "ERROR: Connection aborted: the answer did not arrive"


def answer(world: World, call: Call) -> Answer:
    """The answer of the tool that a call names; what it changes is in the world afterwards."""
    world.now += _CALL_S
    try:
        return _checked(world, call)
    except Refused as refusal:
        return refusal.answer


def _checked(world: World, call: Call) -> Answer:
    tool = call.words[0]
    words = parse(call.words) if tool in ("az", "gh", "pulumi") else None
    if not _is_change(call, words):
        return _printed(_of(world, call, words))
    world.log.append(" ".join("python" if word == PYTHON else word for word in call.words))
    number = world.changes
    is_busy = tool == "az" and world.busy_every and number % world.busy_every == 0
    if is_busy and number not in world.refused_once:
        world.refused_once.append(number)
        raise Refused("ERROR: (TooManyRequests) The request is being throttled. Please try again later.")
    if number == world.fault_at and not world.fault_after:
        raise Refused(LOST)
    printed = _printed(_of(world, call, words))
    world.changes += 1
    if number == world.fault_at:
        raise Refused(LOST)
    return printed


def _is_change(call: Call, words: Words | None) -> bool:
    if words is None:
        return call.words[0] != "curl" and commands.is_change(call.words)
    if words.tool == "az":
        return words.name in _CHANGES and words.get("--method") != "get"
    if words.tool == "gh":
        return github.is_change(words)
    return words.name in ("login", "install", "stack init", "config set", "up")


def _of(world: World, call: Call, words: Words | None) -> Any:
    if words is None:
        if call.words[0] == "curl":
            return commands.curl(world, call.words)
        return commands.python(world, call.words, call.environment)
    if words.tool == "az":
        handlers = _CHANGES if words.name in _CHANGES else _READS
        return handlers[words.name](world, words, call.stdin)
    if words.tool == "gh":
        return github.answer(world, words, call.stdin)
    return pulumi.answer(world, words, call.stdin, call.environment)


def _printed(value: Any) -> Answer:
    return Answer(0, value if isinstance(value, str) else "" if value is None else json.dumps(value))
