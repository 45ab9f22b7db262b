"""Counts the rows of a file that are not taken as bars, by reason."""

from dataclasses import dataclass, field

# What a person needs in order to find them; a broken file would name every line.
_SHOWN_LINES = 3
_SHOWN_REASONS = 4


@dataclass
class _Reason:
    example: str
    count: int = 0
    lines: list[int] = field(default_factory=list)


def counted(count: int, noun: str) -> str:
    """Such as `1 row` or `2,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class SkippedRows:
    """The rows that were skipped so far."""

    def __init__(self) -> None:
        self._reasons: dict[str, _Reason] = {}

    def add(self, line: int, reason: str, example: str = "") -> None:
        """Counts one row; `reason` is the same for all rows that it groups, `example` is this row's cell."""
        found = self._reasons.setdefault(reason, _Reason(example))
        found.count += 1
        if len(found.lines) < _SHOWN_LINES:
            found.lines.append(line)

    @property
    def count(self) -> int:
        return sum(found.count for found in self._reasons.values())

    def __str__(self) -> str:
        """Such as `2 whose volume is not a whole number ('1.5', lines 3, 9)`; frequent reasons come first."""
        by_count = sorted(self._reasons.items(), key=lambda item: -item[1].count)
        texts = [_text(reason, found) for reason, found in by_count[:_SHOWN_REASONS]]
        rest = sum(found.count for _, found in by_count[_SHOWN_REASONS:])
        return "; ".join([*texts, f"{rest} for other reasons"] if rest else texts)


def _text(reason: str, found: _Reason) -> str:
    lines = ", ".join(map(str, found.lines))
    more = ", ..." if found.count > len(found.lines) else ""
    word = "line" if found.count == 1 else "lines"
    example = f"{found.example[:40]!r}, " if found.example else ""
    return f"{found.count} {reason} ({example}{word} {lines}{more})"
