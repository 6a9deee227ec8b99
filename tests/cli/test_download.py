"""`colorcv download` as a user sees it: notes, warnings, errors and exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colorcv.cli import main
from colorcv.models.registry import MODELS
from colorcv.models.transfer import downloader, http, mirrors
from tests.helpers.faulty_server import FaultyServer
from tests.helpers.model_files import CONTENTS, NAME, WEIGHTS, parts, register, write_small_files


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(CONTENTS) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Cache folder with all files but the weights."""
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path))
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(mirrors, "_sleep", lambda seconds: None)
    write_small_files(tmp_path / NAME)
    yield tmp_path / NAME
    MODELS.pop(NAME, None)


def test_a_download_is_noted_in_a_log_file(
    folder: Path, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    assert main(["download", NAME]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert err == f"colorcv: downloading {WEIGHTS} (0.3 MB)\n"
    assert main(["download", NAME]) == 0  # nothing is left to do or to say
    assert capsys.readouterr() == (f"{folder}\n", "")


def test_a_silent_server_is_shown(
    folder: Path,
    server: FaultyServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "STALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http, "NOTICE_AFTER_S", 0.1)
    monkeypatch.setattr(http, "_POLL_INTERVAL_S", 0.05)
    url = server.url("hang", WEIGHTS)
    register({WEIGHTS: [url]})
    assert main(["download", NAME]) == 3
    _, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[1].startswith(f"colorcv: warning: no response from {url} for 0.1")
    assert lines[2] == f"colorcv: warning: {url}: no response for 0.3 s"
    assert f"  {url}: no response for 0.3 s" in lines
    assert f"  {WEIGHTS} (0.3 MB) from {url}" in lines
    # The command speaks of flags, not of Python.
    assert "  - use --model lite: the small model is bundled with the package" in lines
    assert "model=" not in err


def test_offline_gives_no_advice_about_the_network(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORCV_OFFLINE", "1")
    register({WEIGHTS: [f"https://example.org/{WEIGHTS}"]})
    assert main(["download", NAME]) == 3
    assert capsys.readouterr().err.splitlines() == [
        f"colorcv: model {NAME!r} is not available: downloads are disabled by COLORCV_OFFLINE "
        "(unset it to allow them)",
        f"Missing in {folder}:",
        f"  {WEIGHTS} (0.3 MB) from https://example.org/{WEIGHTS}",
        "What you can do:",
        "  - download the missing files by hand into that folder; they are verified there",
        "  - use --model lite: the small model is bundled with the package",
    ]


def test_an_interrupted_download_says_how_to_resume(
    folder: Path,
    server: FaultyServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = downloader.fetch

    def interrupt(*arguments: object, **options: object) -> None:
        progress = options["progress"]

        def stop(done: int, total: int, name: str) -> None:
            progress(done, total, name)  # type: ignore[operator]
            if done > 100_000:
                raise KeyboardInterrupt

        real(*arguments, **{**options, "progress": stop})  # type: ignore[arg-type]

    monkeypatch.setattr(downloader, "fetch", interrupt)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    assert main(["download", NAME]) == 130
    assert "the download is kept; run the command again to resume it\n" in capsys.readouterr().err
    (left,) = parts(folder)
    kept = left.stat().st_size
    assert kept > 100_000
    monkeypatch.setattr(downloader, "fetch", real)
    assert main(["download", NAME]) == 0
    assert [request.start for request in server.log] == [0, kept]


def test_an_unknown_model_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "zhang2017"]) == 2
    err = capsys.readouterr().err
    assert err == "colorcv: unknown model 'zhang2017'; choose 'zhang2016' or 'lite'\n"
