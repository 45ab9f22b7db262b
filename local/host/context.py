"""The invocation context that a function gets when its signature has `context`.

Plain classes with the attributes of azure.functions.Context, as the platform's worker has them too.
"""

import threading
import uuid
from dataclasses import dataclass, field

# One per process: a sync function reads its own invocation's id from its own thread.
_thread_storage = threading.local()


@dataclass(frozen=True, slots=True)
class InvocationTrace:
    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InvocationError:
    """Why the attempt before this one failed."""

    source: str
    stack_trace: str
    message: str


@dataclass(frozen=True, slots=True)
class InvocationRetry:
    retry_count: int = 0
    max_retry_count: int = 0
    exception: InvocationError | None = None


@dataclass(frozen=True, slots=True)
class InvocationContext:
    """One invocation; `invocation_id` is new for each."""

    function_name: str
    function_directory: str
    trace_context: InvocationTrace = field(default_factory=InvocationTrace)
    retry_context: InvocationRetry = field(default_factory=InvocationRetry)
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def thread_local_storage(self) -> threading.local:
        return _thread_storage
