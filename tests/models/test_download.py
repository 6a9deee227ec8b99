"""Downloads from a faulty server: behaviours x offsets of the fault x partial files."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import urllib3

from colorcv.errors import DownloadError
from colorcv.models import cache, download
from colorcv.models.registry import MODELS
from colorcv.models.transfer import http, mirrors
from tests.helpers.faulty_server import BEHAVIOURS, HTML, FaultyServer
from tests.helpers.model_files import (
    CONTENTS,
    NAME,
    WEIGHTS,
    check_folder,
    part_path,
    parts,
    register,
    write_small_files,
)

CONTENT = CONTENTS[WEIGHTS]
SIZE = len(CONTENT)
FIRST_BYTE, ALL_BUT_ONE = "1e-9", "1"
OFFSETS = ("0", FIRST_BYTE, "0.5", ALL_BUT_ONE)
WITH_OFFSETS = {
    "cut", "reset", "stall", "drip", "no-length-cut", "chunked-cut", "other-bytes-cut",
}  # fmt: skip
CASES = [
    case
    for name in BEHAVIOURS
    for case in ([f"{name}@{offset}" for offset in OFFSETS] if name in WITH_OFFSETS else [name])
]
SLOW = {"stall", "drip", "drip-headers", "hang"}
PARTIALS = {
    "none": b"",
    "half": CONTENT[:120_000],
    "other-bytes": bytes(120_000),
    "complete": CONTENT,
    "complete-other-bytes": bytes(SIZE),
    "too-long": CONTENT + b"!",
}
MATRIX = [
    (case, partial)
    for case in CASES
    for partial in ("none", "half", "other-bytes")
    if case.partition("@")[0] not in SLOW or partial == "half"
]
# The reason in the error if this is the only URL; None: the download succeeds.
REASONS: dict[str, str | None] = {
    "correct": None,
    "ignores-range": None,
    "no-length": None,
    "chunked": None,
    "names-a-file-outside": None,
    "redirect": None,
    "redirect-absolute": None,
    "range-of-later": None,
    "range-of-other-size": None,
    "range-garbled": None,
    "range-unknown-size": None,
    "range-unnamed": None,
    "range-mislabelled": None,
    "no-length-cut": r"the server closed the connection after",
    "chunked-cut": r"the server closed the connection",
    "chunked-short": r"got only 150,000 of 300,000 bytes",
    "cut": r"the server closed the connection",
    "reset": r"[Cc]onnection (reset|after)|closed (the )?connection|aborted",
    "stall": r"no data for 0\.3 s",
    "drip": r"too slow: [\d,]+ bytes in|no data for 0\.3 s",
    "drip-headers": r"no response for 0\.3 s",
    "hang": r"no response for 0\.3 s",
    "close": r"the server closed the connection without a response|reset",
    "garbage": r"the response is not HTTP",
    "range-halves": r"the server closed the connection after",
    "range-unasked": r"requested bytes \d+-, got Content-Range 'bytes 10-299999/300000'",
    "204": r"204 No Content",
    "300": r"300 Multiple Choices",
    "403": r"403 Forbidden",
    "404": r"404 Not Found",
    "407": r"407 Proxy Authentication Required",
    "410": r"410 Gone",
    "416": r"416 (Requested )?Range Not Satisfiable",
    "429": r"429 Too Many Requests",
    "429-wait-7": r"429 Too Many",
    "429-wait-date": r"429 Too Many",
    "429-wait-past": r"429 Too Many",
    "429-wait-forever": r"429 Too Many",
    "429-wait-nonsense": r"429 Too Many",
    "500": r"500 Internal Server Error",
    "503": r"503 Service Unavailable",
    "503-wait-3": r"503 Service Unavailable",
    "html": rf"got an HTML page of {len(HTML)} bytes, expected 300,000 bytes",
    "html-no-length": r"got an HTML page, expected the model file|wrong content",
    "lfs": r"got a Git LFS pointer of \d+ bytes, expected 300,000 bytes",
    "lfs-no-length": r"got a Git LFS pointer, expected the model file",
    "empty": r"got an empty file of 0 bytes",
    "short": r"got other content of 9 bytes, expected 300,000 bytes",
    "redirect-loop": r"more than \d+ redirects",
    "redirect-file": r"unsupported URL file:///etc/hostname: only http and https are allowed",
    "redirect-ftp": r"unsupported URL ftp://127.0.0.1/x: only http and https are allowed",
    "redirect-odd": r"Invalid IPv6|invalid|Failed to parse",
    "redirect-nowhere": r"Connection refused",
    "gzip": r"unexpected Content-Encoding: gzip",
    "gzip-right-length": r"unexpected Content-Encoding: gzip",
    "too-long": r"got other content of 300001 bytes, expected 300,000 bytes",
    "endless": r"got more than the expected 300,000 bytes",
    "other-bytes": r"wrong content: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}",
    "other-bytes-cut": r"the server closed the connection|wrong content",
}
# These are not retried.
FINAL = {
    "chunked-short", "204", "300", "403", "404", "407", "410", "html", "html-no-length",
    "lfs", "lfs-no-length", "empty", "short", "redirect-loop", "redirect-file", "redirect-ftp",
    "redirect-odd", "gzip", "gzip-right-length", "too-long", "endless",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Cache folder with all files but the weights."""
    monkeypatch.setenv("COLORCV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLORCV_OFFLINE", "0")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    write_small_files(tmp_path / "home" / NAME)
    yield tmp_path / "home" / NAME
    MODELS.pop(NAME, None)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits between attempts, in seconds, instead of sleeping."""
    seconds: list[float] = []
    monkeypatch.setattr(mirrors, "_sleep", seconds.append)
    return seconds


def shorten_timeouts(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Shorten timeouts for slow behaviours only, so that others pass on a busy machine."""
    if case.partition("@")[0] in SLOW:
        monkeypatch.setattr(http, "STALL_TIMEOUT_S", 0.3)
        monkeypatch.setattr(http, "NOTICE_AFTER_S", 0.1)
        monkeypatch.setattr(http, "_POLL_INTERVAL_S", 0.05)


def test_every_behaviour_has_an_expected_result() -> None:
    assert set(REASONS) == set(BEHAVIOURS)


@pytest.mark.parametrize(("case", "partial"), MATRIX)
def test_the_next_url_gives_the_file(
    case: str,
    partial: str,
    folder: Path,
    server: FaultyServer,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten_timeouts(monkeypatch, case)
    register({WEIGHTS: [server.url(case, WEIGHTS), server.url("correct", WEIGHTS)]})
    if PARTIALS[partial]:
        part_path(folder).write_bytes(PARTIALS[partial])
    download(NAME)
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    check_folder(folder)


@pytest.mark.parametrize(("case", "partial"), MATRIX)
def test_the_same_url_gives_the_file_when_retried(
    case: str,
    partial: str,
    folder: Path,
    server: FaultyServer,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten_timeouts(monkeypatch, case)
    register({WEIGHTS: [server.url(f"{case},correct", WEIGHTS)]})
    if PARTIALS[partial]:
        part_path(folder).write_bytes(PARTIALS[partial])
    # With a partial file, the fault may be in that file, so these two are retried without Range.
    final = {"other-bytes", "416"} if partial == "none" else set()
    # Without progress, a URL gets its 30 s without data only once.
    final |= {"hang", "drip-headers"}
    final |= {"stall@0", "stall@1e-9", "drip@0", "drip@1e-9"} & {case}
    if {case, case.partition("@")[0]} & (FINAL | final):
        with pytest.raises(DownloadError):
            download(NAME)
    else:
        download(NAME)
        assert (folder / WEIGHTS).read_bytes() == CONTENT
    check_folder(folder)
    if partial == "half":
        assert server.log[0].start == len(PARTIALS[partial])


@pytest.mark.parametrize(("case", "partial"), [each for each in MATRIX if each[0][-4:] != "1e-9"])
def test_a_single_url(
    case: str,
    partial: str,
    folder: Path,
    server: FaultyServer,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten_timeouts(monkeypatch, case)
    register({WEIGHTS: [server.url(case, WEIGHTS)]})
    if PARTIALS[partial]:
        part_path(folder).write_bytes(PARTIALS[partial])
    # All bytes arrive, slowly or without the final chunk.
    arrives = case in ("drip@1", "chunked-cut@1")
    reason = None if arrives else REASONS[case.partition("@")[0]]
    if reason is None:
        download(NAME)
        assert (folder / WEIGHTS).read_bytes() == CONTENT
    else:
        with pytest.raises(DownloadError, match=reason) as caught:
            download(NAME)
        text = str(caught.value)
        assert server.url(case, WEIGHTS) in text
        assert str(folder) in text
        assert 'model="lite"' in text
        assert not (folder / WEIGHTS).exists()
        assert sum(waits) <= 200
        if case in ("other-bytes", "endless", "chunked-short"):
            assert parts(folder) == []  # known to be wrong
        elif partial != "other-bytes" and not case.startswith("other-bytes"):
            assert all(CONTENT.startswith(path.read_bytes()) for path in parts(folder))
    check_folder(folder)
    assert len(server.log) <= 60


@pytest.mark.parametrize("partial", PARTIALS)
def test_a_partial_file_is_resumed_or_discarded(
    partial: str, folder: Path, server: FaultyServer, waits: list[float]
) -> None:
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    part_path(folder).write_bytes(PARTIALS[partial])
    part_path(folder, "2-smaller").write_bytes(CONTENT[:1000])
    download(NAME)
    check_folder(folder)
    starts = [request.start for request in server.log]
    expected = {
        "none": [1000],
        "half": [120_000],
        "other-bytes": [120_000, 0],
        "complete": [],
        "complete-other-bytes": [0],
        "too-long": [0],
    }
    assert starts == expected[partial]


def test_smaller_partial_files_are_removed_when_the_download_fails(
    folder: Path, server: FaultyServer
) -> None:
    register({WEIGHTS: [server.url("404", WEIGHTS)]})
    part_path(folder, "1-a").write_bytes(CONTENT[:1000])
    part_path(folder, "2-b").write_bytes(CONTENT[:2000])
    with pytest.raises(
        DownloadError, match="2,000 bytes are kept; the next download resumes there"
    ):
        download(NAME)
    (left,) = parts(folder)
    assert left.read_bytes() == CONTENT[:2000]


def test_the_partial_file_of_another_version_is_not_resumed(
    folder: Path, server: FaultyServer
) -> None:
    """A file of the same name with another hash."""
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    theirs = folder / f"{WEIGHTS}.0123456789ab.77-aa.part"
    theirs.write_bytes(b"theirs")
    download(NAME)
    assert [request.start for request in server.log] == [0]
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize("case", ["cut@0.5", "reset@0.5", "stall@0.5", "drip@0.5"])
def test_no_byte_is_downloaded_twice_after_an_interruption(
    case: str,
    folder: Path,
    server: FaultyServer,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten_timeouts(monkeypatch, case)
    register({WEIGHTS: [server.url(f"{case},correct", WEIGHTS)]})
    download(NAME)
    first, second = server.log
    assert first.start == 0
    assert second.start >= SIZE // 2 - (1 << 16 if "reset" in case else 0)
    assert second.start + second.sent == SIZE


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("503", [1, 2]),
        ("429-wait-7", [7, 7]),
        ("429-wait-past", [1, 2]),
        ("429-wait-nonsense", [1, 2]),
        ("429-wait-forever", [60, 60]),
        ("429-wait-date", [19, 19]),
        ("404", []),
        ("html", []),
    ],
)
def test_back_off_and_retry_after(
    case: str, expected: list[float], folder: Path, server: FaultyServer, waits: list[float]
) -> None:
    register({WEIGHTS: [server.url(case, WEIGHTS)]})
    with pytest.raises(DownloadError):
        download(NAME)
    assert waits == pytest.approx(expected, abs=1.6 if "date" in case else 0.2)


def test_other_urls_are_tried_before_waiting(
    folder: Path, server: FaultyServer, waits: list[float]
) -> None:
    cases = ["503", "429-wait-7", "503-wait-3,correct"]
    register({WEIGHTS: [server.url(case, WEIGHTS) for case in cases]})
    download(NAME)
    asked = [request.path.split("/")[1] for request in server.log]
    # The first URL is retried after 1 s, then 2 s; the third may be retried after 3 s.
    assert asked[:3] == cases
    assert asked[-1] == cases[2]
    assert len(waits) == len(asked) - 3


def test_back_off_has_a_maximum(monkeypatch: pytest.MonkeyPatch, folder: Path, waits: list[float],
                            server: FaultyServer) -> None:  # fmt: skip
    monkeypatch.setattr(mirrors, "MAX_TRIES", 9)
    register({WEIGHTS: [server.url("500", WEIGHTS)]})
    with pytest.raises(DownloadError):
        download(NAME)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30], abs=0.2)


@pytest.mark.parametrize("between", [[], ["503"]], ids=["progress-only", "with-failures-between"])
def test_retries_go_on_while_there_is_progress(
    between: list[str], folder: Path, server: FaultyServer, waits: list[float]
) -> None:
    cases = [*(["cut@0.1", *between] * 10), "correct"]
    register({WEIGHTS: [server.url(",".join(cases), WEIGHTS)]})
    download(NAME)
    assert waits == pytest.approx([1.0] * 10 * len(between), abs=0.2)
    starts = [request.start for request in server.log]
    assert len(starts) == len(cases)
    assert starts == sorted(starts)
    assert len(set(starts)) == 11


def test_request_headers(folder: Path, server: FaultyServer) -> None:
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    download(NAME)
    headers = server.log[0].headers
    assert headers["Accept-Encoding"] == "identity"
    assert re.fullmatch(r"colorcv/[\d.]+", headers["User-Agent"])
    assert "Range" not in headers


def test_a_downloaded_file_is_not_hashed_again(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    download(NAME)

    def refuse(path: Path, **_: object) -> str:
        raise AssertionError(f"{path} is hashed again")

    monkeypatch.setattr(cache, "sha256_of", refuse)
    download(NAME)


def test_a_mirror_comes_first_and_its_password_is_not_shown(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    register({WEIGHTS: [server.url("404", WEIGHTS)]})
    base = server.base.replace("http://", "http://me:secret@")
    monkeypatch.setenv("COLORCV_MIRROR", f"{base}/403/")
    with pytest.raises(DownloadError) as caught:
        download(NAME)
    assert [request.path for request in server.log] == [f"/403/{WEIGHTS}", f"/404/{WEIGHTS}"]
    assert server.log[0].headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in server.log[1].headers
    assert f"{server.base}/403/{WEIGHTS}: 403 Forbidden" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_nothing_outside_the_folder_is_written(
    folder: Path, server: FaultyServer, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    part_path(folder).symlink_to(outside)
    register({WEIGHTS: [server.url("names-a-file-outside", WEIGHTS)]})
    download(NAME)
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert outside.read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"home", "outside"}


def test_an_unreachable_proxy_is_named(
    folder: Path, server: FaultyServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    register({WEIGHTS: ["http://models.invalid/" + WEIGHTS]})
    with pytest.raises(DownloadError, match=r"proxy error: Connection refused"):
        download(NAME)


def test_a_tls_error_is_not_retried(folder: Path, server: FaultyServer, waits: list[float]) -> None:
    url = server.url("correct", WEIGHTS).replace("http:", "https:")
    register({WEIGHTS: [url]})
    with pytest.raises(DownloadError, match=rf"{url}: TLS error: "):
        download(NAME)
    assert waits == []


def test_urllib3_without_read1(
    folder: Path, server: FaultyServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in urllib3 1.26."""
    for kind in urllib3.HTTPResponse.__mro__:
        if "read1" in vars(kind):
            monkeypatch.delattr(kind, "read1")
    shorten_timeouts(monkeypatch, "stall")
    register({WEIGHTS: [server.url("stall@0.5,cut@0.5,correct", WEIGHTS)]})
    download(NAME)
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert [request.start > 0 for request in server.log] == [False, True, True]


def test_the_error_lists_every_url_with_its_reason(
    folder: Path, server: FaultyServer, waits: list[float]
) -> None:
    cases = ["404", "html", "lfs", "503", "redirect-file", "cut@0.5"]
    register({WEIGHTS: [server.url(case, WEIGHTS) for case in cases] + ["ftp://127.0.0.1/x"]})
    with pytest.raises(DownloadError) as caught:
        download(NAME)
    for case in cases:
        reason = REASONS[case.partition("@")[0]]
        url = re.escape(server.url(case, WEIGHTS))
        assert re.search(rf"\n  {url}: .*{reason}", str(caught.value))
    assert "unsupported URL ftp://127.0.0.1/x: only http and https are allowed" in str(caught.value)
    (left,) = parts(folder)
    assert CONTENT.startswith(left.read_bytes())
    assert f"{left.stat().st_size / 1e6:.1f} MB are kept; the next download resumes there" in str(
        caught.value
    )


def test_progress_reports_received_and_total_bytes(folder: Path, server: FaultyServer) -> None:
    calls: list[tuple[int, int, str]] = []
    part_path(folder).write_bytes(CONTENT[:120_000])
    register({WEIGHTS: [server.url("cut@0.3,correct", WEIGHTS)]})
    download(NAME, progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done[0] == 120_000
    assert done == sorted(done)
    assert done[-1] == SIZE
    assert {call[1:] for call in calls} == {(SIZE, WEIGHTS)}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError, ValueError])
def test_an_exception_from_progress_is_raised_and_the_partial_file_kept(
    error: type[BaseException], folder: Path, server: FaultyServer
) -> None:
    def progress(done: int, total: int, name: str) -> None:
        if done > 100_000:
            raise error("enough")

    server.pace.seconds = 0.002
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    with pytest.raises(error, match=r"^enough$"):
        download(NAME, progress=progress)
    (left,) = parts(folder)
    partial = left.stat().st_size
    assert partial > 100_000
    server.log.clear()
    download(NAME)
    assert [request.start for request in server.log] == [partial]
    check_folder(folder)


@pytest.mark.parametrize(("case", "awaited"), [("hang", "response"), ("stall@0.5", "data")])
def test_a_silent_url_is_logged_while_it_is_waited_for(
    case: str,
    awaited: str,
    folder: Path,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shorten_timeouts(monkeypatch, case)
    silent, good = server.url(case, WEIGHTS), server.url("correct", WEIGHTS)
    register({WEIGHTS: [silent, good]})
    with caplog.at_level(logging.INFO, logger="colorcv"):
        download(NAME)
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert re.fullmatch(
        rf"no {awaited} from {re.escape(silent)} for 0\.\d+ s; waiting up to 0\.3 s", warnings[0]
    )
    assert warnings[1].startswith(f"{silent}: no {awaited} for 0.3 s")
    assert [each for each in caplog.messages if each.startswith("downloading http")] == [
        f"downloading {silent} from byte 0",
        f"downloading {good} from byte {SIZE // 2 if case == 'stall@0.5' else 0}",
    ]


def test_time_without_data_is_bounded_per_url(
    folder: Path, server: FaultyServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts of 0.2 s each use up the 0.3 s of a URL; the third does not happen."""
    asked: list[str] = []

    def time_out(session: requests.Session, url: str, **_: object) -> requests.Response:
        asked.append(url)
        time.sleep(0.2)
        raise requests.exceptions.ConnectTimeout("no route")

    monkeypatch.setattr(requests.Session, "get", time_out)
    monkeypatch.setattr(http, "STALL_TIMEOUT_S", 0.3)
    first, second = (server.url(case, WEIGHTS) for case in ("a", "b"))
    register({WEIGHTS: [first, second]})
    with pytest.raises(DownloadError, match=r"a/small.caffemodel: .* \(2 attempts\)"):
        download(NAME)
    assert asked == [first, second, first, second]


def test_each_failure_and_each_wait_is_logged(
    folder: Path, server: FaultyServer, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    urls = [server.url(case, WEIGHTS) for case in ("404", "429-wait-7,correct")]
    register({WEIGHTS: urls})
    download(NAME)
    assert caplog.messages == [
        f"{urls[0]}: 404 Not Found",
        f"{urls[1]}: 429 Too Many Requests",
        f"retrying {urls[1]} in 7 s",
    ]


def test_an_untrusted_certificate_is_explained(
    folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that replaces certificates with its own."""

    def refuse(*_: object, **__: object) -> requests.Response:
        raise requests.exceptions.SSLError(
            "certificate verify failed: self-signed certificate in certificate chain"
        )

    monkeypatch.setattr(requests.Session, "get", refuse)
    register({WEIGHTS: [server.url("correct", WEIGHTS)]})
    with pytest.raises(DownloadError, match=r"TLS error: certificate .*set REQUESTS_CA_BUNDLE"):
        download(NAME)


def test_nothing_is_reported_for_cached_and_bundled_files(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(CONTENT)
    register({})
    calls: list[object] = []
    for model in (NAME, "lite"):
        download(model, progress=lambda *call: calls.append(call))
    assert calls == []
