"""Faults are edits of a module's text, each of them a program; what no test should pin gets none."""

import textwrap

import pytest

from tests.support.mutants.faults import find_faults, is_fault


def changed(source: str) -> set[tuple[str, str]]:
    """The kind and the whole text of every fault of `source`, the lines that stay left out."""
    before = textwrap.dedent(source).encode()
    found = set()
    for fault in find_faults("module.py", before):
        if is_fault(fault, before):
            old, after = before.decode().splitlines(), fault.apply(before).decode().splitlines()
            found.add((fault.kind, "\n".join(line for line in after if line not in old).strip()))
    return found


@pytest.mark.parametrize(
    ("source", "kind", "after"),
    [
        ("a < b", "comparison", "a <= b"),
        ("a < b", "comparison", "a >= b"),
        ("a < b <= c", "comparison", "a < b < c"),
        ("a is not b", "comparison", "a is b"),
        ("(a) not in (b)", "comparison", "(a) in (b)"),
        ("a and b and c", "and/or", "a and b or c"),
        ("a or b", "and/or", "a and b"),
        ("a + b", "arithmetic", "a - b"),
        ("a // b", "arithmetic", "a / b"),
        ("a += b", "arithmetic", "a -= b"),
        ("a += b", "assignment removed", "pass"),
        ("self.a = b", "assignment removed", "pass"),
        ("if a: b = c", "condition negated", "if not (a): b = c"),
        ("if not a: b = c", "condition negated", "if a: b = c"),
        ("b = [a for a in c if a]", "condition negated", "b = [a for a in c if not (a)]"),
        ("a = 5", "constant", "a = 6"),
        ("a = 5", "constant", "a = 4"),
        ("a = 2.0", "constant", "a = 3.0"),
        ("a = True", "constant", "a = False"),
        ('a = ""', "constant", 'a = "x"'),
        ('a = "[a-z]{0,8}"', "constant", 'a = "[a-z]{0,9}"'),
        ('a = "[a-z]{0,8}"', "constant", 'a = "[a-z]{1,8}"'),
        ("def f(a=1): ...", "constant", "def f(a=2): ..."),
        ("f(a)", "call removed", "pass"),
        ("raise a", "raise removed", "pass"),
        ("f(a, b, c)", "arguments swapped", "f(b, a, c)"),
        ("x = f(a, b=c)", "argument removed", "x = f(a)"),
        ("x = f(a=b, c=d)", "argument removed", "x = f(c=d)"),
        ("x = max(a)", "function swapped", "x = min(a)"),
    ],
)
def test_each_kind_of_fault(source: str, kind: str, after: str) -> None:
    assert (kind, after) in changed(source)


def test_faults_of_functions_and_handlers() -> None:
    found = changed(
        """\
        async def f(a):
            await g(a)
            try:
                return a
            except (KeyError, ValueError):
                return
        """
    )
    assert found >= {
        ("call removed", "pass"),
        ("return value", "return None"),
        ("return removed", "pass"),
        ("except widened", "except Exception:"),
        ("except removed", "except ():"),
        ("except narrowed", "except (ValueError,):"),
    }


@pytest.mark.parametrize(
    "source",
    [
        '"""Says what the module does."""',
        "import a\nfrom b import c",
        "assert a",
        "a: int | None",
        "def f(a: int) -> 'int': ...",
        "if TYPE_CHECKING:\n    a = 1",
        'if __name__ == "__main__":\n    f()',
        '__all__ = ["a"]',
        'log.warning("lost %d", 5)',
        'log = logging.getLogger("name")',
        'T = TypeVar("T")',
        "class P(Protocol):\n    a: int = 1",
        "class S(Struct, frozen=True): ...",
        'a = "Expected a number, got text."',
        'a = f"got {b}"',
        "a = None",
    ],
)
def test_what_no_test_should_pin_gets_no_fault(source: str) -> None:
    assert changed(source) == set()


def test_bounds_in_annotations_get_faults_and_their_types_do_not() -> None:
    assert changed("class S:\n    a: Annotated[int, Meta(ge=1)] | None = None") == {
        ("constant", "a: Annotated[int, Meta(ge=2)] | None = None"),
        ("constant", "a: Annotated[int, Meta(ge=0)] | None = None"),
        ("argument removed", "a: Annotated[int, Meta()] | None = None"),
    }


def test_none_is_no_fault_of_false() -> None:
    assert changed("def f():\n    return False") == {("constant", "return True")}


def test_an_edit_that_is_no_program_is_no_fault() -> None:
    source = b"f(a=1,)"
    removed = [fault for fault in find_faults("module.py", source) if fault.kind == "argument removed"]
    assert [is_fault(fault, source) for fault in removed] == [False]


def test_text_before_a_fault_may_hold_any_character() -> None:
    assert ("comparison", 'a = "ü", b <= c') in changed('a = "ü", b < c')


def test_a_fault_knows_the_lines_that_a_test_must_run() -> None:
    source = b"if (\n    a < 1\n):\n    f(\n        2\n    )\n"
    lines = {fault.kind: fault.lines for fault in find_faults("module.py", source)}
    assert lines["comparison"] == range(1, 4)
    assert lines["call removed"] == range(4, 7)
