# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The small changes that a tired maintainer could make to a module, found in its syntax tree.

The name of a mutant consists of the function, the text of the line, and the change. It has no line number, so its
result stays valid until that line itself changes.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Tuple, Type

# The replacements of each comparison operator: its edge case, and its opposite.
_COMPARED: Dict[Type[ast.cmpop], Tuple[str, List[str]]] = {
    ast.Lt: ("<", ["<=", ">="]),
    ast.LtE: ("<=", ["<", ">"]),
    ast.Gt: (">", [">=", "<="]),
    ast.GtE: (">=", [">", "<"]),
    ast.Eq: ("==", ["!="]),
    ast.NotEq: ("!=", ["=="]),
    ast.In: ("in", ["not in"]),
    ast.NotIn: ("not in", ["in"]),
    ast.Is: ("is", ["is not"]),
    ast.IsNot: ("is not", ["is"]),
}
_COMPUTED: Dict[Type[ast.operator], Tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_CALLED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_TEXT_METHODS = {"lower", "upper", "strip", "rstrip", "lstrip"}


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from `start` to `end` of the module become `new`. `whole` is the text of the function."""

    module: str
    function: str
    text: str
    change: str
    whole: str
    line: int
    start: int
    end: int
    new: str

    @property
    def name(self) -> str:
        return " | ".join((self.module, self.function, self.text, self.change))

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutants(module: str, source: str) -> List[Mutant]:
    """Return all mutants of a module, in the order of their lines, each name and each resulting text once."""
    finder = _Finder(module, source)
    finder.visit(ast.parse(source))
    seen: Counter[str] = Counter()
    results = {source.encode()}
    found = []
    for mutant in sorted(finder.found, key=lambda one: (one.start, one.end)):
        result = mutant.applied(source.encode())
        if result in results:
            continue
        results.add(result)
        seen[mutant.name] += 1
        if seen[mutant.name] > 1:
            mutant = replace(mutant, change=f"{mutant.change} ({seen[mutant.name]})")
        found.append(mutant)
    return found


def _short(text: str) -> str:
    return " ".join(text.split())


class _Finder(ast.NodeVisitor):
    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._data = source.encode()
        self._lines = source.splitlines(keepends=True)
        self._offsets = [0]
        for line in self._lines:
            self._offsets.append(self._offsets[-1] + len(line.encode()))
        self._within: List[str] = []
        self._whole = ""
        self.found: List[Mutant] = []

    def _span(self, node: ast.AST) -> Tuple[int, int]:
        """Return where a node begins and ends, in bytes."""
        places: Any = node  # the nodes passed here have positions, though not every node does
        begins = self._offsets[places.lineno - 1] + places.col_offset
        return begins, self._offsets[places.end_lineno - 1] + places.end_col_offset

    def _source(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._data[start:end].decode()

    def _add(self, node: ast.AST, new: str, change: str, span: Optional[Tuple[int, int]] = None) -> None:
        start, end = span or self._span(node)
        line = self._data[:start].count(b"\n") + 1
        text = self._lines[line - 1].strip()
        function, whole = ".".join(self._within), self._whole or text
        self.found.append(Mutant(self._module, function, text, change, whole, line, start, end, new))

    def _between(self, node: ast.AST, left: ast.AST, right: ast.AST, old: str, new: str) -> None:
        """Change an operator between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        text = self._data[start:end].decode()
        if old in text:
            place = start + len(text[: text.index(old)].encode())
            self._add(node, new, f"{old} -> {new}", (place, place + len(old)))

    def _scope(self, node: ast.AST, name: str, body: List[ast.stmt]) -> None:
        self._within.append(name)
        for child in body:
            self.visit(child)
        self._within.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope(node, node.name, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, self._whole = self._whole, self._source(node)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default:
                self.visit(default)
        self._scope(node, node.name, node.body)
        self._whole = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Skip f-strings: a change in one changes only a message."""

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self._condition(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        if isinstance(test, (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.NamedExpr)):
            self._add(test, f"not ({self._source(test)})", f"not {_short(self._source(test))}")

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            old, others = _COMPARED[type(operator)]
            for new in others:
                self._between(node, left, right, old, new)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:]):
            self._between(node, left, right, old, new)
        for value in node.values:
            others = [f"({self._source(other)})" for other in node.values if other is not value]
            self._add(node, f" {old} ".join(others), f"without {_short(self._source(value))}")
            self._condition(value)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.Not, ast.USub)):
            self._add(node, self._source(node.operand), f"without {'not' if isinstance(node.op, ast.Not) else '-'}")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = [side for side in (node.left, node.right) if isinstance(side, ast.JoinedStr) or _is_text(side)]
        if type(node.op) in _COMPUTED and not texts:
            self._between(node, node.left, node.right, *_COMPUTED[type(node.op)])
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._add(node, str(not value), f"{value} -> {not value}")
        elif isinstance(value, int):
            for new in [value + 1, value - 1][: 2 if value else 1]:
                self._add(node, str(new), f"{value} -> {new}")
        elif isinstance(value, float):
            for other in [value * 2, value / 2] if value else [1.0]:
                self._add(node, repr(other), f"{value} -> {other}")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load):
            self._add(node, self._source(node.value), f"without [{_short(self._source(node.slice))}]")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _CALLED:
            self._add(node, _CALLED[node.func.id], f"{node.func.id} -> {_CALLED[node.func.id]}", self._span(node.func))
            if len(node.args) > 1:
                for argument in node.args:
                    self._add(node, f"({self._source(argument)})", f"only {_short(self._source(argument))}")
        elif not any(isinstance(argument, ast.Starred) for argument in node.args):
            for left, right in zip(node.args, node.args[1:]):
                between = self._data[self._span(left)[1] : self._span(right)[0]].decode()
                swapped = f"{self._source(right)}{between}{self._source(left)}"
                self._add(node, swapped, f"swapped {_short(swapped)}", (self._span(left)[0], self._span(right)[1]))
        if isinstance(node.func, ast.Attribute) and node.func.attr in _TEXT_METHODS:
            self._add(node, self._source(node.func.value), f"without {node.func.attr}()")
        for before, keyword in zip([*node.args[-1:], *node.keywords], node.keywords):
            if keyword.arg:
                span = (self._span(before)[1], self._span(keyword)[1])
                self._add(node, "", f"without {keyword.arg}=", span)
        self.generic_visit(node)

    def _removed(self, node: ast.stmt) -> None:
        self._add(node, "pass", f"removed {_short(self._source(node))[:50]}")

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self._removed(node)
            if not _is_log(node.value):
                self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._removed(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets):
            self._removed(node)
        if self._source(node.targets[0]) != "TYPE_CHECKING":
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._removed(node)
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._removed(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._removed(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._removed(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None or not isinstance(node.value, ast.Constant):
            self._add(node, "pass" if node.value is None else "return None", "removed return")
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type:
            types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            for one in types:
                others = "".join(f"{self._source(other)}, " for other in types if other is not one)
                self._add(node, f"({others})", f"without except {self._source(one)}", self._span(node.type))
        for child in node.body:
            self.visit(child)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))


def _is_log(node: ast.expr) -> bool:
    """Return whether this is a log call. Its arguments are not changed."""
    function = node.func if isinstance(node, ast.Call) else node
    return isinstance(function, ast.Attribute) and ast.unparse(function.value).rpartition(".")[2] in ("log", "_log")
