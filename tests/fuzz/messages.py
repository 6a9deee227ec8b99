"""Protobuf messages as trees that can be changed and written again, with lengths that can lie."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from tests.fuzz.mutate import NUMBERS, changed_bytes

__all__ = ["changed_message", "varint"]

_LIES = 0.02  # of the lengths that are written


@dataclass
class Node:
    """One field: its number, wire type, and value: a number, bytes, or a message."""

    number: int
    kind: int
    value: int | bytes | list[Node]


def changed_message(rng: random.Random, data: bytes, nested: dict[int, dict]) -> bytes:
    """Change a well-formed message a little; `nested` says which fields are messages."""
    if rng.random() < 0.15:
        return changed_bytes(rng, data)
    nodes = _parsed(data, nested)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        _change(rng, nodes)
    out = _written(rng, nodes, _LIES if rng.random() < 0.3 else 0)
    return changed_bytes(rng, out) if rng.random() < 0.05 else out


def _change(rng: random.Random, nodes: list[Node]) -> None:
    holder = nodes
    while holder:
        node = rng.choice(holder)
        if isinstance(node.value, list) and node.value and rng.random() < 0.9:
            holder = node.value
        else:
            break
    if not holder:
        holder.append(Node(rng.randrange(1, 20), 0, rng.choice(NUMBERS)))
        return
    at = rng.randrange(len(holder))
    node = holder[at]
    match rng.randrange(8):
        case 0:
            node.number = rng.choice((0, 1, 2, 4, 5, 7, 8, 10, 12, 100, node.number + 1, 1 << 29))
        case 1:
            _change_kind(rng, node)
        case 2:
            del holder[at]
        case 3:
            holder[at:at] = [Node(node.number, node.kind, node.value)] * rng.choice((1, 2, 70))
        case 4:
            other = rng.randrange(len(holder))
            holder[at], holder[other] = holder[other], holder[at]
        case _:
            _change_value(rng, node)


def _change_kind(rng: random.Random, node: Node) -> None:
    node.kind = rng.choice((0, 1, 2, 5, 3, 6))
    if node.kind == 0:
        node.value = rng.choice(NUMBERS)
    elif node.kind in (1, 5):
        node.value = rng.randbytes(8 if node.kind == 1 else 4)
    elif not isinstance(node.value, list):
        node.value = rng.randbytes(rng.choice((0, 1, 4, 8, 40)))


def _change_value(rng: random.Random, node: Node) -> None:
    if isinstance(node.value, int):
        near = node.value + rng.choice((-1, 1))
        node.value = rng.choice((near, rng.choice(NUMBERS), rng.getrandbits(64)))
    elif isinstance(node.value, bytes):
        odd = rng.choice((float("nan"), float("inf"), -float("inf"), 3.4e38, 1e-45, -1.0, 0.0))
        size = rng.choice((2, 4, 8))
        values = struct.pack({2: "<e", 4: "<f", 8: "<d"}[size], odd if size > 2 or abs(odd) < 6e4
                             or odd != odd else float("inf"))  # fmt: skip
        at = rng.randrange(len(node.value) // size + 1) * size
        node.value = rng.choice(
            (
                node.value[:at] + values + node.value[at + size :],
                values * (len(node.value) // size),
                node.value[:at],
                changed_bytes(rng, node.value),
            )
        )
        if node.kind in (1, 5):
            node.value = node.value[:8].ljust(8 if node.kind == 1 else 4, b"\0")
    else:
        rng.shuffle(node.value)


def _parsed(data: bytes, nested: dict[int, dict]) -> list[Node]:
    nodes = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            nodes.append(Node(number, kind, value))
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, at = _read_varint(data, at)
        content = data[at : at + size]
        at += size
        inside = kind == 2 and number in nested
        nodes.append(Node(number, kind, _parsed(content, nested[number]) if inside else content))
    return nodes


def _written(rng: random.Random, nodes: list[Node], lies: float) -> bytes:
    out = b""
    for node in nodes:
        out += varint(node.number << 3 | node.kind)
        if isinstance(node.value, int):
            out += varint(node.value)
            continue
        content = _written(rng, node.value, lies) if isinstance(node.value, list) else node.value
        if node.kind == 2:
            lie = lies and rng.random() < lies
            out += varint(rng.choice((*NUMBERS, len(content) + 1)) if lie else len(content))
        out += content
    return out


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] > 127:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return value | data[at] << shift, at + 1
