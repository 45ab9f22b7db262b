"""Declares the messages that Microsoft's worker library exchanges with the Functions host.

The library takes protobuf messages but ships no definitions of them. This module declares the part of the
platform's FunctionRpc that the library touches: names and types only, because field numbers do not matter
inside one process.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
)

_PACKAGE = "signal_cloud_loadtests.function_rpc"

_ENUMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "StatusResult": {"Status": ("Failure", "Success", "Cancelled")},
    "BindingInfo": {
        "Direction": ("in", "out", "inout"),
        "DataType": ("undefined", "string", "binary", "stream"),
    },
    "RpcRetryOptions": {"RetryStrategy": ("exponential_backoff", "fixed_delay")},
}

# field: a scalar, a message, `repeated x`, `map x` (keyed by string), or `oneof:group x`.
_MESSAGES: Mapping[str, Mapping[str, str]] = {
    "RpcException": {"source": "string", "stack_trace": "string", "message": "string"},
    "StatusResult": {"status": "StatusResult.Status", "result": "string", "exception": "RpcException"},
    "BindingInfo": {
        "type": "string",
        "direction": "BindingInfo.Direction",
        "data_type": "BindingInfo.DataType",
    },
    "RpcRetryOptions": {
        "max_retry_count": "int32",
        "retry_strategy": "RpcRetryOptions.RetryStrategy",
        "delay_interval": "Duration",
        "minimum_interval": "Duration",
        "maximum_interval": "Duration",
    },
    "RpcFunctionMetadata": {
        "name": "string",
        "directory": "string",
        "script_file": "string",
        "entry_point": "string",
        "bindings": "map BindingInfo",
        "is_proxy": "bool",
        "language": "string",
        "raw_bindings": "repeated string",
        "function_id": "string",
        "managed_dependency_enabled": "bool",
        "retry_options": "RpcRetryOptions",
        "properties": "map string",
    },
    "WorkerMetadata": {
        "runtime_name": "string",
        "runtime_version": "string",
        "worker_version": "string",
        "worker_bitness": "string",
        "custom_properties": "map string",
    },
    "RpcHttp": {
        "method": "string",
        "url": "string",
        "headers": "map string",
        "body": "TypedData",
        "params": "map string",
        "status_code": "string",
        "query": "map string",
        "enable_content_negotiation": "bool",
        "cookies": "repeated RpcHttpCookie",
    },
    "RpcHttpCookie": {"name": "string", "value": "string"},
    "TypedData": {
        "string": "oneof:data string",
        "json": "oneof:data string",
        "bytes": "oneof:data bytes",
        "http": "oneof:data RpcHttp",
        "int": "oneof:data int64",
        "double": "oneof:data double",
    },
    "ParameterBinding": {"name": "string", "data": "oneof:rpc_data TypedData"},
    "RpcTraceContext": {"trace_parent": "string", "trace_state": "string", "attributes": "map string"},
    "RetryContext": {"retry_count": "int32", "max_retry_count": "int32", "exception": "RpcException"},
    "WorkerInitRequest": {"capabilities": "map string", "function_app_directory": "string"},
    "WorkerInitResponse": {
        "capabilities": "map string",
        "result": "StatusResult",
        "worker_metadata": "WorkerMetadata",
    },
    "FunctionsMetadataRequest": {"function_app_directory": "string"},
    "FunctionMetadataResponse": {
        "function_metadata_results": "repeated RpcFunctionMetadata",
        "result": "StatusResult",
        "use_default_metadata_indexing": "bool",
    },
    "FunctionLoadRequest": {"function_id": "string", "metadata": "RpcFunctionMetadata"},
    "FunctionLoadResponse": {"function_id": "string", "result": "StatusResult"},
    "InvocationRequest": {
        "invocation_id": "string",
        "function_id": "string",
        "input_data": "repeated ParameterBinding",
        "trigger_metadata": "map TypedData",
        "trace_context": "RpcTraceContext",
        "retry_context": "RetryContext",
    },
    "InvocationResponse": {
        "invocation_id": "string",
        "output_data": "repeated ParameterBinding",
        "return_value": "TypedData",
        "result": "StatusResult",
    },
    "StreamingMessage": {
        "worker_init_request": "oneof:content WorkerInitRequest",
        "functions_metadata_request": "oneof:content FunctionsMetadataRequest",
        "function_load_request": "oneof:content FunctionLoadRequest",
        "invocation_request": "oneof:content InvocationRequest",
    },
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "double": _Field.TYPE_DOUBLE,
}


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    elif kind == "Duration":
        field.type, field.type_name = _Field.TYPE_MESSAGE, ".google.protobuf.Duration"
    else:
        field.type = _Field.TYPE_ENUM if "." in kind else _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _add_field(message: Any, number: int, name: str, declared: str, owner: str) -> None:
    prefix, _, kind = declared.rpartition(" ")
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if prefix.startswith("oneof:"):
        group = prefix.removeprefix("oneof:")
        if group not in [oneof.name for oneof in message.oneof_decl]:
            message.oneof_decl.add(name=group)
        field.oneof_index = 0
    if prefix:
        field.label = _Field.LABEL_OPTIONAL if prefix.startswith("oneof:") else _Field.LABEL_REPEATED
    if prefix != "map":
        _set_type(field, kind)
        return
    entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = message.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string")
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind)
    field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{owner}.{entry_name}"


def message_types() -> SimpleNamespace:
    """Returns the classes of these messages as attributes, as the worker hands them to the library.

    May be called once a process, because protobuf refuses to declare a message twice.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="function_rpc.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[duration_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for enum_name, values in _ENUMS.get(name, {}).items():
            enum = message.enum_type.add(name=enum_name)
            for number, value in enumerate(values):
                enum.value.add(name=value, number=number)
        for number, (field, declared) in enumerate(fields.items(), start=1):
            _add_field(message, number, field, declared, name)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return SimpleNamespace(
        **{
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
            for name in _MESSAGES
        }
    )
