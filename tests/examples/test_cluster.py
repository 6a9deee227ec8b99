"""The cluster examples on a Dask cluster of real processes: nothing is lost, nothing differs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import colorcv

pytest.importorskip("distributed", reason="the cluster is Dask's")
pytest.importorskip("tqdm", reason="the cluster examples draw their bars with tqdm")

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "examples" / "cluster"
PHOTOS = ROOT / "examples" / "photos"
TIMEOUT_S = 240


@contextlib.contextmanager
def started(script: str, *arguments: object, log: Path) -> Iterator[subprocess.Popen]:
    """The example, with two workers of its own, until it has ended."""
    command = [sys.executable, str(CLUSTER / script), *map(str, arguments), "--workers", "2"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=file, stderr=file
        )
        try:
            yield process
            process.wait(TIMEOUT_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def run(script: str, *arguments: object, log: Path, code: int = 0) -> str:
    with started(script, *arguments, log=log) as process:
        pass
    said = log.read_text(encoding="utf-8")
    assert process.returncode == code, said
    return said


def workers_of(process: subprocess.Popen) -> list[Any]:
    import psutil

    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def wait_until(condition: Callable[[], Any], process: subprocess.Popen, log: Path) -> None:
    for _ in range(TIMEOUT_S * 20):
        if condition():
            return
        assert process.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.05)
    pytest.fail(f"timed out: {log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    photo = cv2.imread(str(PHOTOS / "tetons_1942.jpg"))
    return cv2.resize(photo, (240, 192), interpolation=cv2.INTER_AREA)


def colored_here(image: np.ndarray, suffix: str) -> bytes:
    """Return what one machine makes of it."""
    return cv2.imencode(suffix, colorcv.colorize(image, model="lite"))[1].tobytes()


def test_photos_of_a_folder(tmp_path: Path, small: np.ndarray) -> None:
    scans, colored = tmp_path / "scans", tmp_path / "colored"
    (scans / "1942").mkdir(parents=True)
    cv2.imwrite(str(scans / "1942" / "lake.png"), small)
    deep = small.astype(np.uint16) * 257
    cv2.imwrite(str(scans / "deep.tif"), deep)
    (scans / "broken.jpg").write_bytes(b"no image")
    said = run("photos.py", scans, colored, log=tmp_path / "log", code=1)
    assert "broken.jpg: " in said
    found = {p.relative_to(colored).as_posix() for p in colored.rglob("*") if p.is_file()}
    assert found == {"1942/lake.png", "deep.tif"}
    assert (colored / "1942" / "lake.png").read_bytes() == colored_here(small, ".png")
    assert (colored / "deep.tif").read_bytes() == colored_here(deep, ".tif")

    before = (colored / "deep.tif").stat()
    (scans / "broken.jpg").unlink()
    run("photos.py", scans, colored, log=tmp_path / "log")
    assert (colored / "deep.tif").stat() == before


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_photos_whose_worker_is_killed_are_coloured_by_another(
    tmp_path: Path, small: np.ndarray
) -> None:
    scans, colored, log = tmp_path / "scans", tmp_path / "colored", tmp_path / "log"
    scans.mkdir()
    scan = cv2.imencode(".png", cv2.resize(small, (1200, 960)))[1].tobytes()
    count = 30
    for i in range(count):
        (scans / f"{i:02d}.png").write_bytes(scan)
    with started("photos.py", scans, colored, log=log) as process:
        wait_until(lambda: list(colored.glob("*.png")), process, log)
        victim = workers_of(process)[0]
        victim.send_signal(signal.SIGKILL)
        left = count - len(list(colored.glob("*.png")))
    assert process.returncode == 0, log.read_text(encoding="utf-8")
    assert left > 0
    expected = colored_here(cv2.imdecode(np.frombuffer(scan, np.uint8), 1), ".png")
    assert all((colored / f"{i:02d}.png").read_bytes() == expected for i in range(count))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file whose read fails")
def test_photo_that_cannot_be_read_costs_only_itself(tmp_path: Path, small: np.ndarray) -> None:
    """A read error, as of a bad disk, and an image with alpha."""
    scans, colored = tmp_path / "scans", tmp_path / "colored"
    (scans / "a.png").mkdir(parents=True)  # reading it is an OSError
    (scans / "b.png").symlink_to("/proc/self/mem")  # EIO
    alpha = np.dstack([small, np.full(small.shape[:2], 77, np.uint8)])
    cv2.imwrite(str(scans / "c.png"), alpha)
    for i in range(8):
        shutil.copy(scans / "c.png", scans / f"d{i}.png")
    said = run("photos.py", scans, colored, log=tmp_path / "log", code=1)
    assert "b.png: Input/output error" in said
    assert {path.name for path in colored.iterdir()} == {"c.png", *(f"d{i}.png" for i in range(8))}
    result = cv2.imread(str(colored / "c.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(result[..., 3], alpha[..., 3])
    assert result[..., :3].std(axis=2).max() > 5


def test_photos_of_urls(tmp_path: Path, small: np.ndarray) -> None:
    httpserver = pytest.importorskip("pytest_httpserver", reason="URLs need a server")
    from werkzeug import Response

    scan = cv2.imencode(".png", small)[1].tobytes()
    colored = tmp_path / "colored"
    with httpserver.HTTPServer(host="127.0.0.1") as server:
        responses = iter([(b"", 503), (b"", 503)])
        server.expect_request("/busy.png").respond_with_handler(
            lambda request: Response(*next(responses, (scan, 200)))
        )
        server.expect_request("/a/lake view.png").respond_with_data(scan)
        server.expect_request("/gone.png").respond_with_data(b"", status=404)
        urls = tmp_path / "urls.txt"
        names = ("busy.png", "a/lake%20view.png?size=full", "gone.png")
        urls.write_text("\n".join(server.url_for(f"/{name}") for name in names) + "\n")
        said = run("photos.py", urls, colored, log=tmp_path / "log", code=1)
    assert "/gone.png: 404" in said
    assert {path.name for path in colored.iterdir()} == {"busy.png", "lake view.png"}
    assert {path.read_bytes() for path in colored.iterdir()} == {colored_here(small, ".png")}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of a slow pan at a varying rate, with sound that begins before the picture."""
    av = pytest.importorskip("av", reason="films are cut and joined with PyAV")
    path = tmp_path_factory.mktemp("film") / "scenes.mp4"
    rng = np.random.default_rng(5)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25, options={"crf": "12"})
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        picture.time_base = picture.codec_context.time_base = Fraction(1, 12800)
        if not hasattr(picture, "set_display_matrix"):
            pytest.skip("this PyAV writes no rotation (av 18 does)")
        picture.set_display_matrix([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30])
        sound = container.add_stream("aac", rate=16000)
        sound.layout = "mono"
        pts = 0
        for scene in range(4):
            low = rng.uniform(0, 60) + rng.normal(0, 40, (7, 15))
            texture = cv2.resize(low.astype(np.float32), (220, 96), interpolation=cv2.INTER_CUBIC)
            base = (40, 190, 90, 230)[scene]
            for i in range(20):
                luma = np.clip(base + texture[:, i : i + 160], 16, 235).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(
                    np.vstack([luma, np.full((48, 160), 128, np.uint8)]), format="yuv420p"
                )
                frame.pts, frame.time_base = pts, Fraction(1, 12800)
                container.mux(picture.encode(frame))
                pts += 512 if i % 5 else 900
        container.mux(picture.encode(None))
        for i in range(60):
            tone = np.sin(np.arange(1024) * 0.1 + i).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 16000, i * 1024
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def streams_of(path: Path) -> tuple[list[Any], list[Any], int]:
    """Times and planes of the pictures, times and bytes of the sound's packets, rotation."""
    import av

    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        pictures = [(f.pts * f.time_base, f.to_ndarray()) for f in frames]
    with av.open(str(path)) as container:
        sound = [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size
        ]
    return pictures, sound, int(frames[0].rotation) % 360


def streams_are_equal(path: Path, other: Path) -> bool:
    pictures, sound, _ = streams_of(path)
    expected_pictures, expected_sound, _ = streams_of(other)
    assert [time_s for time_s, _ in pictures] == [time_s for time_s, _ in expected_pictures]
    for (_, planes), (_, expected) in zip(pictures, expected_pictures, strict=True):
        np.testing.assert_array_equal(planes, expected)
    return sound == expected_sound


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_film_in_pieces_is_the_film_on_one_machine(film: Path, tmp_path: Path) -> None:
    """Frame by frame, losslessly, and though a worker is killed in the middle."""
    together, one, log = tmp_path / "pieces.mkv", tmp_path / "one.mkv", tmp_path / "log"
    with started("film.py", film, together, "--piece", 0.1, "--codec", "ffv1", log=log) as process:
        wait_until(lambda: list(tmp_path.glob(".pieces.mkv-*/0*.mkv")), process, log)
        assert not together.exists()
        workers_of(process)[0].send_signal(signal.SIGKILL)
    said = log.read_text(encoding="utf-8")
    assert process.returncode == 0, said
    assert "80 frames, 3 cuts, 4 pieces" in said
    result = colorcv.colorize_video(film, one, model="lite", codec="ffv1")
    assert result.scene_cuts == 3
    assert streams_are_equal(together, one)
    assert not list(tmp_path.glob(".pieces*"))


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_film_that_was_stopped_goes_on(film: Path, tmp_path: Path) -> None:
    """Killed after two of four pieces, of which one is damaged then: three are made."""
    whole, stopped, log = tmp_path / "whole.mkv", tmp_path / "stopped.mkv", tmp_path / "log"
    folder = tmp_path / ".stopped.mkv-pieces"
    options = ("--piece", 0.1, "--codec", "ffv1")
    run("film.py", film, whole, *options, log=log)
    with started("film.py", film, stopped, *options, log=log) as process:
        wait_until(lambda: len(list(folder.glob("*.sha256"))) > 1, process, log)
        victims = [process, *workers_of(process)]
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
    for victim in victims:
        with contextlib.suppress(Exception):  # gone already
            victim.wait(30)
    assert not stopped.exists()
    finished = sorted(folder.glob("*.sha256"))
    damaged = finished[0].with_suffix(".mkv")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    (folder / "00003.mkv").write_bytes(b"half")  # without a hash, whether finished or not
    (folder / "00003.sha256").unlink(missing_ok=True)
    kept = len(list(folder.glob("*.sha256"))) - 1

    said = run("film.py", film, stopped, *options, "--saturation", 2, log=log, code=1)
    assert "holds the pieces of a run with another saturation; give the same options" in said
    said = run("film.py", film, stopped, *options, log=log)
    made = f", {kept} of them made before" if kept else ""
    assert f"80 frames, 3 cuts, 4 pieces{made}\n" in said
    assert "finding cuts" not in said
    assert streams_are_equal(stopped, whole)
    assert not list(tmp_path.glob(".stopped*"))


def test_film_that_another_process_makes(film: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="the lock of this test")
    import fcntl

    folder = tmp_path / ".out.mkv-pieces"
    folder.mkdir()
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = run("film.py", film, tmp_path / "out.mkv", log=tmp_path / "log", code=1)
    assert "out.mkv is already being made by another process" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
def test_film_that_is_interrupted_says_how_to_go_on(film: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out.mkv", tmp_path / "log"
    folder = tmp_path / ".out.mkv-pieces"
    with started("film.py", film, out, "--piece", 0.1, "--codec", "ffv1", log=log) as process:
        wait_until(lambda: (folder / "plan.json").exists(), process, log)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130, log.read_text(encoding="utf-8")
    assert "stopped; the same command goes on" in log.read_text(encoding="utf-8")
    assert folder.is_dir()
    assert not out.exists()


def test_film_in_pieces_keeps_times_sound_and_rotation(film: Path, tmp_path: Path) -> None:
    together = tmp_path / "pieces.mp4"
    run("film.py", film, together, "--piece", 1, log=tmp_path / "log")
    pictures, sound, rotation = streams_of(together)
    source_pictures, source_sound, source_rotation = streams_of(film)
    assert [time_s for time_s, _ in pictures] == [time_s for time_s, _ in source_pictures]
    assert sound == source_sound
    assert rotation == source_rotation == 270
    rows = source_pictures[0][1].shape[0] * 2 // 3
    for (_, planes), (_, source) in zip(pictures, source_pictures, strict=True):
        assert cv2.PSNR(planes[:rows], source[:rows]) > 40  # luma
    chroma = np.stack([planes[rows:] for _, planes in pictures])
    assert np.abs(chroma.astype(int) - 128).mean() > 1


def test_film_that_is_there_is_not_written_over(film: Path, tmp_path: Path) -> None:
    (tmp_path / "there.mp4").write_bytes(b"mine")
    said = run("film.py", film, tmp_path / "there.mp4", log=tmp_path / "log", code=2)
    assert "exists already" in said
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"
