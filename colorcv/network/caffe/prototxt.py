"""Parser of protobuf text (prototxt) into nested messages, without a schema.

The grammar is https://protobuf.dev/reference/protobuf/textformat-spec/ without extensions and
`Any`, which no Caffe network uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ...errors import ModelFormatError
from ..files import read_small

__all__ = ["Message", "Value", "parse", "read"]

MAX_BYTES = 1 << 18  # zhang2016's prototxt has 10 thousand bytes and 2 thousand tokens
MAX_TOKENS = 50_000
MAX_NAME = 200  # characters of a field's name; the `location` of its messages holds a copy
MAX_DEPTH = 32
MAX_NUMBER = 64  # characters of one number

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\v\f]+|\#[^\n]*)
      | (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fF]?))
      | (?P<word>-?[A-Za-z_][A-Za-z0-9_]*)
      | (?P<punctuation>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CLOSING = {"{": "}", "<": ">"}


class Message:
    """The fields of one message: each name with its values, in the order of the file.

    Attributes
    ----------
    location : str
        Names the message in errors; may be replaced once a better name is known.
    fields : dict of list
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.fields: dict[str, list[Value]] = {}

    def messages(self, name: str) -> list[Message]:
        """Return all values of a field of messages."""
        values = self._all(name, Message, "a message in braces")
        return [value for value in values if isinstance(value, Message)]

    def strings(self, name: str) -> list[str]:
        """Return all values of a field of strings."""
        return [str(value) for value in self._all(name, str, "a string")]

    def integers(self, name: str) -> list[int]:
        """Return all values of a field of integers."""
        values = self._all(name, int, "an integer")
        return [value for value in values if isinstance(value, int)]

    def message(self, name: str) -> Message:
        """Return the one message of a field, or an empty one if the field is absent."""
        found = self.messages(name)
        self._check_single(name, len(found))
        return found[0] if found else Message(f"{self.location}, {name}")

    def string(self, name: str, default: str | None = None) -> str:
        """Return the one string of a field; raise if it is absent and has no default."""
        found = self.strings(name)
        self._check_single(name, len(found))
        if not found and default is None:
            raise ModelFormatError(f"{self.location}: {name} is missing")
        return found[0] if found else str(default)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return the one integer of a field; raise if it is absent and has no default."""
        found = self.integers(name)
        self._check_single(name, len(found))
        if not found and default is None:
            raise ModelFormatError(f"{self.location}: {name} is missing")
        return found[0] if found else int(default or 0)

    def number(self, name: str) -> float | None:
        """Return the one number of a field, or None."""
        found = self._all(name, (int, float), "a number")
        self._check_single(name, len(found))
        return float(found[0]) if found else None  # type: ignore[arg-type]

    def flag(self, name: str, default: bool) -> bool:
        """Return the one boolean of a field."""
        found = self.fields.get(name, [])
        self._check_single(name, len(found))
        if not found:
            return default
        for value, meaning in (("true", True), ("false", False), (1, True), (0, False)):
            if found[0] == value:
                return meaning
        raise ModelFormatError(f"{self.location}: {name} must be true or false, got {found[0]!r}")

    def allow_fields(self, *names: str) -> None:
        """Raise an error for any other field: ignoring it could change the network's output."""
        for name in self.fields:
            if name not in names:
                raise ModelFormatError(f"{self.location}: field {name!r} is not supported")

    def _all(self, name: str, kind: type | tuple[type, ...], expected: str) -> list[Value]:
        values = self.fields.get(name, [])
        for value in values:
            if not isinstance(value, kind):
                shown = "{...}" if isinstance(value, Message) else repr(value)
                raise ModelFormatError(f"{self.location}: {name} must be {expected}, got {shown}")
        return values

    def _check_single(self, name: str, count: int) -> None:
        if count > 1:
            raise ModelFormatError(
                f"{self.location}: {name} must be given once, got {count} values"
            )


Value = str | int | float | Message
Token = tuple[str, str, int]  # kind, text, position


def read(path: Path) -> Message:
    """Read a prototxt file.

    Raises
    ------
    ModelFormatError
        The file cannot be read, is larger than 256 KiB, or is not protobuf text.
    """
    data = read_small(path, "prototxt", MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise ModelFormatError(f"{path}: not a prototxt: {err}") from err
    return parse(text, str(path))


def parse(text: str, location: str) -> Message:
    """Parse protobuf text; `location` names it in errors."""
    parser = _Parser(text, location)
    message = Message(location)
    parser.fields(message, None, 0)
    return message


def _tokens(text: str, location: str) -> Iterator[Token]:
    position = count = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ModelFormatError(
                f"{location}: line {line}: not protobuf text: {text[position : position + 20]!r}"
            )
        if match.lastgroup != "space":
            count += 1
            if count > MAX_TOKENS:
                raise ModelFormatError(f"{location}: more than {MAX_TOKENS} tokens")
            yield str(match.lastgroup), match.group(), position
        position = match.end()


class _Parser:
    """Recursive-descent parser; `token` is the next token, None at the end of the text."""

    def __init__(self, text: str, location: str) -> None:
        self.text = text
        self.location = location
        self.tokens = _tokens(text, location)
        self.token = next(self.tokens, None)

    def fields(self, message: Message, closing: str | None, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.reject(f"messages nested at most {MAX_DEPTH} deep")
        while self.token is not None and self.token[1] != closing:
            kind, name, _ = self.token
            if kind != "word" or name.startswith("-") or len(name) > MAX_NAME:
                self.reject("the name of a field")
            self.advance()
            colon = self.accept(":")
            values = message.fields.setdefault(name, [])
            if self.accept("["):
                while not self.accept("]"):
                    values.append(self.value(name, colon, depth))
                    if not self.accept(",") and not self.is_next("]"):
                        self.reject("',' or ']'")
            else:
                values.append(self.value(name, colon, depth))
            if not self.accept(","):
                self.accept(";")
        if closing is not None and not self.accept(closing):
            self.reject(f"{closing!r}")

    def value(self, name: str, colon: bool, depth: int) -> Value:
        if self.token is None:
            self.reject(f"a value of {name}")
        kind, text, _ = self.token
        if text in _CLOSING:
            self.advance()
            message = Message(f"{self.location}, {name}")
            self.fields(message, _CLOSING[text], depth + 1)
            return message
        if not colon:
            self.reject("':' or '{'")
        if kind == "string":
            return self.joined_string()
        if kind == "word":
            self.advance()
            return float(text) if text.lstrip("-") in ("inf", "nan") else text
        if kind == "number":
            number = _number(text)
            if number is None:
                self.reject("a valid number")
            self.advance()
            return number
        return self.reject(f"a value of {name}")

    def joined_string(self) -> str:
        parts: list[str] = []
        while self.token is not None and self.token[0] == "string":
            parts.append(_ESCAPE.sub(_unescape, self.token[1][1:-1]))
            self.advance()
        return "".join(parts)

    def is_next(self, sign: str) -> bool:
        return self.token is not None and self.token[:2] == ("punctuation", sign)

    def accept(self, sign: str) -> bool:
        found = self.is_next(sign)
        if found:
            self.advance()
        return found

    def advance(self) -> None:
        self.token = next(self.tokens, None)

    def reject(self, expected: str) -> NoReturn:
        if self.token is None:
            raise ModelFormatError(f"{self.location}: unexpected end of file, expected {expected}")
        line = self.text.count("\n", 0, self.token[2]) + 1
        raise ModelFormatError(
            f"{self.location}: line {line}: expected {expected}, got {self.token[1][:40]!r}"
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
