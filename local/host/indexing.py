"""Imports a FunctionApp and lists its functions through azure-functions' public API.

What the platform's host or its Python worker refuses is refused here too, so that an app which
starts here also starts there: names, bindings, parameters, reserved and conflicting routes.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.functions as func

from infra.ncrontab import Schedule, parse_schedule, parse_time_span
from local.host.configuration import HostConfiguration, HostError, resolve_settings
from local.host.routing import Route, Router, make_route

_FUNCTION_NAME = re.compile(r"(?!host$)[a-z][a-z0-9_-]{0,127}", re.IGNORECASE | re.ASCII)
_BINDING_NAME = re.compile(r"[a-z][a-z0-9]{0,127}|\$return", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class UserFunction:
    """A decorated function as the host calls it, by keyword."""

    name: str
    call: Callable[..., Any]
    trigger_parameter: str
    is_async: bool
    wants_context: bool
    directory: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Tries after the first, `max_retries` -1 for ever; waits double from `minimum` when exponential."""

    max_retries: int
    minimum: timedelta
    maximum: timedelta
    exponential: bool


@dataclass(frozen=True, slots=True)
class Timer:
    function: UserFunction
    expression: str
    schedule: Schedule
    run_on_startup: bool
    retry: RetryPolicy | None


@dataclass(frozen=True, slots=True)
class Index:
    """Everything the app registers."""

    router: Router[UserFunction]
    timers: tuple[Timer, ...]

    @property
    def http_routes(self) -> tuple[Route[UserFunction], ...]:
        """In the order in which they are tried."""
        return tuple(self.router.routes)


def import_app(specification: str, directory: Path) -> func.FunctionRegister:
    """The app at `module:attribute`, `directory` being importable; raises HostError with the cause."""
    module_name, separator, attribute = specification.partition(":")
    if not (separator and module_name and attribute):
        raise HostError(f"--app must read module:attribute, not {specification!r}")
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the app raises while it is imported is its author's to see
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            raise HostError(
                f"there is no {module_name}.py here; run in the app's directory or name --app"
            ) from error
        trace = "".join(traceback.format_exception(error)).rstrip()
        raise HostError(
            f"{module_name} cannot be imported: {type(error).__name__}: {error}\n{trace}"
        ) from error
    app = getattr(module, attribute, None)
    if not isinstance(app, func.FunctionRegister):
        raise HostError(f"{specification} is not a FunctionApp")
    return app


def index_app(
    app: func.FunctionRegister, configuration: HostConfiguration, environment: Mapping[str, str]
) -> Index:
    """The app's functions; raises HostError for the first that cannot be hosted."""
    try:
        functions = app.get_functions()
    except Exception as error:  # the SDK validates here and raises what it likes
        raise HostError(f"the app cannot be indexed: {error}") from error
    routes: list[Route[UserFunction]] = []
    timers: list[Timer] = []
    for function in functions:
        trigger = function.get_trigger()
        binding = trigger.get_dict_repr() if trigger is not None else {}
        user_function = _user_function(function)
        match binding.get("type"):
            case "httpTrigger":
                routes.append(_http_route(user_function, binding, configuration, environment))
            case "timerTrigger":
                retry = function.get_settings_dict("retry_policy")
                timers.append(_timer(user_function, binding, retry, environment))
            case other:
                raise HostError(
                    f"function {user_function.name}: trigger {other} is not supported by the local host"
                )
    names = [route.name for route in routes] + [timer.function.name for timer in timers]
    for name in names:
        if sum(other.upper() == name.upper() for other in names) > 1:
            raise HostError(f"function name {name} must be unique within the app, case aside")
    return Index(Router(routes), tuple(sorted(timers, key=lambda timer: timer.function.name.upper())))


def _user_function(function: Any) -> UserFunction:
    name, call = function.get_function_name(), function.get_user_function()
    if not _FUNCTION_NAME.fullmatch(name):
        raise HostError(f"function {name}: a name is a letter, then letters, digits, _ and -, 128 at most")
    bound: list[str] = []
    for binding in function.get_bindings():
        if not _BINDING_NAME.fullmatch(binding.name):
            raise HostError(
                f"function {name}: binding name {binding.name!r} must be letters and digits; the platform"
                " refuses others, underscores too"
            )
        if binding.name != "$return":
            bound.append(binding.name)
    parameters = set(inspect.signature(call).parameters)
    wants_context = "context" in parameters and "context" not in bound
    if parameters - {"context"} != set(bound) - {"context"}:
        raise HostError(
            f"function {name}: parameters {sorted(parameters)} do not match its bindings {sorted(bound)}"
        )
    if len(bound) != 1:
        raise HostError(
            f"function {name}: bindings other than the trigger are not supported by the local host"
        )
    return UserFunction(
        name=name,
        call=call,
        trigger_parameter=bound[0],
        is_async=inspect.iscoroutinefunction(call),
        wants_context=wants_context,
        directory=str(Path(inspect.getfile(call)).parent),
    )


def _http_route(
    function: UserFunction,
    binding: Mapping[str, Any],
    configuration: HostConfiguration,
    environment: Mapping[str, str],
) -> Route[UserFunction]:
    level = binding.get("authLevel")
    if str(level).lower() != "anonymous":
        raise HostError(
            f"function {function.name}: auth level {str(level).lower()} needs the platform's function keys,"
            " which this host does not have; use ANONYMOUS with the app's own keys, or Core Tools"
        )
    route = binding.get("route")
    methods = binding.get("methods")
    return make_route(
        function.name,
        resolve_settings(route, environment) if route else None,
        [str(method) for method in methods] if methods is not None else None,
        configuration.route_prefix,
        function,
    )


def _timer(
    function: UserFunction,
    binding: Mapping[str, Any],
    retry: Mapping[str, Any] | None,
    environment: Mapping[str, str],
) -> Timer:
    try:
        expression = resolve_settings(binding["schedule"], environment)
        return Timer(
            function=function,
            expression=expression,
            schedule=parse_schedule(expression),
            run_on_startup=bool(binding.get("runOnStartup")),
            retry=_retry_policy(retry) if retry else None,
        )
    except (HostError, ValueError) as error:
        raise HostError(f"function {function.name}: {error}") from error


def _retry_policy(settings: Mapping[str, Any]) -> RetryPolicy:
    retries = int(settings["max_retry_count"])
    if settings["strategy"] == "fixed_delay":
        delay = parse_time_span(settings.get("delay_interval") or "")
        return RetryPolicy(retries, delay, delay, exponential=False)
    if settings["strategy"] == "exponential_backoff":
        bounds = settings.get("minimum_interval"), settings.get("maximum_interval")
        if None in bounds:
            raise ValueError("exponential_backoff needs minimum_interval and maximum_interval")
        minimum, maximum = (parse_time_span(str(bound)) for bound in bounds)
        return RetryPolicy(retries, minimum, maximum, exponential=True)
    raise ValueError(f"retry strategy {settings['strategy']!r} is not known")


def load_index(specification: str, directory: Path, configuration: HostConfiguration) -> Index:
    """Imports and indexes the app under the process's environment; raises HostError."""
    return index_app(import_app(specification, directory), configuration, os.environ)
