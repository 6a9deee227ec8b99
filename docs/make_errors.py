"""List all messages of the package in docs/errors.rst: ``python docs/make_errors.py``.

Read from the source: every error that is raised or returned, every warning that is logged, every
note of a result. ``--check`` only says whether the page is up to date (exit code 0).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "colorcv"
PAGE = ROOT / "docs" / "errors.rst"
MARK = "\n.. The rest of this page is made by docs/make_errors.py; do not edit it by hand.\n"
HEAD = """
All messages
------------

Read from the source of this version. ``{name}`` stands for a value, ``|`` for one or the other.
"""
WARNINGS, NOTES = "Warnings in the log", "Notes in results and of the command"
ELSEWHERE = "Inside other messages"
# Exceptions that never reach a user; their texts appear inside the messages of others.
INNER = {
    *("AttemptError", "DiskError", "TransferError", "AllMirrorsFailed"),
    *("ProfileError", "TableProfileError"),
}
# Private subclasses of public errors.
SUBCLASSES = {"UnsupportedKindError": "ImageError"}


class Message(NamedTuple):
    """One message, the kind of its section, and the module that it is in."""

    kind: str
    text: str
    module: str


def error_names() -> list[str]:
    """Return the names of the package's errors, in the order of their definition."""
    tree = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


class Texts:
    """Turns the expressions of one module into texts."""

    def __init__(self, tree: ast.Module) -> None:
        self.functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        self.constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def render(self, node: ast.AST, scope: ast.AST | None, depth: int = 0) -> str:
        """Return the text of an expression; what is not literal becomes ``{...}``."""
        if depth > 6:
            return "{...}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.JoinedStr):
            return "".join(self.render(value, scope, depth + 1) for value in node.values)
        if isinstance(node, ast.FormattedValue):
            text = self.render(node.value, scope, depth + 1)
            return f"{{{name_of(node.value)}}}" if text == "{...}" else text
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return "".join(self.render(side, scope, depth + 1) for side in (node.left, node.right))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return self.render(node.left, scope, depth + 1)
        if isinstance(node, ast.IfExp):
            sides = [self.render(side, scope, depth + 1) for side in (node.body, node.orelse)]
            return alternatives(sides)
        if isinstance(node, (ast.List, ast.Tuple)):
            texts = (self.render(item, scope, depth + 1) for item in node.elts)
            return " ".join(text for text in texts if text != "{...}") or "{...}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_join = node.func.attr == "join" and bool(node.args)
            return self.render(node.args[0], scope, depth + 1) if is_join else "{...}"
        if isinstance(node, ast.Name):
            return alternatives(
                [self.render(value, scope, depth + 1) for value in self.values_of(node.id, scope)]
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            function = self.functions.get(node.func.id)
            returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)] if (
                function) else []  # fmt: skip
            texts = [self.render(value, function, depth + 2) for value in returned if value]
            return alternatives([text for text in texts if text != "{...}"])
        return "{...}"

    def values_of(self, name: str, scope: ast.AST | None) -> Iterator[ast.expr]:
        for node in ast.walk(scope) if scope else ():
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name for target in node.targets
            ):
                yield node.value
        if name in self.constants:
            yield self.constants[name]


def alternatives(texts: list[str]) -> str:
    literal = list(dict.fromkeys(text for text in texts if re.search("[a-z]{3}", text)))
    return " | ".join(literal) or "{...}"


def name_of(node: ast.expr) -> str:
    """Return a short name for a value in a message."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.func, ast.Name):
            node = node.args[0]
        else:
            node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__"):
        return "type"
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    return name.strip("_") if name.isidentifier() else "..."


def messages_of(path: Path, errors: set[str]) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = Texts(tree)
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    scopes: dict[int, ast.AST] = {}
    for function in ast.walk(tree):  # outer functions come first, so the innermost one stays
        if isinstance(function, ast.FunctionDef):
            scopes.update((id(node), function) for node in ast.walk(function))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        name = SUBCLASSES.get(name, name)
        owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        if name in errors and not owner:
            kind = name
        elif name in INNER and not owner:
            kind = ELSEWHERE
        elif name == "warning" and owner == "logger":
            kind = WARNINGS
        elif (name, owner.split(".")[-1]) in {("append", "notes"), ("note", "console")}:
            kind = NOTES
        else:
            continue
        text = " ".join(texts.render(node.args[0], scopes.get(id(node))).split())
        text = re.sub(r"%(\.\d)?[sdrf]", "{...}", text)
        if re.search("[a-z]{3}", text.replace("{", " ")):
            yield Message(kind, text, module)


def make_page() -> str:
    """Return the page: the part written by hand, and the list of messages."""
    by_hand = PAGE.read_text(encoding="utf-8").partition(MARK)[0].rstrip() + "\n"
    errors = error_names()
    found = [
        message
        for path in sorted(PACKAGE.rglob("*.py"))
        for message in messages_of(path, set(errors))
    ]
    parts = [by_hand, MARK, HEAD]
    for kind in [*errors, WARNINGS, NOTES, ELSEWHERE]:
        rows = sorted({(m.module, m.text) for m in found if m.kind == kind})
        if not rows:
            continue
        title = f"``{kind}``" if kind in errors else kind
        parts.append(f"\n{title}\n{'~' * len(title)}\n")
        for module in dict.fromkeys(module for module, _ in rows):
            parts.append(f"\n``{module}``\n")
            parts += [f"    - {literal(text)}\n" for owner, text in rows if owner == module]
    return "".join(parts)


def literal(text: str) -> str:
    """Return the text as an inline literal, in which nothing is marked up and dashes stay."""
    plain = text.replace("`", "'").strip()
    return f"``{plain}``"


def main() -> int:
    page = make_page()
    if "--check" in sys.argv:
        return int(page != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
