"""Keeps the numbered messages of one reliable connection that the client has not acknowledged."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from local.webpubsub.limits import MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES
from local.webpubsub.messages import Message


class Replay:
    """Numbers messages from 1 and keeps them, within bounds, until the client acknowledges them.

    Above the bounds it drops the oldest. Then `complete` is False until the client acknowledges the
    dropped ones too: a recovery before that would lose messages, so the broker refuses it.
    """

    __slots__ = ("_bytes", "_dropped", "_messages", "last", "sent")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._dropped = 0
        self.last = 0  # newest number in use
        self.sent = 0  # newest number written to the current socket

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def _oldest(self) -> int:
        return self.last - len(self._messages) + 1

    @property
    def complete(self) -> bool:
        return self._dropped == 0

    @property
    def lost_unsent(self) -> bool:
        """Whether it dropped a message that the current socket did not get."""
        return self._dropped > self.sent

    def append(self, message: Message) -> int:
        """Keep the message and return its number."""
        self._messages.append(message)
        self._bytes += message.size
        self.last += 1
        while len(self._messages) > MAX_UNACKED_MESSAGES or self._bytes > MAX_UNACKED_BYTES:
            self._dropped = self._oldest
            self._bytes -= self._messages.popleft().size
        return self.last

    def acknowledge(self, sequence_id: int) -> None:
        """Drop the messages up to `sequence_id`. A number above the newest counts as the newest."""
        sequence_id = min(sequence_id, self.last)
        while self._messages and self._oldest <= sequence_id:
            self._bytes -= self._messages.popleft().size
        if sequence_id >= self._dropped:
            self._dropped = 0
        self.sent = max(self.sent, self._oldest - 1)

    def rewind(self) -> None:
        """Make the next socket start from the oldest message kept."""
        self.sent = self._oldest - 1

    def unsent(self, now: float) -> Iterator[tuple[int, Message]]:
        """Yields unexpired messages after `sent` with their numbers. Do not append during the iteration."""
        first = self.sent + 1
        for offset, message in enumerate(islice(self._messages, first - self._oldest, None)):
            if message.expires_at is None or message.expires_at > now:
                yield first + offset, message
