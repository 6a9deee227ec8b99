"""Tests of finding and verifying model files, without a server."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from colorcv.errors import ChecksumError, DownloadError, ModelFormatError, OptionError
from colorcv.models import ModelFiles, cache, download, hashes, models, resolve, verify
from colorcv.models.registry import MODELS
from tests.helpers.faulty_server import HTML, LFS
from tests.helpers.model_files import (
    CONTENTS,
    NAME,
    WEIGHTS,
    part_path,
    register,
    write_small_files,
)

CONTENT = CONTENTS[WEIGHTS]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of a registered model, with all its files put there by hand."""
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path))
    register({})
    write_small_files(tmp_path / NAME)
    (tmp_path / NAME / WEIGHTS).write_bytes(CONTENT)
    yield tmp_path / NAME
    MODELS.pop(NAME, None)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed."""
    names: list[str] = []
    real = cache.sha256_of

    def counted(path: Path, *, stamp: bool) -> str:
        names.append(path.name)
        return real(path, stamp=stamp)

    monkeypatch.setattr(cache, "sha256_of", counted)
    return names


def state_of(name: str) -> str:
    return next(info.state for info in models() if info.name == name)


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
    )
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("requests", "urllib3", "platformdirs", "cv2", "numpy", "http.client", "socket")
    code = f"import sys, colorcv.models; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_cached_files_need_neither_requests_nor_opencv(folder: Path) -> None:
    code = (
        "import sys, colorcv.models as m\n"
        "m.resolve('lite'); m.models(); m.verify('lite')\n"
        "print([m for m in ('requests', 'platformdirs', 'cv2') if m in sys.modules])"
    )
    assert run_python(code, COLORCV_HOME=str(folder.parent)) == "[]"


@pytest.mark.parametrize(
    "first", ["import colorcv.models", "from colorcv.models import resolve", "import colorcv"]
)
def test_models_is_callable_whatever_was_imported_before(first: str) -> None:
    """The function colorcv.models and the package of the same name do not exclude each other."""
    code = f"{first}\nimport colorcv\nprint([info.name for info in colorcv.models()])"
    assert run_python(code) == "['zhang2016', 'lite']"


def test_the_bundled_model_is_complete() -> None:
    files = resolve("lite")
    assert download("lite") == files.caffemodel.parent
    assert all(info.state == "ready" for info in verify("lite"))
    for role in ("prototxt", "caffemodel", "centers"):
        digest = hashlib.sha256(getattr(files, role).read_bytes()).hexdigest()
        assert digest == getattr(MODELS["lite"], role).sha256
    assert state_of("lite") == "bundled"
    # Nothing is written into the package.
    assert not list(files.caffemodel.parent.glob("*" + hashes.STAMP_SUFFIX))


def test_a_damaged_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lite"
    shutil.copytree(resolve("lite").caffemodel.parent, folder)
    monkeypatch.setattr(cache, "model_folder", lambda model: folder)
    name = MODELS["lite"].caffemodel.name
    (folder / name).write_bytes(b"short")
    assert state_of("lite") == "wrong"
    with pytest.raises(ChecksumError, match=re.escape(name) + ".*; reinstall colorcv$"):
        resolve("lite")
    (folder / name).unlink()
    assert state_of("lite") == "wrong"
    with pytest.raises(DownloadError, match="reinstall colorcv"):
        resolve("lite")


@pytest.mark.parametrize("model", ["zhang2017", "", "LITE", "../lite", None, 3, Path("lite")])
@pytest.mark.parametrize("function", [resolve, verify, download])
def test_an_unknown_model_is_an_error_with_the_known_names(function: object, model: object) -> None:
    with pytest.raises(OptionError, match=r"'zhang2016' or 'lite'|with a name"):
        function(model)  # type: ignore[operator]


def test_files_put_by_hand_are_verified_once(folder: Path, hashed: list[str]) -> None:
    assert download(NAME) == folder
    assert sorted(hashed) == sorted(CONTENTS)
    files = resolve(NAME)
    assert files.caffemodel == folder / WEIGHTS
    assert files.prototxt == folder / "small.prototxt"
    assert files.centers == folder / "centers.npy"
    assert len(hashed) == 3


def test_a_changed_file_is_hashed_again(folder: Path, hashed: list[str]) -> None:
    resolve(NAME)
    hashed.clear()
    status = (folder / WEIGHTS).stat()
    os.utime(folder / WEIGHTS, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    resolve(NAME)
    assert hashed == [WEIGHTS]


STAMP_NAME = WEIGHTS + hashes.STAMP_SUFFIX


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe nonsense",
        b"1 2 3",
        b"x" * 100_000,
        b'{"version": 9, "from": "another version of the library"}',
        None,
        "another hash",
    ],
    ids=["empty", "zeros", "not-text", "short", "huge", "other-format", "folder", "other-hash"],
)
def test_a_damaged_stamp_file_is_ignored(
    damage: bytes | str | None, folder: Path, hashed: list[str]
) -> None:
    resolve(NAME)
    hashed.clear()
    stamp = folder / STAMP_NAME
    if damage is None:
        stamp.unlink()
        stamp.mkdir()
    elif isinstance(damage, str):
        stamp.write_text(re.sub(r" [0-9a-f]{64}", " " + "0" * 64, stamp.read_text()))
    else:
        stamp.write_bytes(damage)
    resolve(NAME)
    assert hashed == [WEIGHTS]
    resolve(NAME)
    assert hashed == [WEIGHTS] * (2 if damage is None else 1)


WRONG = {
    "page": (HTML, "an HTML page"),
    "page-with-mark": (b"\xef\xbb\xbf\r\n <html>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error/>", "an XML page"),
    "pointer": (LFS, "a Git LFS pointer"),
    "empty": (b"", "an empty file"),
    "half": (CONTENT[:150_000], "another file"),
    "other": (bytes(len(CONTENT)), "another file"),
    "longer": (CONTENT + b"\n", "another file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_an_error_with_both_hashes_and_stays(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, what = WRONG[case]
    path = folder / WEIGHTS
    path.write_bytes(wrong)
    before = path.stat()
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    for _ in range(2):  # the second time with the stamp of the first
        with pytest.raises(ChecksumError) as caught:
            download(NAME)
        text = str(caught.value)
        assert str(path) in text
        assert what in text
        assert hashlib.sha256(wrong).hexdigest() in text
        assert MODELS[NAME].caffemodel.sha256 in text
    assert path.read_bytes() == wrong
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert state_of(NAME) == "wrong"
    problems = {info.name: info.problem for info in verify(NAME)}
    assert what in problems.pop(WEIGHTS)
    assert not any(problems.values())


def test_verify_ignores_the_stamp(folder: Path) -> None:
    resolve(NAME)
    status = (folder / WEIGHTS).stat()
    (folder / WEIGHTS).write_bytes(bytes(len(CONTENT)))  # a bit flipped on the disk, say
    os.utime(folder / WEIGHTS, ns=(status.st_atime_ns, status.st_mtime_ns))
    resolve(NAME)
    assert [info.state for info in verify(NAME)] == ["ready", "ready", "wrong"]
    with pytest.raises(ChecksumError):
        resolve(NAME)


def test_verify_reports_problems_without_raising(folder: Path) -> None:
    (folder / "small.prototxt").unlink()
    (folder / "centers.npy").unlink()
    (folder / "centers.npy").mkdir()
    (folder / WEIGHTS).unlink()
    part_path(folder).write_bytes(CONTENT[:10])
    states = {info.name: (info.state, info.problem) for info in verify(NAME)}
    assert states == {
        "small.prototxt": ("absent", ""),
        "centers.npy": ("wrong", "not a regular file"),
        WEIGHTS: ("partial", ""),
    }
    with pytest.raises(ChecksumError, match="not a regular file"):
        resolve(NAME)


def test_an_unreadable_file_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, because root may read everything."""

    def refuse(path: Path, *_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert {info.problem for info in verify(NAME)} == {"cannot be read: Permission denied"}
    with pytest.raises(DownloadError, match="cannot be read: Permission denied") as caught:
        resolve(NAME)
    assert not isinstance(caught.value, ChecksumError)


def test_states(folder: Path, hashed: list[str]) -> None:
    assert state_of(NAME) == "ready"
    (folder / WEIGHTS).rename(folder / "elsewhere")
    assert state_of(NAME) == "partial"
    part_path(folder).write_bytes(b"x")
    for name in CONTENTS:
        (folder / name).unlink(missing_ok=True)
    assert state_of(NAME) == "partial"
    part_path(folder).unlink()
    assert state_of(NAME) == "absent"
    shutil.rmtree(folder)
    assert state_of(NAME) == "absent"
    assert not folder.exists()
    info = next(info for info in models() if info.name == NAME)
    assert [(file.name, file.size) for file in info.files] == [
        (name, len(text)) for name, text in CONTENTS.items()
    ]
    assert info.folder == folder
    assert hashed == []


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_offline_opens_no_socket(value: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("COLORCV_OFFLINE", value)
    resolve(NAME)
    (folder / WEIGHTS).unlink()
    with pytest.raises(DownloadError) as caught:
        resolve(NAME)
    for part in ("COLORCV_OFFLINE", str(folder), 'model="lite"', WEIGHTS):
        assert part in str(caught.value)
    assert "small.prototxt" not in str(caught.value)


def test_a_file_put_into_the_parent_folder_is_mentioned(folder: Path) -> None:
    """COLORCV_HOME itself, instead of the model's folder in it."""
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    with pytest.raises(DownloadError) as caught:
        resolve(NAME)
    expected = f"  {WEIGHTS} (0.3 MB) is in {folder.parent}: move it into the folder {NAME}\n"
    assert expected in str(caught.value)


def test_offline_creates_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path / "new"))
    with pytest.raises(DownloadError):
        download()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", ["2", "perhaps", "offline"])
def test_an_invalid_offline_value_is_an_error(
    value: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORCV_OFFLINE", value)
    (folder / WEIGHTS).unlink()
    with pytest.raises(OptionError, match=f"COLORCV_OFFLINE must be 1, .*; got '{value}'"):
        resolve(NAME)


@pytest.mark.parametrize(
    "value",
    ["ftp://host/x", "file:///models", "models", "http://", "https://h/?a=b", "http://[::1"],
)
def test_an_invalid_mirror_is_an_error(
    value: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORCV_OFFLINE", "")
    monkeypatch.setenv("COLORCV_MIRROR", value)
    (folder / WEIGHTS).unlink()
    with pytest.raises(
        OptionError, match="COLORCV_MIRROR must be .* got " + re.escape(repr(value))
    ):
        resolve(NAME)


@pytest.mark.parametrize("version", ["4.9.0", "3.4.18", "4.5.5-dev"])
def test_an_old_opencv_is_an_error_before_the_first_byte(
    version: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__=version))
    (folder / WEIGHTS).unlink()
    with pytest.raises(DownloadError, match=rf"OpenCV 4\.10 or newer, got {version}"):
        resolve(NAME)


def test_no_opencv_is_an_error_before_the_first_byte(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setitem(sys.modules, "cv2", None)
    (folder / WEIGHTS).unlink()
    with pytest.raises(DownloadError, match=r"OpenCV 4\.10 or newer, and `import cv2` fails"):
        resolve(NAME)


@pytest.mark.parametrize("version", ["4.10.0", "4.14.0", "5.0.0", "5.1.0-dev", "10.0", "custom"])
def test_a_new_opencv_is_accepted(
    version: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__=version))
    (folder / WEIGHTS).unlink()
    with pytest.raises(DownloadError, match="could not be downloaded"):  # it has no URLs
        resolve(NAME)


def test_the_platforms_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("COLORCV_HOME")
        else:
            monkeypatch.setenv("COLORCV_HOME", unset)
        expected = Path(platformdirs.user_cache_dir("colorcv", appauthor=False)) / "zhang2016"
        assert models()[0].folder == expected


def test_home_may_be_relative_or_begin_with_a_tilde(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLORCV_HOME", "models")
    assert models()[0].folder == tmp_path / "models" / "zhang2016"
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    monkeypatch.setenv("COLORCV_HOME", "~/models")
    assert models()[0].folder == tmp_path / "me" / "models" / "zhang2016"


def test_a_symlink_to_the_file_is_accepted(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    assert resolve(NAME).caffemodel == folder / WEIGHTS


def test_files_of_other_versions_are_left_alone(folder: Path) -> None:
    """A partial file or stamp of another version of the library, in a format of its own."""
    others = [f"{WEIGHTS}.0123456789ab.77-aa.part", "new.caffemodel", "index.json", ".lock2"]
    for name in others:
        (folder / name).write_bytes(b"theirs")
    (folder / STAMP_NAME).write_bytes(b"v2 sha512 1234")
    resolve(NAME)
    resolve(NAME)
    assert [(folder / name).read_bytes() for name in others] == [b"theirs"] * 4


def test_model_files_hold_paths_and_are_hashable_and_picklable(tmp_path: Path) -> None:
    files = ModelFiles(prototxt=str(tmp_path / "a"), caffemodel=tmp_path / "b", centers="c")
    assert files.prototxt == tmp_path / "a"
    assert files.centers == Path.cwd() / "c"
    assert pickle.loads(pickle.dumps(files)) == files
    assert hash(files) == hash(dataclasses.replace(files))
    assert {files: 1}[files] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        files.prototxt = Path("x")  # type: ignore[misc]
    with pytest.raises(TypeError):
        ModelFiles("a", "b", "c")  # type: ignore[misc]
    for wrong in (None, 3, b"x"):
        with pytest.raises(TypeError):
            ModelFiles(prototxt=wrong, caffemodel="b", centers="c")  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["prototxt", "caffemodel", "centers"])
def test_a_missing_file_of_model_files_is_named(role: str, folder: Path) -> None:
    own = {
        "prototxt": folder / "small.prototxt",
        "caffemodel": folder / WEIGHTS,
        "centers": folder / "centers.npy",
    }
    files = ModelFiles(**own)
    assert resolve(files) is files
    for path, reason in ((folder / "nowhere", "does not exist"), (folder, "is not a file")):
        wrong = ModelFiles(**{**own, role: path})
        with pytest.raises(ModelFormatError, match=reason) as caught:
            resolve(wrong)
        assert role in str(caught.value)
        assert str(path) in str(caught.value)


def test_verification_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="colorcv"):
        resolve(NAME)
    assert {record.name for record in caplog.records} == {"colorcv"}
    assert f"verified {folder / WEIGHTS}" in caplog.messages
