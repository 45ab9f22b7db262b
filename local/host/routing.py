"""The platform's HTTP routing: templates, constraints, and the order in which routes are tried.

The functions host hands each function's route to ASP.NET's older router (`RouteCollection`), which
differs from what ASP.NET Core apps see today. There is no precedence: routes are tried in the order
of the functions' names, ignoring case, and the first whose template, constraints and method fit
wins. A literal route can therefore be hidden by a parameter of a function whose name sorts earlier.
The method is a constraint like any other, so a known path under another method is 404, not 405.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from local.host.configuration import HostError

ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY")
# Prefixes, so `administrators` is refused too, exactly as the platform does.
_RESERVED = ("admin", "runtime")

type Check = Callable[[str], bool]


def _matches(pattern: str) -> Check:
    compiled = re.compile(pattern, re.IGNORECASE | re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _is_integer_of(bits: int) -> Check:
    shape, bound = _matches(r"\s*[+-]?\d{1,30}\s*"), 1 << (bits - 1)
    return lambda value: shape(value) and -bound <= int(value) < bound


_HEX = "[0-9a-f]"
_GUID = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_NUMBER = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)"
_PLAIN_CONSTRAINTS: Mapping[str, Check] = {
    "int": _is_integer_of(32),
    "long": _is_integer_of(64),
    "bool": _matches(r"\s*(?:true|false)\s*"),
    "guid": _matches(rf"\s*(?:{_GUID}|\{{{_GUID}\}}|\({_GUID}\)|{_HEX}{{32}})\s*"),
    "alpha": _matches("[a-z]*"),
    "decimal": _matches(rf"{_NUMBER}\s*"),
    "double": _matches(rf"{_NUMBER}(?:e[+-]?\d+)?\s*"),
    "float": _matches(rf"{_NUMBER}(?:e[+-]?\d+)?\s*"),
    "required": bool,
}
_is_long = _PLAIN_CONSTRAINTS["long"]
_BOUNDED_CONSTRAINTS: Mapping[tuple[str, int], Callable[..., Check]] = {
    ("length", 1): lambda exact: lambda value: len(value) == exact,
    ("length", 2): lambda low, high: lambda value: low <= len(value) <= high,
    ("minlength", 1): lambda low: lambda value: len(value) >= low,
    ("maxlength", 1): lambda high: lambda value: len(value) <= high,
    ("min", 1): lambda low: lambda value: _is_long(value) and int(value) >= low,
    ("max", 1): lambda high: lambda value: _is_long(value) and int(value) <= high,
    ("range", 2): lambda low, high: lambda value: _is_long(value) and low <= int(value) <= high,
}
_CONSTRAINT = re.compile(r"(?P<name>[A-Za-z]+)(?:\((?P<arguments>-?[0-9]+(?:\s*,\s*-?[0-9]+)?)\))?")
_PARAMETER = re.compile(
    r"(?P<star>\*{0,2})(?P<name>[^/{}?*:=]+)(?P<rules>(?::[^:=?]+)*)(?:=(?P<default>.*)|(?P<optional>\?))?"
)


def _constraint(text: str) -> Check:
    match = _CONSTRAINT.fullmatch(text)
    if match is not None:
        name = match["name"].lower()
        if match["arguments"] is None and name in _PLAIN_CONSTRAINTS:
            return _PLAIN_CONSTRAINTS[name]
        arguments = [int(part) for part in (match["arguments"] or "").split(",") if part]
        make = _BOUNDED_CONSTRAINTS.get((name, len(arguments)))
        if make is not None:
            return make(*arguments)
    raise ValueError(f"constraint {text!r} is not known to this host")


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    checks: tuple[Check, ...]
    default: str | None
    optional: bool
    catch_all: bool


def _parameter(text: str) -> _Parameter:
    match = _PARAMETER.fullmatch(text)
    if match is None:
        raise ValueError(f"{{{text}}} is not a route parameter")
    rules = match["rules"].split(":")[1:]
    return _Parameter(
        name=match["name"],
        checks=tuple(_constraint(rule) for rule in rules),
        default=match["default"],
        optional=match["optional"] is not None or match["default"] is not None,
        catch_all=bool(match["star"]),
    )


class Template:
    """One route template with its prefix, compiled; matching ignores case and one trailing slash."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a template that the platform or this host refuses."""
        self.text = text.strip("/")
        self.parameters: list[_Parameter] = []
        pattern, closing = "", ""
        for segment in self.text.split("/") if self.text else []:
            if self.parameters and self.parameters[-1].catch_all:
                raise ValueError("a catch-all parameter must come last")
            if segment.startswith("{") and segment.endswith("}") and segment.count("{") == 1:
                parameter = _parameter(segment[1:-1])
                if parameter.name.lower() in (known.name.lower() for known in self.parameters):
                    raise ValueError(f"parameter {parameter.name!r} appears twice")
                self.parameters.append(parameter)
                if parameter.catch_all:
                    # It takes what is left, slashes included, and may take nothing.
                    pattern += "(?:/([^/].*)?)?"
                elif parameter.optional:
                    pattern, closing = pattern + "(?:/([^/]+)", ")?" + closing
                elif closing:
                    raise ValueError("an optional parameter must not stand before a required segment")
                else:
                    pattern += "/([^/]+)"
            elif "{" in segment or "}" in segment:
                raise ValueError(
                    f"segment {segment!r} mixes text and parameters, which this host does not do"
                )
            elif closing:
                raise ValueError("an optional parameter must not stand before a required segment")
            elif not segment:
                raise ValueError("a segment is empty")
            else:
                pattern += "/" + re.escape(segment)
        ends_open = bool(self.parameters) and self.parameters[-1].catch_all
        self._regex = re.compile(pattern + closing + ("" if ends_open else "/?"), re.IGNORECASE | re.DOTALL)

    @property
    def is_literal(self) -> bool:
        return not self.parameters

    def match(self, path: str) -> dict[str, str] | None:
        """The route parameters of `path` (decoded, beginning with a slash); None if it does not fit."""
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for parameter, captured in zip(self.parameters, found.groups(), strict=True):
            value = captured or parameter.default
            if value is None:
                continue
            if not all(check(value) for check in parameter.checks):
                return None
            values[parameter.name] = value
        return values


@dataclass(frozen=True, slots=True)
class Route[T]:
    """A function's route: `methods` in upper case; `target` is whatever the caller wants back."""

    name: str
    template: Template
    methods: frozenset[str]
    target: T


def make_route[T](
    name: str, route: str | None, methods: Iterable[str] | None, prefix: str, target: T
) -> Route[T]:
    """The route of the function `name`; no `route` means its name, no `methods` all of them.

    Raises HostError where the platform would refuse the function.
    """
    own = (route or name).strip("/") or name
    if own.lower().startswith(_RESERVED):
        raise HostError(
            f"function {name}: route {own!r} conflicts with a built-in route; it must not begin with admin"
            " or runtime"
        )
    try:
        template = Template(f"{prefix}/{own}" if prefix else own)
    except ValueError as error:
        raise HostError(f"function {name}: route {own!r}: {error}") from error
    allowed = (
        frozenset(method.upper() for method in methods) if methods is not None else frozenset(ALL_METHODS)
    )
    return Route(name, template, allowed, target)


@dataclass(slots=True)
class Router[T]:
    """Finds the function of a request; `routes` may come in any order."""

    routes: Sequence[Route[T]]
    _literal: dict[tuple[str, str], T] = field(init=False)

    def __post_init__(self) -> None:
        """Raises HostError where two functions claim one template and method."""
        # Upper case, because .NET's ordinal comparison that ignores case compares upper-cased text:
        # it puts an underscore after the letters.
        self.routes = sorted(self.routes, key=lambda route: route.name.upper())
        self._refuse_conflicts()
        # What the search below would find for each literal path in its own spelling, found once.
        self._literal = {}
        for route in self.routes:
            if route.template.is_literal:
                path = f"/{route.template.text}"
                for method in route.methods:
                    found = self._search(method, path)
                    if found is not None and not found[1]:
                        self._literal[method, path] = found[0]

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        """The target and route parameters for an upper-case method and a decoded path; None is 404."""
        target = self._literal.get((method, path))
        if target is not None:
            return target, {}
        return self._search(method, path)

    def _search(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        for route in self.routes:
            if method in route.methods:
                values = route.template.match(path)
                if values is not None:
                    return route.target, values
        return None

    def _refuse_conflicts(self) -> None:
        owners: dict[tuple[str, str], str] = {}
        for route in self.routes:
            for method in sorted(route.methods):
                owner = owners.setdefault((method, route.template.text.lower()), route.name)
                if owner != route.name:
                    raise HostError(
                        f"function {route.name}: {method} {route.template.text} is also the route of {owner}"
                    )
