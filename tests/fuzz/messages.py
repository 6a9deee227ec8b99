"""Mutate protobuf messages: parse to a tree, change it, and write it with some wrong lengths."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from tests.fuzz.mutate import NUMBERS, mutate_bytes

__all__ = ["mutate_message", "varint"]

_WRONG_LENGTHS = 0.02  # share of the lengths


@dataclass
class Node:
    """One field: its number, wire type, and value: a number, bytes, or a message."""

    number: int
    kind: int
    value: int | bytes | list[Node]


def mutate_message(rng: random.Random, data: bytes, nested: dict[int, dict]) -> bytes:
    """Mutate a well-formed message; `nested` says which fields are messages."""
    if rng.random() < 0.15:
        return mutate_bytes(rng, data)
    nodes = _parse(data, nested)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        _change(rng, nodes)
    out = _write(rng, nodes, _WRONG_LENGTHS if rng.random() < 0.3 else 0)
    return mutate_bytes(rng, out) if rng.random() < 0.05 else out


def _change(rng: random.Random, nodes: list[Node]) -> None:
    siblings = nodes
    while siblings:
        node = rng.choice(siblings)
        if isinstance(node.value, list) and node.value and rng.random() < 0.9:
            siblings = node.value
        else:
            break
    if not siblings:
        siblings.append(Node(rng.randrange(1, 20), 0, rng.choice(NUMBERS)))
        return
    at = rng.randrange(len(siblings))
    node = siblings[at]
    match rng.randrange(8):
        case 0:
            node.number = rng.choice((0, 1, 2, 4, 5, 7, 8, 10, 12, 100, node.number + 1, 1 << 29))
        case 1:
            _change_kind(rng, node)
        case 2:
            del siblings[at]
        case 3:
            siblings[at:at] = [Node(node.number, node.kind, node.value)] * rng.choice((1, 2, 70))
        case 4:
            other = rng.randrange(len(siblings))
            siblings[at], siblings[other] = siblings[other], siblings[at]
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
                mutate_bytes(rng, node.value),
            )
        )
        if node.kind in (1, 5):
            node.value = node.value[:8].ljust(8 if node.kind == 1 else 4, b"\0")
    else:
        rng.shuffle(node.value)


def _parse(data: bytes, nested: dict[int, dict]) -> list[Node]:
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
        nodes.append(Node(number, kind, _parse(content, nested[number]) if inside else content))
    return nodes


def _write(rng: random.Random, nodes: list[Node], wrong: float) -> bytes:
    out = b""
    for node in nodes:
        out += varint(node.number << 3 | node.kind)
        if isinstance(node.value, int):
            out += varint(node.value)
            continue
        content = _write(rng, node.value, wrong) if isinstance(node.value, list) else node.value
        if node.kind == 2:
            is_wrong = rng.random() < wrong
            out += varint(rng.choice((*NUMBERS, len(content) + 1)) if is_wrong else len(content))
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
