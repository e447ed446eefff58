"""The mistakes: each changes one place of a module's syntax tree.

Left alone are what is said to people (errors' and logs' texts), types, docstrings and `assert`.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Pow: ast.Mult,
}  # fmt: skip
_NEGATED_ALREADY = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
_LOGS = ("_log", "log", "_first")

Change = Callable[[ast.AST], ast.AST]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake.

    Attributes:
        path: The module's file.
        at: The changed node's place in the walk of the tree.
        variant: Which of the changes of that node.
        owner: The outermost function that holds it, as code objects name it; "" for none.
        owner_line: Its first line.
        line: The line of the mistake.
        source: That line, as it stands there.
        what: What is changed to what.
    """

    path: Path
    at: int
    variant: int
    owner: str
    owner_line: int
    line: int
    source: str
    what: str


def mutants(path: Path) -> list[Mutant]:
    """All mistakes of a module."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    untouched = set(_left_alone(tree))
    owners = dict(_owners(tree))
    made: list[Mutant] = []
    for at, node in enumerate(ast.walk(tree)):
        if node in untouched:
            continue
        for variant, change in enumerate(_changes(node)):
            what = _described(node, change)
            owner, first = owners.get(node, ("", 0))
            line = node.lineno  # type: ignore[attr-defined]
            source = lines[line - 1].strip()
            again = sum(
                (m.owner, m.source, m.what.split(" (")[0]) == (owner, source, what) for m in made
            )
            if again:
                what = f"{what} ({again + 1})"
            made.append(Mutant(path, at, variant, owner, first, line, source, what))
    return made


def mutated(mutant: Mutant) -> ast.Module:
    """The module's tree with the mistake in it."""
    tree = ast.parse(mutant.path.read_text(encoding="utf-8"))
    node = next(node for at, node in enumerate(ast.walk(tree)) if at == mutant.at)
    new = _changes(node)[mutant.variant](node)
    if new is not node:
        _replace(tree, node, ast.copy_location(new, node))
    return ast.fix_missing_locations(tree)


def owner_nodes(tree: ast.Module) -> Iterator[tuple[str, int, ast.FunctionDef]]:
    """The outermost functions: qualified name, first line, node."""
    yield from _functions(tree, "")


# What is left alone.


def _left_alone(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Assert)):
            yield from (inner for inner in ast.walk(node) if inner is not node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            args = node.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            for hint in (
                node.returns,
                *(arg.annotation for arg in every if arg),
                *node.decorator_list,
            ):
                yield from ast.walk(hint) if hint is not None else ()
        elif isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                yield from ast.walk(decorator)
        elif isinstance(node, ast.AnnAssign):
            yield from ast.walk(node.annotation)
            if ast.unparse(node.annotation) == "TypeAlias":
                yield from ast.walk(node)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
            "__slots__",
            "__all__",
        ):
            yield from ast.walk(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from ast.walk(node)
        elif isinstance(node, ast.Call) and _is_cast(node):
            yield from ast.walk(node.args[0])
        elif isinstance(node, ast.Expr) and (_is_text(node.value) or _is_log(node.value)):
            yield from ast.walk(node)


def _is_cast(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id in ("cast", "TypeVar")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, type(...)))


def _is_log(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-2:-1] in (
        [name] for name in _LOGS
    )


# Whose it is.


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min(d.lineno for d in (child, *child.decorator_list))
            yield f"{prefix}{child.name}", first, child  # type: ignore[misc]
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.If, ast.Try, ast.With)):
            yield from _functions(child, prefix)


def _owners(tree: ast.Module) -> Iterator[tuple[ast.AST, tuple[str, int]]]:
    for name, first, function in _functions(tree, ""):
        for statement in function.body:
            for node in ast.walk(statement):
                yield node, (name, first)


# The changes. Each returns another node, or changes the one that it is given.


def _changes(node: ast.AST) -> list[Change]:
    if isinstance(node, ast.Compare):
        return [partial(_compare, at) for at, op in enumerate(node.ops) if type(op) in _COMPARED]
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        return [_compute] if type(node.op) in _COMPUTED else []
    if isinstance(node, ast.BoolOp):
        return [_bool_op]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [lambda node: node.operand]
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        return [_negate] if _is_worth_negating(node.test) else []
    if isinstance(node, ast.comprehension):
        return []
    if isinstance(node, ast.Constant):
        return _constants(node)
    if isinstance(node, ast.Return):
        return [_return_none] if _is_some(node.value) else []
    if isinstance(node, (ast.Expr, ast.Delete, ast.Raise)):
        return [_nothing]
    if isinstance(node, ast.Assign):
        inner = (ast.Attribute, ast.Subscript)
        return [_nothing] if all(isinstance(target, inner) for target in node.targets) else []
    if isinstance(node, ast.Continue):
        return [lambda node: ast.Break()]
    if isinstance(node, ast.Break):
        return [lambda node: ast.Continue()]
    return []


def _compare(at: int, node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Compare)
    node.ops[at] = _COMPARED[type(node.ops[at])]()
    return node


def _compute(node: ast.AST) -> ast.AST:
    assert isinstance(node, (ast.BinOp, ast.AugAssign))
    node.op = _COMPUTED[type(node.op)]()
    return node


def _bool_op(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node


def _negate(node: ast.AST) -> ast.AST:
    assert isinstance(node, (ast.If, ast.While, ast.IfExp))
    node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
    return node


def _is_worth_negating(test: ast.expr) -> bool:
    """Whether no other change does the same."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return False
    is_one = isinstance(test, ast.Compare) and len(test.ops) == 1
    return not (is_one and isinstance(test.ops[0], _NEGATED_ALREADY))  # type: ignore[attr-defined]


def _constants(node: ast.Constant) -> list[Change]:
    value = node.value
    other: object
    if isinstance(value, bool):
        other = not value
    elif isinstance(value, (int, float)):
        other = value + 1
    elif isinstance(value, str):
        other = "" if value else "XX"
    elif isinstance(value, bytes):
        other = b"" if value else b"XX"
    else:
        return []
    return [lambda node: ast.Constant(other)]


def _is_some(value: ast.expr | None) -> bool:
    if value is None:
        return False
    return not (isinstance(value, ast.Constant) and isinstance(value.value, (bool, type(None))))


def _return_none(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Return)
    node.value = ast.copy_location(ast.Constant(None), node)
    return node


def _nothing(node: ast.AST) -> ast.AST:
    return ast.Pass()


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                value[:] = [new if item is old else item for item in value]
                return


def _described(node: ast.AST, change: Change) -> str:
    """What is changed to what, without changing it."""
    before = ast.unparse(_head(node))
    after = change(copy.deepcopy(node))
    return f"{_short(before)} → {_short(ast.unparse(_head(ast.fix_missing_locations(after))))}"


def _head(node: ast.AST) -> ast.AST:
    """Of a statement with others in it, only what is asked."""
    return node.test if isinstance(node, (ast.If, ast.While)) else node


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 70 else f"{text[:67]}..."
