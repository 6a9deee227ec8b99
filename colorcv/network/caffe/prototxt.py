"""Protobuf text format: a prototxt as nested values, without a schema.

The grammar is that of https://protobuf.dev/reference/protobuf/textformat-spec/, less extensions
and `Any`, which no Caffe network uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ...errors import ModelFormatError
from .files import read_small

__all__ = ["Message", "Value", "parse", "read"]

MAX_BYTES = 1 << 18  # the network's own prototxt has 10 thousand, in 2 thousand tokens
MAX_TOKENS = 50_000
MAX_NAME = 200  # characters of a field's name, which stands in each of its messages' `where`
MAX_DEPTH = 32
MAX_NUMBER = 64  # characters of one number

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\v\f]+|\#[^\n]*)
      | (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fF]?))
      | (?P<word>-?[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CLOSING = {"{": "}", "<": ">"}


class Message:
    """The fields of one message, each with all its values in the order of the file.

    `where` names the message in error messages; it can be changed once a better name is known.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.fields: dict[str, list[Value]] = {}

    def all(self, name: str, kind: type | tuple[type, ...], what: str) -> list[Value]:
        values = self.fields.get(name, [])
        for value in values:
            if not isinstance(value, kind):
                shown = "{...}" if isinstance(value, Message) else repr(value)
                raise ModelFormatError(f"{self.where}: {name} should be {what}, not {shown}")
        return values

    def messages(self, name: str) -> list[Message]:
        return [v for v in self.all(name, Message, "a message in braces") if isinstance(v, Message)]

    def strings(self, name: str) -> list[str]:
        return [str(value) for value in self.all(name, str, "a text")]

    def integers(self, name: str) -> list[int]:
        return [v for v in self.all(name, int, "a whole number") if isinstance(v, int)]

    def message(self, name: str) -> Message:
        """Return the one message of that name, or an empty one where there is none."""
        found = self.messages(name)
        self._at_most_one(name, len(found))
        return found[0] if found else Message(f"{self.where}, {name}")

    def string(self, name: str, default: str | None = None) -> str:
        found = self.strings(name)
        self._at_most_one(name, len(found))
        if not found and default is None:
            raise ModelFormatError(f"{self.where}: {name} is missing")
        return found[0] if found else str(default)

    def integer(self, name: str, default: int | None = None) -> int:
        found = self.integers(name)
        self._at_most_one(name, len(found))
        if not found and default is None:
            raise ModelFormatError(f"{self.where}: {name} is missing")
        return found[0] if found else int(default or 0)

    def number(self, name: str) -> float | None:
        found = self.all(name, (int, float), "a number")
        self._at_most_one(name, len(found))
        return float(found[0]) if found else None  # type: ignore[arg-type]

    def flag(self, name: str, default: bool) -> bool:
        found = self.fields.get(name, [])
        self._at_most_one(name, len(found))
        if not found:
            return default
        for value, meaning in (("true", True), ("false", False), (1, True), (0, False)):
            if found[0] == value:
                return meaning
        raise ModelFormatError(f"{self.where}: {name} should be true or false, not {found[0]!r}")

    def only(self, *names: str) -> None:
        """Refuse fields that are not understood, since leaving one out could change answers."""
        for name in self.fields:
            if name not in names:
                raise ModelFormatError(f"{self.where}: the field {name!r} is not understood here")

    def _at_most_one(self, name: str, count: int) -> None:
        if count > 1:
            raise ModelFormatError(f"{self.where}: {name} stands there {count} times, once goes")


Value = str | int | float | Message
Token = tuple[str, str, int]


def read(path: Path) -> Message:
    """Read a prototxt file.

    Raises
    ------
    ModelFormatError
        The file cannot be read, is larger than 256 KiB, or is no protobuf text.
    """
    data = read_small(path, "prototxt", MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise ModelFormatError(f"{path}: this is no prototxt: {err}") from err
    return parse(text, str(path))


def parse(text: str, where: str) -> Message:
    """Parse protobuf text; `where` names it in errors."""
    parser = _Parser(text, where)
    message = Message(where)
    parser.fields(message, None, 0)
    return message


def _tokens(text: str, where: str) -> Iterator[Token]:
    position = count = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ModelFormatError(
                f"{where}: line {line} is no protobuf text at {text[position : position + 20]!r}"
            )
        if match.lastgroup != "space":
            count += 1
            if count > MAX_TOKENS:
                raise ModelFormatError(f"{where}: more than {MAX_TOKENS} words and signs")
            yield str(match.lastgroup), match.group(), position
        position = match.end()


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.tokens = _tokens(text, where)
        self.token = next(self.tokens, None)

    def fields(self, message: Message, closing: str | None, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.refuse(f"messages nested at most {MAX_DEPTH} deep")
        while self.token is not None and self.token[1] != closing:
            kind, name, _ = self.token
            if kind != "word" or name.startswith("-") or len(name) > MAX_NAME:
                self.refuse("the name of a field")
            self.step()
            colon = self.take(":")
            values = message.fields.setdefault(name, [])
            if self.take("["):
                while not self.take("]"):
                    values.append(self.value(name, colon, depth))
                    if not self.take(",") and not self.at("]"):
                        self.refuse("',' or ']'")
            else:
                values.append(self.value(name, colon, depth))
            if not self.take(","):
                self.take(";")
        if closing is not None and not self.take(closing):
            self.refuse(f"{closing!r}")

    def value(self, name: str, colon: bool, depth: int) -> Value:
        if self.token is None:
            self.refuse(f"a value of {name}")
        kind, text, _ = self.token
        if text in _CLOSING:
            self.step()
            message = Message(f"{self.where}, {name}")
            self.fields(message, _CLOSING[text], depth + 1)
            return message
        if not colon:
            self.refuse("':' or '{'")
        if kind == "string":
            return self.joined_string()
        if kind == "word":
            self.step()
            return float(text) if text.lstrip("-") in ("inf", "nan") else text
        if kind == "number":
            number = _number(text)
            if number is None:
                self.refuse("a number that makes sense")
            self.step()
            return number
        return self.refuse(f"a value of {name}")

    def joined_string(self) -> str:
        parts: list[str] = []
        while self.token is not None and self.token[0] == "string":
            parts.append(_ESCAPE.sub(_unescape, self.token[1][1:-1]))
            self.step()
        return "".join(parts)

    def at(self, sign: str) -> bool:
        return self.token is not None and self.token[:2] == ("sign", sign)

    def take(self, sign: str) -> bool:
        found = self.at(sign)
        if found:
            self.step()
        return found

    def step(self) -> None:
        self.token = next(self.tokens, None)

    def refuse(self, expected: str) -> NoReturn:
        if self.token is None:
            raise ModelFormatError(f"{self.where}: the text ends where {expected} should stand")
        line = self.text.count("\n", 0, self.token[2]) + 1
        raise ModelFormatError(
            f"{self.where}: line {line}: {expected} should stand where {self.token[1][:40]!r} is"
        )


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _NAMED.get(code, code)


def _number(text: str) -> int | float | None:
    if len(text) > MAX_NUMBER:
        return None
    digits = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits, 16)
    if not digits.isdigit():
        return sign * float(digits.rstrip("fF"))
    if len(digits) > 1 and digits[0] == "0":
        return sign * int(digits, 8) if set(digits) <= set("01234567") else None
    return sign * int(digits)
