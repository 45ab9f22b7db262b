"""Drives Microsoft's azure-functions-runtime, the library that runs Python functions in Azure.

The platform's Python worker receives messages over gRPC and hands them to this library. Here the caller
makes the messages itself: the library indexes the app, loads its functions and runs each invocation in
this process, as in Azure, but without the Functions host and without gRPC.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime
from azure_functions_runtime import handle_event

from loadtests.bench.worker.function_rpc import message_types


class AppRefused(Exception):
    """The library could not import or index the app; the text is its reason."""


class WorkerLibrary:
    """One process's library with one app. The library keeps its state in globals: start it once a process."""

    def __init__(self) -> None:
        self._messages = message_types()
        self._metadata: dict[str, Any] = {}
        self.capabilities: dict[str, str] = {}

    async def start(self, directory: Path) -> None:
        """Imports and indexes the app in `directory`; raises AppRefused."""
        sys.path.insert(0, str(directory))
        messages = self._messages
        runtime.start_threadpool_executor()
        init = await runtime.worker_init_request(
            self._request(
                worker_init_request=messages.WorkerInitRequest(function_app_directory=str(directory))
            )
        )
        if init.result.status != messages.StatusResult.Success:
            raise AppRefused(init.result.exception.message)
        self.capabilities = dict(init.capabilities)
        listed = await runtime.functions_metadata_request(
            self._request(
                functions_metadata_request=messages.FunctionsMetadataRequest(
                    function_app_directory=str(directory)
                )
            )
        )
        self._metadata = {function.name: function for function in listed.function_metadata_results}

    @property
    def bindings(self) -> dict[str, list[str]]:
        """The bindings of each function by its name, each as JSON; the first one is the trigger."""
        return {name: list(function.raw_bindings) for name, function in self._metadata.items()}

    async def load(self, name: str) -> bool:
        """Loads one function, as the platform does before its first invocation; False if that fails."""
        metadata = self._metadata[name]
        request = self._messages.FunctionLoadRequest(function_id=metadata.function_id, metadata=metadata)
        loaded = await runtime.function_load_request(self._request(function_load_request=request))
        succeeded = bool(loaded.result.status == self._messages.StatusResult.Success)
        return succeeded and loaded.function_id == metadata.function_id

    def invocation(self, name: str, trigger: str, http: Mapping[str, Any]) -> SimpleNamespace:
        """Returns the message that invokes the function `name` with an RpcHttp for its binding `trigger`."""
        messages = self._messages
        call = messages.InvocationRequest(
            invocation_id=f"invocation-{name}",
            function_id=self._metadata[name].function_id,
            input_data=[messages.ParameterBinding(name=trigger, data={"http": http})],
        )
        return self._request(invocation_request=call)

    @staticmethod
    async def invoke(invocation: SimpleNamespace) -> Any:
        """Returns the InvocationResponse; a function's exception is in its `result`."""
        return await runtime.invocation_request(invocation)

    def succeeded(self, response: Any) -> bool:
        return bool(response.result.status == self._messages.StatusResult.Success)

    def function(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The function that the library calls for `name`, without the library around it."""
        registered = handle_event._functions.get_function(self._metadata[name].function_id)
        function: Callable[..., Awaitable[Any]] = registered.func
        return function

    @staticmethod
    def stop() -> None:
        runtime.stop_threadpool_executor()

    def _request(self, **content: Any) -> SimpleNamespace:
        message = self._messages.StreamingMessage(**content)
        return SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": self._messages})
