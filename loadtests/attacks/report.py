"""Writes what the attacks did to the innocent bot: lines while they run, a table at the end, and JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from loadtests.attacks.measuring import ALLOWED_TIMES, Result


def described(result: Result) -> list[str]:
    """Returns the figures of one attack in lines to read."""
    lines = [
        f"  {each.kind:<12} p95 {each.quiet_p95_ms:>8.1f} ms quiet, "
        f"{each.attacked_p95_ms:>9.1f} ms attacked: "
        f"{each.times:.1f} times ({each.quiet} and {each.attacked} samples)"
        for each in result.figures
    ]
    lines.append(f"  the bot's failures: {counted(result.failures)}")
    if result.quiet_failures:
        lines.append(f"  the bot's failures before the attack: {counted(result.quiet_failures)}")
    lines.append(f"  the attacker was answered: {counted(result.answers)}")
    if result.notes:
        notes = ", ".join(f"{name} {value:,.0f}" for name, value in result.notes.items())
        lines.append(f"  the attacker noted: {notes}")
    quiet, most, after = result.memory_mb
    lines.append(
        f"  processor: attacker {result.attacker_cpu_s:.1f} s, host {result.host_cpu_s:.1f} s; "
        f"host's memory: {quiet:.0f} MB quiet, {most:.0f} MB at most, {after:.0f} MB afterwards"
    )
    return lines


def counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{text} {count:,}x" for text, count in ordered) or "none"


def table(results: Sequence[Result]) -> str:
    """Returns one row for each attack: its worst kind of request, failures, and whether the target is met."""
    lines = [
        f"{'attack':<18} {'worst kind':<12} {'quiet ms':>9} {'attacked ms':>11} {'times':>7} {'5xx':>5} "
        f"{'failures':>8} {'memory MB':>9}  within {ALLOWED_TIMES:.0f} times, no failure, nothing exceeded"
    ]
    for result in results:
        worst = result.worst
        lines.append(
            f"{result.name:<18} {worst.kind:<12} {worst.quiet_p95_ms:>9.1f} {worst.attacked_p95_ms:>11.1f} "
            f"{worst.times:>7.1f} {result.server_errors:>5} {sum(result.failures.values()):>8} "
            f"{result.memory_mb[1]:>9.0f}  {_verdict(result)}"
        )
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    exceeded = ", ".join(f"{name}: {value:,.0f}" for name, value in result.exceeded.items())
    return "met" if result.is_met else f"MISSED{f' ({exceeded})' if exceeded else ''}"


def write_json(results: Sequence[Result], path: Path) -> None:
    document = [
        {
            **asdict(result),
            "times": {each.kind: each.times for each in result.figures},
            "server_errors": result.server_errors,
            "is_met": result.is_met,
        }
        for result in results
    ]
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
