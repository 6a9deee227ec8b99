"""Mutations of bytes and of protobuf text that mostly keep the format."""

from __future__ import annotations

import random
import re

__all__ = ["NUMBERS", "mutate_bytes", "mutate_text"]

# Around powers of two, where arithmetic on sizes, signs and types overflows.
NUMBERS = sorted(
    {sign * ((1 << power) + step) for power in (0, 1, 7, 8, 15, 16, 24, 31, 32, 33, 63, 64)
     for step in (-1, 0, 1) for sign in (1, -1)}
    | {0, 3, 5, 64, 65, 313, 4096, 16384, 65535}
)  # fmt: skip

_TOKEN = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|[-+.\w/]+|\s+|.', re.DOTALL)
_FIELDS = (
    *("pad: 1", "pad: 64", "stride: 3", "dilation: 2", "dilation: 64", "group: 2", "group: 313"),
    *("bias_term: false", "bias_term: true", "kernel_size: 1", "kernel_h: 2", "axis: 1"),
    *("num_output: 2", "num_output: 16384", "bottom: 'sum'", "top: 'sum'", "eps: 0", "eps: 1"),
    *("type: 'Scale'", "type: 'Softmax'", "type: 'Silence'", "dim: 1", "dim: 65536", "pad_h: 0"),
    *("name: 'conv1'", "use_global_stats: 1", "operation: SUM", "phase: TEST", "param { }"),
)
_LAYER = re.compile(r"(?m)^layer ")
_VALUES = (
    *("inf", "-inf", "nan", "1e400", "-1e-400", "1e30", "0.0", "-0", "0x7fffffff", "0777", "089"),
    *("true", "false", "SUM", "MAX", "'x'", '""', '"\\xff\\777\\"', "{", "}", "<", ">", "[", "]"),
    *(":", ",", ";", "#", "{}", "[]", "[1, 2]", "{ dim: 0 }", "-", "..", "\x00", "é", "\U0001f600"),
)


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, overwrite, insert, repeat, delete, copy or truncate some bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((1, 1, 2, 4, 8, 64)))
        match rng.randrange(8):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) & ((1 << 8 * width) - 1)
                out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
            case 3:
                out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))
            case 4:
                out[at:at] = out[at:end] * rng.choice((1, 2, 50))
            case 5:
                del out[at:end]
            case 6:
                to = rng.randrange(len(out) + 1)
                out[to : to + end - at] = out[at:end]
            case 7 if rng.random() < 0.3:
                del out[at:]
    return bytes(out)


def mutate_text(rng: random.Random, text: str) -> str:
    """Mutate tokens of a prototxt, or move, repeat and delete whole layers."""
    if rng.random() < 0.3:
        layers = [f"layer {part}" for part in _LAYER.split(text)[1:]]
        for _ in range(rng.choice((1, 1, 2))):
            at, to = rng.randrange(len(layers)), rng.randrange(len(layers))
            match rng.randrange(4):
                case 0:
                    layers.insert(to, layers[at])
                case 1 if len(layers) > 1:
                    del layers[at]
                case 2:
                    layers[at], layers[to] = layers[to], layers[at]
                case 3:
                    layers[at] = _mutate_tokens(rng, layers[at])
        text = "".join(layers)
        if rng.random() < 0.5:
            return text
    return _mutate_tokens(rng, text) if rng.random() < 0.4 else _mutate_values(rng, text)


def _mutate_values(rng: random.Random, text: str) -> str:
    """Change numbers, swap names, add fields; the result is still protobuf text."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.randrange(4)
        pattern = (r"\b\d+(?:\.\d+)?", r'"\w+"', r"\{", r"\w+: [\w.\"]+")[kind]
        found = list(re.finditer(pattern, text))
        if not found:
            continue
        one, other = rng.choice(found), rng.choice(found)
        if kind == 0:
            near = str(int(float(one[0])) + rng.choice((-2, -1, 1, 2)))
            new = rng.choice((near, near, near, str(rng.choice(NUMBERS)), "1.5", "nan", "inf"))
        else:
            new = (other[0], "{ " + rng.choice(_FIELDS), rng.choice(("", other[0])))[kind - 1]
        text = text[: one.start()] + new + text[one.end() :]
    return text


def _mutate_tokens(rng: random.Random, text: str) -> str:
    tokens = _TOKEN.findall(text)
    solid = [at for at, token in enumerate(tokens) if not token.isspace()]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not solid:
            break
        at, other = rng.choice(solid), rng.choice(solid)
        number = re.fullmatch(r"-?\d+(\.\d*)?", tokens[at])
        match rng.randrange(6):
            case 0 | 1 if number:
                near = str(int(float(tokens[at])) + rng.choice((-2, -1, 1, 2))) if number else ""
                tokens[at] = rng.choice((near, near, str(rng.choice(NUMBERS)), rng.choice(_VALUES)))
            case 0:
                tokens[at] = tokens[other]
            case 1:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 2:
                tokens[at] = ""
            case 3:
                tokens[at] += " " + tokens[at]
            case 4:
                tokens[at] = rng.choice(_VALUES)
            case 5:
                span = tokens[min(at, other) : min(at, other) + rng.choice((2, 5, 20))]
                tokens[at] += " " + " ".join(span)
    return "".join(tokens)
