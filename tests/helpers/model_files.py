"""A small model for tests of downloading, in place of the 129 MB one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

from colorcv.models.registry import MODELS, Model, ModelFile

NAME = "small"
WEIGHTS = "small.caffemodel"
CONTENTS = {
    "small.prototxt": b'name: "Small"\n' * 20,
    "centers.npy": b"\x93NUMPY" + bytes(range(256)) * 4,
    WEIGHTS: random.Random(2016).randbytes(300_000),
}


def small_model(urls: dict[str, Iterable[str]]) -> Model:
    """Return the model with these URLs for its files."""
    files = [
        ModelFile(
            name=name,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            urls=tuple(urls.get(name, ())),
        )
        for name, content in CONTENTS.items()
    ]
    return Model(NAME, "for the tests", "none", files[0], files[1], files[2])


def register(urls: dict[str, Iterable[str]]) -> Model:
    """Add the model to the registry of this process."""
    MODELS[NAME] = small_model(urls)
    return MODELS[NAME]


def write_small_files(folder: Path) -> None:
    """Write all files but the weights, which remain to be downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        if name != WEIGHTS:
            (folder / name).write_bytes(content)


def part_path(folder: Path, owner: str = "1-dead") -> Path:
    """Return the path of a partial file of the weights that a dead process has left."""
    digest = hashlib.sha256(CONTENTS[WEIGHTS]).hexdigest()
    return folder / f"{WEIGHTS}.{digest[:12]}.{owner}.part"


def parts(folder: Path) -> list[Path]:
    """Return the partial files in a folder."""
    return sorted(folder.glob("*.part"))


def check_folder(folder: Path) -> None:
    """Assert that files have the right bytes, and that each has at most one partial file."""
    allowed = {".lock", *CONTENTS, *(f"{name}.verified" for name in CONTENTS)}
    left = {path.name for path in folder.iterdir()} - allowed
    assert all(name.endswith(".part") for name in left), left
    for name, content in CONTENTS.items():
        path = folder / name
        assert not path.exists() or path.read_bytes() == content
        found = sorted(folder.glob(f"{name}.*.part"))
        assert len(found) <= (0 if path.exists() else 1), found
