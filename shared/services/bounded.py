"""Bounds what a process remembers."""


def make_room[T](remembered: dict[str, T], most: int) -> None:
    """Forgets the oldest entry if `remembered` is full, so that one more fits within `most`."""
    if len(remembered) >= most:
        del remembered[next(iter(remembered))]
