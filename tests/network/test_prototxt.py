"""Tests of the prototxt parser."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colorcv.errors import ModelFormatError
from colorcv.network.caffe import prototxt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1", [1], id="integer"),
        pytest.param("a: -12", [-12], id="negative"),
        pytest.param("a: 0x1F a: 017", [31, 15], id="hex-octal"),
        pytest.param("a: 1.5 a: .5 a: 2. a: 1e-3 a: 3f", [1.5, 0.5, 2.0, 1e-3, 3.0], id="floats"),
        pytest.param("a: inf a: -inf", [float("inf"), -float("inf")], id="infinite"),
        pytest.param('a: "x" a: \'y"\'', ["x", 'y"'], id="both-quotes"),
        pytest.param(r'a: "\n\x41\101\"\q"', ['\nAA"q'], id="escapes"),
        pytest.param("a: 'one' \"two\"", ["onetwo"], id="joined"),
        pytest.param("a: SUM a: true", ["SUM", "true"], id="words"),
        pytest.param("a: [1, 2, 3]", [1, 2, 3], id="list"),
        pytest.param("a: []", [], id="empty-list"),
        pytest.param("a: 1, a: 2; a: 3", [1, 2, 3], id="separators"),
        pytest.param("# b: 5\na: 1 # a: 2\n#", [1], id="comments"),
        pytest.param("a:1a:2", None, id="no-space-between"),
    ],
)
def test_scalars(text: str, expected: list[object] | None) -> None:
    if expected is None:
        expected = [1, 2]
    assert prototxt.parse(text, "t").fields["a"] == expected


@pytest.mark.parametrize(
    "text",
    ["m { b: 1 }", "m: { b: 1 }", "m < b: 1 >", "m: [{ b: 1 }]", "m{b:1}", "m\n{\nb\n:\n1\n}\n;"],
)
def test_messages(text: str) -> None:
    assert prototxt.parse(text, "t").message("m").integer("b") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m { b: 1", "end of file, expected '}'"),
        ("m { b: 1 >", "name of a field"),
        ("}", "name of a field"),
        ("a", "unexpected end of file"),
        ("a 1", "':' or '{'"),
        ("a: ", "end of file, expected a value of a"),
        ("a: }", "a value of a"),
        ("a: [1", "unexpected end of file"),
        ("a: [1 2]", "',' or ']'"),
        ('a: "open', "not protobuf text"),
        ("a: \x00", "not protobuf text"),
        ("a: 1\nb: @", "line 2"),
        ("a: 089", "a valid number"),
        ("a: " + "9" * 5000, "a valid number"),
        ("m {" * 40 + "}" * 40, "32 deep"),
        ("[a.b]: 1", "name of a field"),
    ],
)
def test_wrong_text_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ModelFormatError, match=r"t: ") as caught:
        prototxt.parse(text, "t")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "access", "message"),
    [
        ("a: 'x'", lambda m: m.integer("a"), "a must be an integer, got 'x'"),
        ("a: 1.5", lambda m: m.integer("a"), "a must be an integer, got 1.5"),
        ("a { }", lambda m: m.number("a"), "a must be a number, got {...}"),
        ("a: 1", lambda m: m.string("a"), "a must be a string, got 1"),
        ("a: 1", lambda m: m.messages("a"), "a must be a message in braces, got 1"),
        ("a: 1 a: 2", lambda m: m.integer("a"), "a must be given once, got 2 values"),
        ("b: 1", lambda m: m.string("a"), "a is missing"),
        ("b: 1", lambda m: m.integer("a"), "a is missing"),
        ("a: perhaps", lambda m: m.flag("a", True), "true or false"),
        ("a: 1 c: 2", lambda m: m.allow_fields("a", "b"), "field 'c' is not supported"),
    ],
)
def test_access_to_missing_or_wrong_fields(text, access, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelFormatError, match=r"^t: ") as caught:
        access(prototxt.parse(text, "t"))
    assert message in str(caught.value)


def test_reads_the_zhang2016_prototxt(data: Path) -> None:
    layers = prototxt.read(data / "colorization_deploy_v2.prototxt").messages("layer")
    assert len(layers) == 57
    kinds = [layer.string("type") for layer in layers]
    assert kinds.count("Convolution") == 23
    assert layers[1].message("convolution_param").integer("num_output") == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"", "empty"),
        (b"\xff\xfe\x00", "not a prototxt"),
        (b" " * (prototxt.MAX_BYTES + 1), "the limit is"),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.prototxt"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=message) as caught:
        prototxt.read(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="cannot open the prototxt: No such file"):
        prototxt.read(tmp_path / "absent")
    with pytest.raises(ModelFormatError, match=r"not a regular file|cannot open"):
        prototxt.read(tmp_path)


@given(st.text(alphabet="ab1.-:{}<>[]\"'#,; \n\\x0f", max_size=60))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    with contextlib.suppress(ModelFormatError):
        prototxt.parse(text, "t")
