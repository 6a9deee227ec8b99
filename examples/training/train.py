"""Train or fine-tune a model on colour photos.

    python -m examples.training.train PHOTOS --output DIR [--init lite] [--minutes 60]

PHOTOS is a folder of colour photos or of packs. DIR gets state.pt, every few minutes and on
Ctrl-C; the same command resumes from it. Each evaluation adds a line to log.csv and writes a
contact sheet of held-out photos: grey, coloured, original.
"""

from __future__ import annotations

import argparse
import csv
import math
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

from ..measures import as_text, lab_of, measure, summarize
from .loss import SoftEncoding, annealed_mean, loss, rebalancing
from .network import Network, load
from .photos import Photos, resize, sample

COUNTED = 2000  # photos in which the frequencies of colours are counted
SHEET_ROWS, SHEET_SIDE = 8, 160
COMPARED_AT = 0.9  # colourfulness over the originals', at which models are compared
WARM_UP = 50  # steps
GOLDEN = 8  # photos whose lightness is saved in the state
AVERAGE = 0.999  # decay of the mean of the weights


def predict(network: Network, centers: torch.Tensor, bgr, temperature: float):
    """Return (S / 4, S / 4, 2) float32 ab of a photo from its lightness."""
    small = torch.from_numpy(resize(_lightness(bgr), network.input_size)).to(centers.device)
    with torch.inference_mode():
        logits = network(small[None, None] - 50)
        return annealed_mean(logits, centers, temperature)[0].cpu().numpy()


def colored(bgr, ab):
    """Colour a photo's lightness with (h, w, 2) ab, without guided upsampling."""
    lightness = _lightness(bgr)
    ab = cv2.resize(ab, lightness.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    lab = np.dstack([lightness, ab])
    return (255 * cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)).clip(0, 255).round().astype(np.uint8)


def _lightness(bgr):
    return np.ascontiguousarray(lab_of(bgr)[..., 0])


def summary_at(photos: list, guesses: list, saturation: float) -> dict[str, float]:
    """Measure guessed ab, times a factor, against photos."""
    lines = [
        measure(bgr, colored(bgr, ab * saturation)) for bgr, ab in zip(photos, guesses, strict=True)
    ]
    return summarize(lines)


def saturation_for(photos: list, guesses: list, saturation: float, target: float) -> float:
    """Return the factor on guessed ab, at most 10, for a colourfulness of `target`."""
    for _ in range(3):
        found = summary_at(photos, guesses, saturation)["colorfulness"]
        if math.isnan(found):  # no photo has colour
            break
        saturation = min(10.0, saturation * target / max(found, 0.01))
    return saturation


def sheet(photos: list, guesses: list, saturation: float):
    """Draw a contact sheet: grey, coloured, original."""
    rows = []
    for bgr, ab in zip(photos[:SHEET_ROWS], guesses, strict=False):
        cells = [colored(bgr, ab * 0), colored(bgr, ab * saturation), bgr]
        rows.append(np.hstack([cv2.resize(cell, (SHEET_SIDE, SHEET_SIDE)) for cell in cells]))
    return np.vstack(rows)


def sizes_below(size: int) -> list[int]:
    """Return the sizes of batches: multiples of 32 from two thirds of the input's up to it."""
    return [side for side in range(32, size + 1, 32) if side >= size * 2 // 3]


class Training:
    """One training: the network, the mean of its weights, the optimizer, and the progress."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        for name in ("saturation", "colorfulness"):
            if not 0 < getattr(options, name) <= 10:
                raise ValueError(
                    f"--{name} is {getattr(options, name):g}; take more than 0, up to 10"
                )
        self.photos = Photos(options.photos)
        for line in self.photos.skipped:
            print(f"left out: {line}", file=sys.stderr)
        held_out = options.held_out
        if held_out is None:
            held_out = min(500, len(self.photos) // 10)
        self.count = len(self.photos) - held_out
        if held_out < 1 or self.count < 1:
            raise ValueError(f"{len(self.photos)} photos, {held_out} of them held out: too few")
        step = max(1, held_out // options.evaluated)
        self.judged = [self.photos[i] for i in range(self.count, len(self.photos), step)]
        self.judged = self.judged[: options.evaluated]

        wanted = options.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(wanted)
        self.network, self.numpy_centers = load(options.init)
        self.network.freeze_before(options.train_from)
        # bfloat16 on a GPU is fastest with channels last; on the CPU the backward pass of the
        # depthwise layers takes 1.5 times as long with it.
        is_gpu = self.device.type == "cuda"
        self.layout = torch.channels_last if is_gpu else torch.contiguous_format
        self.network.to(self.device, memory_format=self.layout).train()
        self.centers = torch.from_numpy(self.numpy_centers).to(self.device)
        if options.size:
            self.network.input_size = options.size
        if self.network.input_size % 32:
            raise ValueError(f"the size is {self.network.input_size}; take a multiple of 32")
        self.temperature = options.temperature or self.network.temperature
        self.encoding = SoftEncoding(self.numpy_centers).to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        head = [p for n, p in self._trained() if not n.startswith(("convolutions.block",))]
        body = [p for n, p in self._trained() if n.startswith(("convolutions.block",))]
        self.optimizer = torch.optim.AdamW(
            [{"params": head, "share": 1.0}, {"params": body, "share": 0.3}],
            lr=options.rate, weight_decay=1e-4,
        )  # fmt: skip
        self.step = 0
        self.seconds = 0.0
        self.state = options.output / "state.pt"
        if self.state.exists():
            self._resume()
        else:
            self.weights = torch.from_numpy(rebalancing(self._counts()))
        self.weights = self.weights.to(self.device)
        self.random = np.random.default_rng([options.seed, self.step])

    def _trained(self):
        return [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]

    def _counts(self) -> np.ndarray:
        """Return, for each bin, the number of true colours of the photos nearest to it."""
        counts = np.zeros(len(self.numpy_centers))
        encoding = SoftEncoding(self.numpy_centers)
        for index in range(0, self.count, max(1, self.count // COUNTED)):
            ab = lab_of(resize(self.photos[index], 48))[..., 1:]
            bins, soft = encoding(torch.from_numpy(ab.reshape(-1, 2)))
            np.add.at(counts, bins.numpy().ravel(), soft.numpy().ravel())
        return counts

    def _resume(self) -> None:
        state = torch.load(self.state, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.weights = state["average"], state["weights"]
        self.step, self.seconds = state["step"], state["seconds"]
        print(f"going on from {self.state}: step {self.step}, {self.seconds / 60:.1f} minutes")

    def _golden_lightness(self) -> np.ndarray:
        """Return (N, S, S), lightness of a few held-out photos, for the golden vectors."""
        size = self.network.input_size
        planes = [resize(lab_of(bgr)[..., 0], size) for bgr in self.judged[:GOLDEN]]
        return np.stack(planes).clip(0, 100)

    def save(self) -> None:
        """Write the state; a crash leaves the previous one."""
        names = {n: n.removeprefix("convolutions.") for n in self.average}
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "ema": {names[n]: tensor.cpu().contiguous() for n, tensor in self.average.items()},
            "optimizer": self.optimizer.state_dict(),
            "weights": self.weights,
            "step": self.step,
            "seconds": self.seconds,
            "prototxt": self.network.prototxt,
            "centers": torch.from_numpy(self.numpy_centers),
            "input_size": self.network.input_size,
            "temperature": self.temperature,
            "lightness": torch.from_numpy(self._golden_lightness()),
        }
        part = self.state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.state)

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches, made a few ahead on other threads."""
        options = self.options

        def one(size: int, seed: int):
            random = np.random.default_rng(seed)
            return sample(self.photos[int(random.integers(self.count))], size, random)

        def batch() -> list:
            size = int(self.random.choice(sizes_below(self.network.input_size)))
            return [pool.submit(one, size, int(self.random.integers(1 << 62)))
                    for _ in range(options.batch)]  # fmt: skip

        with ThreadPoolExecutor(options.readers) as pool:
            waiting = [batch() for _ in range(3)]
            try:
                while True:
                    pairs = [future.result() for future in waiting.pop(0)]
                    waiting.append(batch())
                    lightness, ab = (np.stack(planes) for planes in zip(*pairs, strict=True))
                    yield (
                        torch.from_numpy(lightness[:, None] - 50).to(self.device),
                        torch.from_numpy(ab).to(self.device),
                    )
            finally:
                pool.shutdown(cancel_futures=True)

    def _set_rate(self) -> None:
        # The limit of a training is a time, so the rate follows time and not steps.
        share = min(1.0, self.seconds / (60 * self.options.minutes))
        rate = self.options.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"] * min(1, (self.step + 1) / WARM_UP)

    def train_step(self, lightness: torch.Tensor, ab: torch.Tensor) -> dict[str, float]:
        """Take one step and return the terms of the loss."""
        self._set_rate()
        lightness = lightness.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            logits = self.network(lightness)
        total, parts = loss(
            logits, ab, encoding=self.encoding, weights=self.weights, centers=self.centers,
            temperature=self.temperature, saturation=self.options.saturation,
            target=self.options.colorfulness,
        )  # fmt: skip
        if not torch.isfinite(total):
            raise ValueError(f"the loss is {total.item()} at step {self.step}: lower --rate")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        trained = self._trained()
        torch.nn.utils.clip_grad_norm_([parameter for _, parameter in trained], 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in trained:
                self.average[name].lerp_(parameter, 1 - keep)
        return parts

    def evaluate(self) -> None:
        """Measure the mean of the weights; write lines of log.csv and a contact sheet.

        It is measured at the saturation that it is trained for, and at the one that makes it as
        colourful as any other model that it may be compared with.
        """
        options = self.options
        trained = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        guesses = [
            predict(self.network, self.centers, bgr, self.temperature) for bgr in self.judged
        ]
        self.network.train()
        self.network.load_state_dict(trained)
        equal = saturation_for(self.judged, guesses, options.saturation, COMPARED_AT)
        print(f"\nafter {self.seconds / 60:.1f} minutes, {len(self.judged)} held-out photos:")
        for saturation in (options.saturation, equal):
            summary = summary_at(self.judged, guesses, saturation)
            print(f"  saturation {saturation:.2f}: {as_text(summary)}", flush=True)
            self._log(saturation, summary)
        name = f"sheet-{self.step:06d}.png"
        picture = sheet(self.judged, guesses, options.saturation)
        cv2.imwrite(str(options.output / name), picture)

    def _log(self, saturation: float, summary: dict[str, float]) -> None:
        path = self.options.output / "log.csv"
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["minutes", "step", "saturation", *summary])
            values = [f"{value:.4f}" for value in (saturation, *summary.values())]
            writer.writerow([f"{self.seconds / 60:.2f}", self.step, *values])

    def run(self) -> int:
        """Train until the time is up or Ctrl-C; return the exit status."""
        options = self.options
        interrupted: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
        batches = self._batches()
        smooth: dict[str, float] = {}
        try:
            if not self.step:
                self.evaluate()
                self.save()
            start = time.monotonic() - self.seconds
            saved = evaluated = self.seconds
            while self.seconds < 60 * options.minutes and not interrupted:
                parts = self.train_step(*next(batches))
                self.seconds = time.monotonic() - start
                for name, value in parts.items():
                    smooth[name] = 0.98 * smooth.get(name, value) + 0.02 * value
                self._show(smooth)
                if self.seconds - saved >= 60 * options.save_every:
                    self.save()
                    saved = self.seconds
                if self.seconds - evaluated >= 60 * options.evaluate_every:
                    self.evaluate()
                    evaluated = self.seconds
                    start = time.monotonic() - self.seconds  # evaluation is not training time
            self.save()
            if interrupted:
                print(f"\ninterrupted; {self.state} is kept: the same command goes on from it")
                return 130
            if evaluated < self.seconds:
                self.evaluate()
            return 0
        finally:
            batches.close()
            signal.signal(signal.SIGINT, before)

    def _show(self, parts: dict[str, float]) -> None:
        end = "\n" if not sys.stderr.isatty() else ""
        if end and self.step % 50:
            return
        terms = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
        rate = self.step * self.options.batch / max(self.seconds, 1e-9)
        line = f"step {self.step}, {self.seconds / 60:.1f} of {self.options.minutes:g} minutes, " \
               f"{rate:.1f} photos/s, {terms}"  # fmt: skip
        print(f"{line}{end}" if end else f"\r{line}", end="", file=sys.stderr, flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.training.train",
                                     description="Train a model on colour photos.")  # fmt: skip
    add = parser.add_argument
    add("photos", type=Path, help="a folder of colour photos or of packs")
    add("--output", type=Path, required=True, help="the folder of the state, log and sheets")
    add("--init", default="lite", help="a model's name, a folder with its files, or a .pt")
    add("--minutes", type=float, default=60, help="of training in all, also when resumed")
    add("--size", type=int, help="of the network's input, a multiple of 32; else the model's")
    add("--batch", type=int, default=16)
    add("--rate", type=float, default=2e-4, help="learning rate at its highest")
    add("--temperature", type=float, help="T of the annealed mean; else the model's")
    add("--train-from", default="block8_expand", help="the first layer that is trained")
    add("--held-out", type=int, help="how many photos, the last ones, are never trained on")
    add("--evaluated", type=int, default=250, help="how many of them an evaluation takes")
    add("--saturation", type=float, default=1.4, help="factor on ab that the model is trained for")
    add("--colorfulness", type=float, default=0.95, help="over the originals', to train for")
    add("--evaluate-every", type=float, default=10, help="minutes")
    add("--save-every", type=float, default=3, help="minutes")
    add("--device", default="auto", help="auto, cpu, cuda")
    add("--bf16", action=argparse.BooleanOptionalAction, default=True, help="bfloat16 autocast")
    add("--threads", type=int, help="of PyTorch's arithmetic")
    add("--readers", type=int, default=2, help="threads that read photos")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train; return the exit status."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        return Training(options).run()
    except ValueError as err:
        print(f"error: {err}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
