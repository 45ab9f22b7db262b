"""Calls a user function as the platform's worker does: async on the loop, sync in a thread pool."""

import asyncio
import os
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.host.configuration import HostError
from local.host.context import InvocationContext
from local.host.indexing import UserFunction


def thread_pool(environment: Mapping[str, str] = os.environ) -> ThreadPoolExecutor:
    """The pool for sync functions; its size is the setting that the platform's worker reads."""
    stated = environment.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    if stated and not (stated.isascii() and stated.isdigit() and int(stated) > 0):
        raise HostError("PYTHON_THREADPOOL_THREAD_COUNT must be a whole number from 1")
    return ThreadPoolExecutor(int(stated) if stated else None, thread_name_prefix="function")


def _call_in_thread(function: UserFunction, arguments: Mapping[str, Any], context: InvocationContext) -> Any:
    storage = context.thread_local_storage
    storage.invocation_id = context.invocation_id
    try:
        return function.call(**arguments)
    finally:
        storage.invocation_id = None


def invoke(
    function: UserFunction, trigger: Any, context: InvocationContext | None, pool: ThreadPoolExecutor
) -> Awaitable[Any]:
    """Begins the function; awaited, what it returns. `context` may be None where neither it nor a thread
    needs one."""
    arguments = {function.trigger_parameter: trigger}
    if function.wants_context:
        arguments["context"] = context
    if function.is_async:
        called: Awaitable[Any] = function.call(**arguments)
        return called
    used = context or InvocationContext(function.name, function.directory)
    return asyncio.get_running_loop().run_in_executor(pool, _call_in_thread, function, arguments, used)
