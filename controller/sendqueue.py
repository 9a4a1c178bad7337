"""What waits to be sent to one switch: bounded in messages and bytes, so that nobody waits to add to it."""

from __future__ import annotations

from collections import deque

from controller import framework

CHUNK_BYTES = 65_536


class Budget:
    """What may wait in all queues together.

    Attributes
    ----------
    used_bytes, queues : int
        What waits, in how many open queues.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.used_bytes = 0
        self.queues = 0

    def allows(self, own_bytes: int) -> bool:
        """Whether a queue may be as long as it is: all of them fit, or it has no more than an equal part."""
        return self.used_bytes <= self._max_bytes or own_bytes * self.queues <= self._max_bytes


class SendQueue:
    """Messages in order; one task takes them out, in chunks.

    Parameters
    ----------
    max_messages, max_bytes : int
        What may wait.
    """

    def __init__(self, max_messages: int, max_bytes: int, budget: Budget) -> None:
        self._budget = budget
        budget.queues += 1
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._added = framework.Event()
        self._taken = framework.Event()
        self._closed = False

    def __str__(self) -> str:
        return f"{len(self._messages)} messages ({self._bytes} bytes) wait for it"

    def add(self, message: bytes) -> bool:
        """Append a message; False where that is one too many."""
        self._messages.append(message)
        self._bytes += len(message)
        self._budget.used_bytes += len(message)
        self._added.set()
        fits = len(self._messages) <= self._max_messages and self._bytes <= self._max_bytes
        return fits and self._budget.allows(self._bytes)

    def take(self) -> bytes:
        """Wait for messages and take out as many as one write should carry; empty once closed."""
        while not self._messages:
            if self._closed:
                return b""
            self._added.clear()
            self._added.wait()
        chunk = [self._messages.popleft()]
        size = len(chunk[0])
        while self._messages and size + len(self._messages[0]) <= CHUNK_BYTES:
            chunk.append(self._messages.popleft())
            size += len(chunk[-1])
        self._bytes -= size
        self._budget.used_bytes -= size
        self._taken.set()
        return b"".join(chunk)

    def wait_for_room(self, most_bytes: int, timeout_s: float) -> bool:
        """Wait until no more than so many bytes wait, or it is closed; False where that took too long."""
        deadline_s = framework.now_s() + timeout_s
        while self._bytes > most_bytes:
            self._taken.clear()
            if not self._taken.wait(max(0.0, deadline_s - framework.now_s())):
                return False
        return True

    def close(self) -> None:
        """Drop what waits and let everybody go who does."""
        if not self._closed:
            self._budget.queues -= 1
            self._budget.used_bytes -= self._bytes
        self._closed = True
        self._messages.clear()
        self._bytes = 0
        self._added.set()
        self._taken.set()
