"""The training: its commands on a small folder, and its parts against independent formulas.

Run by ``pytest -m training``, in a minute or two, where PyTorch is installed.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import colorcv

torch = pytest.importorskip("torch", reason="the training needs PyTorch")

from examples import measures  # noqa: E402
from examples.training import export, loss, network, photos, train  # noqa: E402

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
CENTERS = np.load(ROOT / "tests" / "data" / "pts_in_hull.npy").astype(np.float32)
GOLDEN = ROOT / "tests" / "data" / "lite_golden.npz"
SMALL = ("--size", "64", "--batch", "4", "--threads", "1", "--readers", "1")


def scene(seed: int, tint: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Make a photo whose every colour is of one tint."""
    random = np.random.default_rng(seed)
    light = cv2.resize(random.uniform(20, 255, (6, 8)), (160, 120), interpolation=cv2.INTER_CUBIC)
    light = light.clip(0, 255)[..., None] / 255
    return (light * np.array(tint)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve blue photos, in two folders; one grey and one broken."""
    source = tmp_path / "photos"
    (source / "more").mkdir(parents=True)
    for index in range(12):
        name = f"{'more/' if index % 2 else ''}{index:02d}.png"
        assert cv2.imwrite(str(source / name), scene(index, (255, 90, 60)))
    assert cv2.imwrite(str(source / "grey.png"), scene(99, (200, 200, 200)))
    (source / "broken.jpg").write_bytes(b"no photo")
    return source


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"examples.training.{module}", *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(child: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = child.communicate(timeout=200)
    assert child.returncode == code, err
    return out, err


def read_log(output: Path) -> list[dict[str, str]]:
    with (output / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_train_interrupt_go_on_export(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    train = ("train", folder, "--output", output, "--held-out", "2", "--rate", "1e-3", *SMALL)

    child = start(*train, "--minutes", "60")
    for _ in range(600):
        if (output / "state.pt").exists():
            break
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    time.sleep(3)
    child.send_signal(signal.SIGINT)
    out, err = finish(child, 130)
    assert "goes on from it" in out
    assert "broken.jpg" in err
    assert "grey.png" in err
    steps = torch.load(output / "state.pt", weights_only=True)["step"]

    out, err = finish(start(*train, "--minutes", "0.4", "--evaluate-every", "0.2"))
    assert f"step {steps}," in out  # where it went on
    state = torch.load(output / "state.pt", weights_only=True)
    assert state["step"] > steps
    assert state["seconds"] >= 0.4 * 60
    log = read_log(output)
    assert int(log[0]["step"]) == 0
    assert int(log[-1]["step"]) == state["step"]
    # Of photos that are all blue it has learnt blue.
    assert float(log[-1]["error"]) < 0.8 * float(log[0]["error"])
    sheet = cv2.imread(str(output / f"sheet-{state['step']:06d}.png"))
    assert sheet.shape == (2 * 160, 3 * 160, 3)
    grey, guess, truth = np.split(sheet.astype(int), 3, axis=1)
    assert np.ptp(grey, axis=2).max() <= 2
    assert np.abs(guess - truth).mean() < np.abs(grey - truth).mean()

    out, _ = finish(start("export", output / "state.pt", tmp_path / "mine", "--name", "blue"))
    assert "of PyTorch" in out
    files = colorcv.ModelFiles(
        prototxt=tmp_path / "mine" / "blue.prototxt",
        caffemodel=tmp_path / "mine" / "blue.caffemodel",
        centers=tmp_path / "mine" / "pts_in_hull.npy",
    )
    np.testing.assert_array_equal(np.load(files.centers), CENTERS)
    mine, lite = colorcv.Colorizer(files, device="cpu"), colorcv.Colorizer("lite", device="cpu")
    golden = np.load(tmp_path / "mine" / "golden.npz")
    assert mine.input_hw == golden["lightness"].shape[1:] == (64, 64)
    for lightness, ab in zip(golden["lightness"], golden["ab"], strict=True):
        assert np.abs(mine.predict_ab(lightness) - ab).max() < 0.05
        assert mine.predict_ab(lightness)[..., 1].mean() < lite.predict_ab(lightness)[..., 1].mean()


def test_bad_input_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "nowhere"):
        child = start("train", tmp_path / source, "--output", tmp_path / "out", *SMALL)
        _, err = finish(child, 2)
        assert err.startswith(f"error: {tmp_path / source}")
    child = start("train", tmp_path, "--output", tmp_path / "out", "--colorfulness", "0", *SMALL)
    _, err = finish(child, 2)
    assert err == "error: --colorfulness is 0; take more than 0, up to 10\n"
    _, err = finish(start("export", tmp_path / "none.pt", tmp_path / "out"), 2)
    assert "none.pt" in err


def test_the_network_is_the_one_that_opencv_runs() -> None:
    net, centers = network.load("lite")
    np.testing.assert_array_equal(centers, CENTERS)
    golden = np.load(GOLDEN)
    with torch.inference_mode():
        logits = net(torch.from_numpy(golden["lightness"][:2])[:, None] - 50)
        ab = loss.annealed_mean(logits, torch.from_numpy(centers), net.temperature)
    assert np.abs(ab.numpy() - golden["ab"][:2]).max() < 1e-3


def test_export_of_untrained_weights_is_the_file_that_was_read(tmp_path: Path) -> None:
    net, centers = network.load("lite")
    state = {
        "prototxt": net.prototxt,
        "ema": {n.removeprefix("convolutions."): t for n, t in net.state_dict().items()},
        "centers": torch.from_numpy(centers),
        "input_size": 192,
        "temperature": net.temperature,
    }
    torch.save(state, tmp_path / "state.pt")
    lightness = np.load(GOLDEN)["lightness"][:1]
    assert export.export([tmp_path / "state.pt"], tmp_path, "same", lightness) < 0.01
    again = network.Network((tmp_path / "same.prototxt").read_text())
    again.load_blobs(tmp_path / "same.caffemodel")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    np.testing.assert_allclose(
        np.load(tmp_path / "golden.npz")["ab"], np.load(GOLDEN)["ab"][:1], atol=1e-3
    )
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        return
    # OpenCV 4's own Caffe importer reads what was written.
    net4 = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "same.prototxt"), str(tmp_path / "same.caffemodel")
    )
    assert not net4.empty()


def test_of_several_states_the_mean_is_exported(tmp_path: Path) -> None:
    net, centers = network.load("lite")
    half = {n.removeprefix("convolutions."): t for n, t in net.state_dict().items()}
    state = {
        "prototxt": net.prototxt, "centers": torch.from_numpy(centers), "input_size": 192,
        "temperature": net.temperature,
    }  # fmt: skip
    for name, factor in (("a", 0.5), ("b", 1.5)):
        weights = {n: t * factor for n, t in half.items()}
        torch.save(state | {"ema": weights}, tmp_path / f"{name}.pt")
    lightness = np.load(GOLDEN)["lightness"][:1]
    export.export([tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path, "mean", lightness)
    again = network.Network((tmp_path / "mean.prototxt").read_text())
    again.load_blobs(tmp_path / "mean.caffemodel")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])

    torch.save(state | {"ema": half, "temperature": 0.7}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"c\.pt is of another network or temperature"):
        export.export([tmp_path / "a.pt", tmp_path / "c.pt"], tmp_path, "mean", lightness)


def test_saturation_for_a_colorfulness() -> None:
    truth = [scene(seed, (255, 90, 60)) for seed in range(3)]
    half = [cv2.resize(measures.lab_of(photo)[..., 1:], (40, 30)) / 2 for photo in truth]
    assert train.saturation_for(truth, half, 1.0, 1.0) == pytest.approx(2, rel=0.1)
    grey = [np.zeros((30, 40, 2), np.float32)] * 3
    assert train.saturation_for(truth, grey, 1.4, 0.9) == 10
    assert train.saturation_for([scene(1, (200, 200, 200))] * 3, grey, 1.4, 0.9) == 1.4


def test_sizes_of_batches() -> None:
    assert train.sizes_below(192) == [128, 160, 192]
    assert train.sizes_below(64) == [64]
    assert train.sizes_below(32) == [32]


def test_soft_encoding_and_loss_against_the_formulas() -> None:
    random = np.random.default_rng(3)
    ab = random.integers(-60, 60, (2, 4, 5, 2)).astype(np.float32)
    ab[1] /= 40  # almost grey: its error is taken over a chroma of 8
    logits = random.standard_normal((2, 313, 4, 5)).astype(np.float32)
    weights = random.uniform(0.5, 3, 313).astype(np.float32)
    total, _ = loss.loss(
        torch.from_numpy(logits), torch.from_numpy(ab),
        encoding=loss.SoftEncoding(CENTERS), weights=torch.from_numpy(weights),
        centers=torch.from_numpy(CENTERS), temperature=0.4, saturation=1.3, target=0.9,
    )  # fmt: skip

    entropy, near, colors = 0.0, 0.0, np.zeros(2)
    guess = np.zeros((2, 4, 5, 2))
    for photo, row, column in np.ndindex(2, 4, 5):
        true = ab[photo, row, column].round()
        square = ((CENTERS - true) ** 2).sum(axis=1)
        target = np.where(square <= np.sort(square)[4], np.exp(-square / 50), 0)
        target /= target.sum()
        values = logits[photo, :, row, column].astype(np.float64)
        shares = np.exp(values) / np.exp(values).sum()
        entropy -= (target @ weights) * (target @ np.log(shares)) / 40
        annealed = np.exp(values / 0.4)
        guess[photo, row, column] = 1.3 * (annealed / annealed.sum() @ CENTERS)
    for off, true in zip(guess - ab, ab, strict=True):
        chroma = max(8, np.hypot(*np.moveaxis(true, -1, 0)).mean())
        near += np.sqrt((off**2).sum(axis=-1) + 1).mean() / chroma / 2
    for index, planes in enumerate((guess, ab)):
        for plane in planes.reshape(2, 20, 2).astype(np.float64):
            spread = np.sqrt(plane.var(axis=0, ddof=1).sum())
            colors[index] += spread + 0.37 * np.hypot(*plane.mean(axis=0))
    off = guess - ab
    gradient = (np.abs(np.diff(off, axis=1)).mean() + np.abs(np.diff(off, axis=2)).mean()) / 2
    vivid = (colors[0] / colors[1] - 0.9) ** 2
    wanted = (
        loss.ENTROPY * entropy + loss.NEAR * near + loss.GRADIENT * gradient + loss.VIVID * vivid
    )
    # Ties among the five nearest centres may be broken either way.
    assert total.item() == pytest.approx(wanted, rel=0.02)


def test_colorfulness_is_what_the_loss_asks_for() -> None:
    """Below the target the loss pulls towards more colour, above it towards less."""
    random = np.random.default_rng(5)
    logits = torch.from_numpy(random.standard_normal((2, 313, 4, 5)).astype(np.float32))
    true = torch.from_numpy(random.uniform(-40, 40, (2, 4, 5, 2)).astype(np.float32))
    given = {
        "encoding": loss.SoftEncoding(CENTERS), "weights": torch.ones(313),
        "centers": torch.from_numpy(CENTERS), "temperature": 0.4,
    }  # fmt: skip
    found = {}
    for target in (0.0, 2.0):
        saturation = torch.tensor(1.0, requires_grad=True)
        total, parts = loss.loss(logits, true, **given, saturation=saturation, target=target)
        total.backward()
        found[target] = saturation.grad.item(), parts["colourfulness"]
    assert 0 < found[0.0][1] == found[2.0][1] < 2
    # Only the target differs, so the pull does by 2 VIVID times it times colourfulness.
    assert found[0.0][0] - found[2.0][0] == pytest.approx(
        2 * loss.VIVID * 2 * found[0.0][1], rel=0.01
    )


def test_rebalancing_favours_rare_colours() -> None:
    counts = np.ones(313)
    counts[:10] = 10_000
    weights = loss.rebalancing(counts)
    share = counts / counts.sum()
    assert (share * weights).sum() == pytest.approx(1)
    assert weights[20] > 2 * weights[0]


def test_packs(tmp_path: Path) -> None:
    """A pack gives what was put into it, bit for bit."""
    made = [scene(seed, (30 * seed + 20, 90, 200)) for seed in range(5)]
    encoded = [cv2.imencode(".png", photo)[1].tobytes() for photo in made]
    for number, part in enumerate((encoded[:2], encoded[2:])):
        (tmp_path / f"train-{number}.bin").write_bytes(b"".join(part))
        np.save(tmp_path / f"train-{number}.offsets.npy", np.cumsum([0, *map(len, part)]))
    pack = photos.Photos(tmp_path)
    assert len(pack) == 5
    for index, photo in enumerate(made):
        np.testing.assert_array_equal(pack[index], photo)


def test_samples_keep_the_true_colour() -> None:
    """What is done to the lightness, as old photos have it, does not touch the true ab."""
    photo = scene(1, (255, 90, 60))
    hue = []
    for seed in range(40):
        lightness, ab = photos.sample(photo, 64, np.random.default_rng(seed))
        assert lightness.shape == (64, 64)
        assert ab.shape == (16, 16, 2)
        assert 0 <= lightness.min() <= lightness.max() <= 100
        hue.append(np.arctan2(ab[..., 1].mean(), ab[..., 0].mean()))
    assert np.ptp(hue) < 0.2
    assert hue[0] < 0  # blue
