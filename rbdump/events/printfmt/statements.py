# SPDX-License-Identifier: Apache-2.0
"""Statement expressions ``({ ... })``, executed symbolically: a variable stands for the expression that it holds.

``if`` and ``switch`` join the expressions of their branches with conditionals, so that no statement is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["execute"]

Locals = Mapping[str, n.Node]
Step = Callable[[], None]


def execute(outer: Locals, body: Sequence[n.Statement], step: Step) -> tuple[Locals, n.Node]:
    """The variables after all statements and the expression of the last one, with variables replaced.

    ``step`` is called for each piece of work; it raises when that becomes too much.
    """
    if not body or not isinstance(body[-1], n.Evaluate):
        raise UnsupportedPrintFmt("a statement expression that has no value")
    tables, _ = _run(dict(outer), body[:-1], step)
    return tables, _substitute(body[-1].of, tables, step)


def _substitute(node: Any, known: Locals, step: Step) -> Any:
    step()
    if isinstance(node, n.Ident):
        found = known.get(node.name, node)
        return node if isinstance(found, n.InitList) else found
    if isinstance(node, tuple):
        return tuple(_substitute(item, known, step) for item in node)
    if is_dataclass(node) and not isinstance(node, type) and isinstance(node, _NODES):
        changed = {f.name: _substitute(getattr(node, f.name), known, step) for f in fields(node)}
        return replace(node, **changed)
    return node


_NODES = (
    n.Member, n.Index, n.Unary, n.Binary, n.Cond, n.Comma, n.Cast, n.Sizeof, n.Call, n.InitList,
    n.StatementExpr, n.TypeName, n.Evaluate, n.Declare, n.If, n.Switch,
)  # fmt: skip


def _run(known: dict[str, n.Node], body: Sequence[n.Statement], step: Step) -> tuple[dict[str, n.Node], bool]:
    """The variables after ``body``, and whether a ``break`` ended it."""
    for statement in body:
        step()
        if isinstance(statement, n.Break):
            return known, True
        if isinstance(statement, n.Declare):
            known.pop(statement.name, None)
            if isinstance(statement.init, n.InitList):
                known[statement.name] = statement.init
            elif statement.init is not None:
                value: n.Node = _substitute(statement.init, known, step)
                plain = statement.type.of is None and (statement.type.type is None or not statement.type.type.size)
                known[statement.name] = value if plain or statement.type.pointers else n.Cast(statement.type, value)
        elif isinstance(statement, n.Evaluate):
            of = statement.of
            if isinstance(of, n.Binary) and of.op == "=" and isinstance(of.left, n.Ident):
                known[of.left.name] = _substitute(of.right, known, step)
        elif isinstance(statement, n.If):
            test = _substitute(statement.test, known, step)
            then, broke = _run(dict(known), statement.then, step)
            other, also = _run(dict(known), statement.other, step)
            if broke or also:
                raise UnsupportedPrintFmt("a break inside an if of a statement expression")
            known = _join(test, then, other)
        else:
            known = _switch(known, statement, step)
    return known, False


def _switch(known: dict[str, n.Node], switch: n.Switch, step: Step) -> dict[str, n.Node]:
    of = _substitute(switch.of, known, step)
    default = dict(known)
    cases: list[tuple[n.Node, dict[str, n.Node]]] = []
    for position, (labels, _) in enumerate(switch.arms):
        after = dict(known)
        for _, body in switch.arms[position:]:  # an arm without break falls through
            after, broke = _run(after, body, step)
            if broke:
                break
        test: n.Node | None = None
        for label in labels:
            if label is None:
                default = after
            else:
                equal = n.Binary("==", of, label)
                test = equal if test is None else n.Binary("||", test, equal)
        if test is not None:
            cases.append((test, after))
    joined = default
    for test, after in reversed(cases):
        joined = _join(test, after, joined)
    return joined


def _join(test: n.Node, then: dict[str, n.Node], other: dict[str, n.Node]) -> dict[str, n.Node]:
    joined = {}
    for name in then.keys() | other.keys():
        a, b = then.get(name), other.get(name)
        if a is None or b is None:
            joined[name] = a if a is not None else b
        else:
            joined[name] = a if a is b else n.Cond(test, a, b)
    return {name: value for name, value in joined.items() if value is not None}
