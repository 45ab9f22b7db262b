"""Counts as a service adds to them."""


class Counted(dict[str, int]):
    """A Counter whose counts can be read."""

    def __call__(self, name: str, count: int = 1) -> None:
        self[name] = self.get(name, 0) + count
