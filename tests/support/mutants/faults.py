"""Finds the small faults that can be put into a module, as edits of its text."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"log", "logger", "logging", "_log", "_logger"}
# These options of a class change how it is stored or guarded, not what it answers.
STORAGE_OPTIONS = {"frozen", "gc", "kw_only", "repr", "slots", "weakref"}
TYPING_CALLS = {"NewType", "TypeVar", "cast", "getLogger"}
SWAPPED_FUNCTIONS = {"all": "any", "any": "all", "max": "min", "min": "max"}
COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitXor: ("^", "&"),
}
PROSE = re.compile(r"[A-Za-z0-9,.;:)] [A-Za-z(]")
REPETITION = re.compile(r"\{(\d+)(?:,(\d+))?\}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One edit of one file: the bytes from `start` to `end` become `text`.

    `lines` are those of the statement (for a compound one, of its head): a test that runs none of them
    rarely notices.
    """

    path: str
    kind: str
    line: int
    lines: range
    start: int
    end: int
    text: bytes

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text + source[self.end :]


def find_faults(path: str, source: bytes) -> list[Fault]:
    """Returns every fault of the module; `is_fault` sorts out the few that are no program."""
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return finder.faults


def is_fault(fault: Fault, source: bytes) -> bool:
    """Whether the edited text is a program, and another one than before."""
    try:
        changed = ast.parse(fault.apply(source))
        compile(changed, fault.path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return ast.dump(changed) != ast.dump(ast.parse(source))


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self.faults: list[Fault] = []
        self._path = path
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._lines = range(0)
        self._depth = 0  # how many functions enclose the node

    def visit(self, node: ast.AST) -> None:
        if _is_skipped(node):
            return
        outer = self._lines
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            self._lines = _head(node)
        for kind in type(node).__mro__:
            if rule := _RULES.get(kind):
                rule(self, node)
        enters_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        self._depth += enters_function
        for child in _children(node):
            self.visit(child)
        self._depth -= enters_function
        self._lines = outer

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Return(value=None) | ast.Return(value=ast.Constant(value=None)):
                self._replace(node, "return removed", "pass")
            case ast.Return(value=ast.Constant(value=bool())):
                pass  # None is as false as False, and the constant becomes the other one
            case ast.Return():
                self._replace(node, "return value", "return None")
            case ast.Raise():
                self._replace(node, "raise removed", "pass")
            case ast.Continue() | ast.Break():
                self._replace(node, "jump removed", "pass")
            case ast.Expr(value=ast.Call() | ast.Await()):
                self._replace(node, "call removed", "pass")
            case ast.AugAssign():
                self._replace(node, "assignment removed", "pass")
                self._operator(node.target, node.op, node.value, suffix="=")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                self._replace(node, "assignment removed", "pass")

    def condition(self, node: ast.If | ast.While | ast.IfExp) -> None:
        self._negate(node.test)

    def comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negate(condition)

    def comparison(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, node.comparators, strict=False):
            old, others = COMPARISONS[type(operator)]
            for new in others:
                self._between(left, right, "comparison", old, new)

    def boolean(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, "and/or", old, new)

    def arithmetic(self, node: ast.BinOp) -> None:
        if not any(_is_text(side) for side in (node.left, node.right)):
            self._operator(node.left, node.op, node.right)

    def call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in SWAPPED_FUNCTIONS:
            self._replace(node.func, "function swapped", SWAPPED_FUNCTIONS[node.func.id])
        if len(node.args) > 1 and not any(isinstance(arg, ast.Starred) for arg in node.args[:2]):
            first, second = node.args[:2]
            gap = self._source[self._span(first)[1] : self._span(second)[0]]
            text = self._text(second) + gap + self._text(first)
            self._add(first, "arguments swapped", self._span(first)[0], self._span(second)[1], text)
        arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
        for index, argument in enumerate(arguments):
            if isinstance(argument, ast.keyword) and argument.arg not in STORAGE_OPTIONS:
                start, end = self._span(argument)
                if index:
                    start = self._span(arguments[index - 1])[1]
                elif len(arguments) > 1:
                    end = self._span(arguments[1])[0]
                self._add(argument, "argument removed", start, end, b"")

    def handler(self, node: ast.ExceptHandler) -> None:
        if node.type is None:
            return
        if ast.unparse(node.type) not in ("Exception", "BaseException"):
            self._replace(node.type, "except widened", "Exception")
        self._replace(node.type, "except removed", "()")
        if isinstance(node.type, ast.Tuple):
            for error in node.type.elts:
                others = [ast.unparse(other) for other in node.type.elts if other is not error]
                self._replace(node.type, "except narrowed", f"({', '.join(others)},)")

    def constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool(value):
                self._replace(node, "constant", str(not value))
            case int(value):
                self._replace(node, "constant", str(value + 1))
                if value > 0:
                    self._replace(node, "constant", str(value - 1))
            case float(value):
                self._replace(node, "constant", repr(value * 1.5 if value else 1.0))
            case bytes(value):
                self._replace(node, "constant", repr(value + b"x"))
            case str(value):
                for new in _other_texts(value):
                    self._replace(node, "constant", _literal(new))

    def _negate(self, test: ast.expr) -> None:
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self._add(test, "condition negated", *self._span(test), self._text(test.operand))
        elif not isinstance(test, ast.Constant):
            self._add(test, "condition negated", *self._span(test), b"not (" + self._text(test) + b")")

    def _operator(self, left: ast.expr, operator: ast.operator, right: ast.expr, suffix: str = "") -> None:
        if type(operator) in ARITHMETIC:
            old, new = ARITHMETIC[type(operator)]
            self._between(left, right, "arithmetic", old + suffix, new + suffix)

    def _between(self, left: ast.expr, right: ast.expr, kind: str, old: str, new: str) -> None:
        """Adds the fault that writes `new` for the operator `old` between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        gap = self._source[start:end]
        self._add(right, kind, start, end, gap.replace(old.encode(), new.encode(), 1))

    def _replace(self, node: ast.expr | ast.stmt, kind: str, text: str) -> None:
        self._add(node, kind, *self._span(node), text.encode())

    def _add(
        self, node: ast.expr | ast.stmt | ast.keyword, kind: str, start: int, end: int, text: bytes
    ) -> None:
        self.faults.append(Fault(self._path, kind, node.lineno, self._lines, start, end, text))

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._line_starts[node.lineno - 1] + node.col_offset
        return start, self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> bytes:
        start, end = self._span(node)
        return self._source[start:end]


_RULES: dict[type[ast.AST], Callable[[_Finder, ast.AST], None]] = {
    kind: rule  # type: ignore[misc]
    for rule, kinds in {
        _Finder.statement: (ast.stmt,),
        _Finder.condition: (ast.If, ast.While, ast.IfExp),
        _Finder.comprehension: (ast.comprehension,),
        _Finder.comparison: (ast.Compare,),
        _Finder.boolean: (ast.BoolOp,),
        _Finder.arithmetic: (ast.BinOp,),
        _Finder.call: (ast.Call,),
        _Finder.handler: (ast.ExceptHandler,),
        _Finder.constant: (ast.Constant,),
    }.items()
    for kind in kinds
}


def _head(node: ast.stmt | ast.ExceptHandler) -> range:
    body = getattr(node, "body", None)
    last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
    decorators = getattr(node, "decorator_list", None)
    return range(decorators[0].lineno if decorators else node.lineno, last + 1)


def _other_texts(text: str) -> Iterator[str]:
    """Yields what a wrong constant may hold; nothing for prose, whose wording no test should pin."""
    if repetitions := list(REPETITION.finditer(text)):
        for found in repetitions:
            for group in (1, 2):
                if found[group] is not None:
                    for number in {int(found[group]) + 1, max(int(found[group]) - 1, 0)}:
                        yield text[: found.start(group)] + str(number) + text[found.end(group) :]
    elif not PROSE.search(text):
        yield text + "x"


def _literal(text: str) -> str:
    """Returns the literal in double quotes if it needs no escapes, so that the diff shows the fault alone."""
    return f'"{text}"' if text.isprintable() and not set(text) & {'"', "\\"} else repr(text)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _is_skipped(node: ast.AST) -> bool:
    skipped = False
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.TypeAlias() | ast.Delete():
            skipped = True
        case ast.Expr(value=ast.Constant()):  # docstrings and ellipses
            skipped = True
        case ast.Expr(value=ast.Call() as call):
            skipped = _is_skipped(call)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=method)):
            skipped = (owner in LOGGERS and method in LOG_METHODS) or method in TYPING_CALLS
        case ast.Call(func=ast.Name(id=name)):
            skipped = name in TYPING_CALLS
        case ast.ClassDef(bases=bases):
            skipped = any("Protocol" in ast.unparse(base) for base in bases)
        case ast.If(test=test):
            skipped = "TYPE_CHECKING" in ast.unparse(test) or "__name__" in ast.unparse(test)
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            skipped = True
    return skipped


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes that may hold faults; of annotations only the calls, which msgspec obeys."""
    for name, value in ast.iter_fields(node):
        if name in ("returns", "type_params", "format_spec"):
            continue
        children = [child for child in (value if isinstance(value, list) else [value]) if _is_node(child)]
        for child in children:
            if name == "annotation":
                yield from (call for call in ast.walk(child) if isinstance(call, ast.Call))
            elif isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant):
                continue  # the words of a message
            elif not (isinstance(child, ast.keyword) and child.arg in STORAGE_OPTIONS):
                yield child


def _is_node(value: object) -> bool:
    return isinstance(value, ast.AST)
