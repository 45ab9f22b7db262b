"""The sequence of one reliable connection: messages given a number and not yet acknowledged."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from local.webpubsub.limits import MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES
from local.webpubsub.messages import Message


class Replay:
    """Numbers messages from 1 and keeps them until their acknowledgement, within bounds.

    Past the bounds the oldest go. Then `complete` is false until the client acknowledges that it has
    those as well: a recovery in between would lose messages and has to be refused.
    """

    __slots__ = ("_bytes", "_dropped", "_messages", "last", "sent")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._dropped = 0
        self.last = 0  # newest number given
        self.sent = 0  # newest number written to the present socket

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
        """Whether a message went before the present socket ever got it."""
        return self._dropped > self.sent

    def append(self, message: Message) -> int:
        """The message's number."""
        self._messages.append(message)
        self._bytes += message.size
        self.last += 1
        while len(self._messages) > MAX_UNACKED_MESSAGES or self._bytes > MAX_UNACKED_BYTES:
            self._dropped = self._oldest
            self._bytes -= self._messages.popleft().size
        return self.last

    def acknowledge(self, sequence_id: int) -> None:
        """Forget everything up to `sequence_id`; a number never given counts as the newest given."""
        sequence_id = min(sequence_id, self.last)
        while self._messages and self._oldest <= sequence_id:
            self._bytes -= self._messages.popleft().size
        if sequence_id >= self._dropped:
            self._dropped = 0
        self.sent = max(self.sent, self._oldest - 1)

    def rewind(self) -> None:
        """The next socket starts from the oldest message kept."""
        self.sent = self._oldest - 1

    def unsent(self, now: float) -> Iterator[tuple[int, Message]]:
        """Messages after `sent` that have not expired, with their numbers; do not append meanwhile."""
        first = self.sent + 1
        for offset, message in enumerate(islice(self._messages, first - self._oldest, None)):
            if message.expires_at is None or message.expires_at > now:
                yield first + offset, message
