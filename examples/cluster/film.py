"""Colour a long film on a Dask cluster, in pieces that begin at scene cuts.

    python film.py FILM [OUTPUT] [--scheduler tcp://host:8786] [--piece 30] [--model lite]

Colours are never propagated across a cut, so a piece that begins at one gets the same colours as in
the whole film. The workers colour the pieces with `colorcv.colorize_video`, and the packets are
joined with the film's own time stamps and audio. The folders of the film and the output must have
the same path on every machine (on NFS, for instance). Needs PyAV.

Until the film is joined, its cuts and its pieces are kept in the folder `.OUTPUT-pieces` beside the
output. After a stop the same command goes on there: pieces whose SHA-256 is right are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from distributed import Client, as_completed
from tqdm import tqdm

import colorcv

# The library's own reader and cut detection, so that cuts are the same as on one machine.
from colorcv.models.hashes import sha256_of
from colorcv.models.transfer.locks import lock
from colorcv.temporal import is_cut
from colorcv.video.options import VideoOptions
from colorcv.video.pyav.demuxer import Demuxer
from colorcv.video.pyav.reader import PyAVFrame, PyAVReader

RETRIES = 3


@dataclass(frozen=True)
class Plan:
    """A film's time stamps, and the first frame after each cut, counted from 0."""

    time_base: Fraction
    pts: list[int]
    cuts: list[int]
    start_s: Fraction  # of the film, on the clock of `pts`

    def pieces(self, seconds: float) -> list[tuple[int, int]]:
        """Return the first frame and the end of each piece: scenes of at least `seconds` in all."""
        edges = [0]
        for cut in self.cuts:
            if (self.pts[cut] - self.pts[edges[-1]]) * self.time_base >= seconds:
                edges.append(cut)
        return list(zip(edges, [*edges[1:], len(self.pts)], strict=True))

    def time_before(self, frame: int) -> float | None:
        """Return a time between a frame and the one before it, in seconds from the film's start."""
        if frame in (0, len(self.pts)):
            return None
        middle = Fraction(self.pts[frame - 1] + self.pts[frame], 2)
        return float(middle * self.time_base - self.start_s)


def find_cuts(film: Path, input_hw: tuple[int, int]) -> Plan:
    """Decode the film once, without colouring it."""
    reader = PyAVReader(film, input_hw, VideoOptions(audio="none"))
    reader.set_output_format("yuv420p10le" if reader.bits > 8 else "yuv420p")
    start = reader.demuxer.start_s - reader.demuxer.offset_s
    plan, last = Plan(reader.time_base, [], [], start), None
    with tqdm(total=reader.total, desc="finding cuts", unit="frame") as bar:

        def on_frame(decoded: PyAVFrame) -> None:
            nonlocal last
            if last is not None and is_cut(last, decoded.lightness):
                plan.cuts.append(len(plan.pts))
            plan.pts.append(decoded.frame.pts)
            last = decoded.lightness
            bar.update()

        reader.read(on_frame, lambda packet: None)
    reader.close()
    return plan


@contextlib.contextmanager
def kept_folder(output: Path) -> Iterator[Path]:
    """Hold the folder of an output's pieces; remove it unless the work is interrupted."""
    folder = output.with_name(f".{output.name}-pieces")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        if lock(file.fileno()) is False:
            raise colorcv.VideoError(f"{output} is already being made by another process")
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def read_plan(folder: Path, settings: dict[str, Any]) -> Plan | None:
    """Return the plan of a run that was stopped, or None; its settings must be the same."""
    try:
        saved = json.loads((folder / "plan.json").read_text())
        plan = Plan(
            Fraction(saved["time_base"]), saved["pts"], saved["cuts"], Fraction(saved["start_s"])
        )
    except (OSError, ValueError, KeyError):
        return None
    if saved["settings"] != settings:
        changed = [key for key in settings if saved["settings"].get(key) != settings[key]]
        raise colorcv.VideoError(
            f"{folder} holds the pieces of a run with another {', '.join(changed)}; give the same "
            "options to go on with it, or delete the folder to start again"
        )
    return plan


def write_plan(folder: Path, settings: dict[str, Any], plan: Plan) -> None:
    saved = {
        "settings": settings,
        "time_base": str(plan.time_base),
        "start_s": str(plan.start_s),
        "pts": plan.pts,
        "cuts": plan.cuts,
    }
    temporary = folder / "plan.json.new"
    temporary.write_text(json.dumps(saved))
    temporary.replace(folder / "plan.json")


def color_piece(
    film: str,
    part: Path,
    start: float | None,
    end: float | None,
    frames: int,
    options: dict[str, Any],
) -> bool:
    """Colour one piece on a worker; return True if it was there already."""
    import colorcv

    record = part.with_suffix(".sha256")
    try:
        if record.read_text() == sha256_of(part, stamp=False):
            return True
    except OSError:  # not there, or only one of the two
        pass
    # If a worker dies just after it has finished, the next one overwrites its piece.
    result = colorcv.colorize_video(
        film, part, start=start, end=end, audio="none", overwrite=True, **options
    )
    if result.frames != frames:
        raise colorcv.VideoError(f"{part.name} has {result.frames} frames, not {frames}")
    temporary = record.with_suffix(f".{os.getpid()}")
    temporary.write_text(sha256_of(part, stamp=False))
    temporary.replace(record)
    return False


def color_film(
    client: Client, film: Path, output: Path, seconds: float, **options: Any
) -> tuple[Plan, int]:
    """Colour a film on the cluster; the output appears when it is complete.

    Returns the plan, and the number of pieces that were there already.
    """
    state = film.stat()
    settings = {"film": [str(film), state.st_size, state.st_mtime_ns], "piece": seconds}
    settings |= {"colorcv": colorcv.__version__, **options}
    with kept_folder(output) as folder:
        plan = read_plan(folder, settings)
        if plan is None:
            for leftover in folder.glob("*.sha256"):  # of a plan that cannot be read
                leftover.unlink()
            model = options.get("model", "zhang2016")
            plan = find_cuts(film, client.submit(input_hw, model, retries=RETRIES).result())
            write_plan(folder, settings, plan)
        pieces = plan.pieces(seconds)
        parts = [folder / f"{i:05d}{output.suffix}" for i in range(len(pieces))]
        running = {
            client.submit(
                color_piece,
                str(film),
                part,
                plan.time_before(first),
                plan.time_before(end),
                end - first,
                options,
                pure=False,
                retries=RETRIES,
            ): end - first
            for part, (first, end) in zip(parts, pieces, strict=True)
        }
        kept = 0
        with tqdm(total=len(plan.pts), desc="colouring", unit="frame") as bar:
            for future in as_completed(running):
                kept += future.result()
                bar.update(running[future])
        whole = folder / f"whole{output.suffix}"
        join(parts, plan, film, whole)
        whole.replace(output)
    return plan, kept


def input_hw(model: str) -> tuple[int, int]:
    """Return the input size of the model; run on a worker, as this machine may have no model."""
    import colorcv

    return colorcv.Colorizer(model).input_hw


def join(parts: list[Path], plan: Plan, film: Path, output: Path) -> None:
    """Join the pieces with the film's time stamps, and add the film's audio."""
    options = {"movflags": "+faststart"} if output.suffix.lower() in (".mp4", ".mov") else {}
    if output.suffix.lower() == ".mkv":
        options = {"avoid_negative_ts": "disabled"}  # for audio that begins before the video
    with (
        contextlib.closing(Demuxer(film, VideoOptions())) as source,
        av.open(str(output), "w", container_options=options) as joined,
        av.open(str(parts[0])) as first,
    ):
        video = joined.add_stream_from_template(first.streams.video[0])
        video.time_base = plan.time_base
        audio = {s.index: joined.add_stream_from_template(s) for s in source.audio}
        streams = [video_packets(parts, plan, video)]
        if audio:
            streams.append(audio_packets(source, audio))
        for packet in heapq.merge(*streams, key=lambda packet: packet.dts * packet.time_base):
            joined.mux(packet)


def video_packets(parts: list[Path], plan: Plan, stream: Any) -> Iterator[Any]:
    """Yield the packets of the pieces, each with the time stamp of its frame in the film."""
    delay = max(reordering(part) for part in parts)
    usual = plan.pts[1] - plan.pts[0] if len(plan.pts) > 1 else 1
    decode_times = [plan.pts[0] - usual * i for i in range(delay, 0, -1)] + plan.pts
    done = 0
    for part in parts:
        times = dict(zip(sorted(all_pts(part)), plan.pts[done:], strict=False))
        with av.open(str(part)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    length = packet.duration * packet.time_base
                    packet.pts, packet.dts = times[packet.pts], decode_times[done]
                    packet.time_base = plan.time_base
                    packet.duration = round(length / plan.time_base)
                    packet.stream = stream
                    done += 1
                    yield packet


def all_pts(part: Path) -> list[int]:
    with av.open(str(part)) as container:
        return [packet.pts for packet in container.demux(video=0) if packet.size]


def reordering(part: Path) -> int:
    """Return by how many frames a packet precedes its presentation order at most (B-frames)."""
    times = all_pts(part)
    rank = {pts: i for i, pts in enumerate(sorted(times))}
    return max(i - rank[pts] for i, pts in enumerate(times))


def audio_packets(source: Demuxer, streams: dict[int, Any]) -> Iterator[Any]:
    """Yield the packets of the film's audio, on the same clock as the frames."""
    for packet in source.packets():
        if packet is not None and packet.stream.index in streams and packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            yield packet


def main() -> int:
    parser = argparse.ArgumentParser(description="Colour a long film on a Dask cluster.")
    parser.add_argument("film", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--scheduler", help="tcp://host:8786; default: workers on this machine")
    parser.add_argument("--workers", type=int, default=2, help="where there is no --scheduler")
    parser.add_argument("--piece", type=float, default=30, help="seconds of a piece, at least")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--codec", default="auto")
    parser.add_argument("--saturation", type=float, default=1.0)
    options = parser.parse_args()
    film = options.film.resolve()
    output = (options.output or film.with_stem(f"{film.stem}.color")).resolve()
    if not film.is_file():
        parser.error(f"{film} is not there")
    if output.exists():
        parser.error(f"{output} exists already")
    own = {"n_workers": options.workers, "threads_per_worker": 1, "dashboard_address": None}
    try:
        with Client(options.scheduler, **({} if options.scheduler else own)) as client:
            plan, kept = color_film(
                client,
                film,
                output,
                options.piece,
                model=options.model,
                codec=options.codec,
                saturation=options.saturation,
            )
    except colorcv.ColorcvError as err:
        print(f"film.py: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("film.py: stopped; the same command goes on", file=sys.stderr)
        return 130
    pieces = len(plan.pieces(options.piece))
    before = f", {kept} of them made before" if kept else ""
    print(f"{output}: {len(plan.pts)} frames, {len(plan.cuts)} cuts, {pieces} pieces{before}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
