"""Writes what the bots still got after their end: lines while it runs, a table at the end, and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from loadtests.attacks.report import counted
from loadtests.attacks.revocation.watch import (
    HTTP_WITHIN_S,
    PUBLISHED_WITHIN_S,
    SIGNALS_WITHIN_S,
    Cell,
    Innocents,
)


def described(cells: Sequence[Cell], innocents: Innocents) -> list[str]:
    lines = []
    for cell in cells:
        closed = ", ".join(f"{_seconds(at)} ({reason or 'no reason'})" for at, reason in cell.closed)
        lines.append(
            f"  {cell.ending}: watched for {cell.watched_s:.0f} s; its sockets closed after: {closed}"
        )
        lines.append(f"    answers after the end: {counted(cell.answers)}")
        if cell.status is not None:
            lines.append(
                f"    the command took {cell.took_s:.1f} s, ended with status {cell.status}, and printed:"
            )
            lines += [f"      {line}" for line in cell.text.splitlines()]
    lines.append(
        f"  publishing: {counted(innocents.published)}; an innocent bot heard {innocents.signals} signals, "
        f"longest gap {innocents.longest_gap_s:.1f} s, and was answered {counted(innocents.answers)}"
    )
    return lines


def table(cells: Sequence[Cell], innocents: Sequence[Innocents]) -> str:
    """Returns one row for each cell of the matrix, then one for publishing under each fault."""
    lines = [
        f"{'ending':<15} {'Redis':<10} {'status':>6} {'last 200':>9} {'granted':>8} {'last signal':>12} "
        f"{'old URLs in':>12}  200 by {HTTP_WITHIN_S:.0f} s, signal by {SIGNALS_WITHIN_S:.0f} s, no old URL"
    ]
    for cell in cells:
        status = "-" if cell.status is None else str(cell.status)
        lines.append(
            f"{cell.ending:<15} {cell.redis:<10} {status:>6} {_seconds(cell.last_200_s):>9} "
            f"{cell.granted:>8} "
            f"{_seconds(cell.last_signal_s):>12} {f'{len(cell.old_in)} of {cell.old_tried}':>12}  "
            f"{_verdict(cell.is_met)}"
        )
    lines += [
        f"publishing, Redis {each.redis}: longest gap {each.longest_gap_s:.1f} s "
        f"(at most {PUBLISHED_WITHIN_S:.0f}), {counted(each.published)}: {_verdict(each.is_met)}"
        for each in innocents
    ]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f} s"


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def write_json(cells: Sequence[Cell], innocents: Sequence[Innocents], path: Path) -> None:
    document = {
        "cells": [{**asdict(cell), "is_met": cell.is_met} for cell in cells],
        "innocents": [{**asdict(each), "is_met": each.is_met} for each in innocents],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
