"""Tests of the registry's data, which all versions of the library share."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import get_args
from urllib.parse import unquote, urlsplit

import pytest

import colorcv
from colorcv._typing import ModelName
from colorcv.models.registry import MODELS, Model, ModelFile
from colorcv.models.settings import model_folder

EVERY_FILE = [
    pytest.param(model, file, id=f"{model.name}-{file.name}")
    for model in MODELS.values()
    for file in model.files
]


def test_zhang2016_is_the_published_model() -> None:
    """Names, sizes and hashes never change, because all versions share one cache folder."""
    assert [(file.name, file.size, file.sha256) for file in MODELS["zhang2016"].files] == [
        (
            "colorization_deploy_v2.prototxt",
            9_945,
            "d16418cef8df4ccd703a55ae0ef3960861d5010418f77c90d0a47689998a7169",
        ),
        (
            "pts_in_hull.npy",
            5_088,
            "b5dec01315c34f43f1c8c089e84c45ae35d1838d8e77ed0e7ca930f79ffa450e",
        ),
        (
            "colorization_release_v2.caffemodel",
            128_946_764,
            "f5af1e602646328c792e1094f9876fe9cd4c09ac46fa886e5708a1abc89137b1",
        ),
    ]


@pytest.mark.parametrize(("model", "file"), EVERY_FILE)
def test_the_entry_of_a_file_is_valid(model: Model, file: ModelFile) -> None:
    assert file.size > 0
    assert len(bytes.fromhex(file.sha256)) == 32
    assert file.sha256 == file.sha256.lower()
    # The name must be a valid file name on every system.
    assert Path(file.name).name == file.name
    assert not set(file.name) & set('<>:"/\\|?*[]')
    assert bool(file.urls) != model.bundled
    assert len(set(file.urls)) == len(file.urls)
    for url in file.urls:
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https")
        assert unquote(parts.path).endswith(f"/{file.name}")


@pytest.mark.parametrize("name", MODELS)
def test_the_entry_of_a_model_is_valid(name: str) -> None:
    model = MODELS[name]
    assert name == model.name
    assert name.isidentifier()
    assert model.description
    assert model.licence
    assert len({file.name.lower() for file in model.files}) == 3


def test_the_copies_in_tests_data_are_the_registered_files(data: Path) -> None:
    for file in (MODELS["zhang2016"].prototxt, MODELS["zhang2016"].centers):
        content = (data / file.name).read_bytes()
        assert len(content) == file.size
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_type_checkers_know_every_model() -> None:
    assert set(get_args(ModelName)) == set(MODELS)


def test_model_and_file_info_are_public() -> None:
    (info,) = (each for each in colorcv.models() if each.name == "lite")
    assert isinstance(info, colorcv.ModelInfo)
    assert all(isinstance(file, colorcv.FileInfo) for file in info.files)


def test_the_notice_of_lite_names_existing_files_and_their_hashes() -> None:
    model, folder = MODELS["lite"], model_folder(MODELS["lite"])
    notice = (folder / "NOTICE.md").read_text(encoding="utf-8")
    names = re.findall(r"`([\w/.-]+\.(?:prototxt|caffemodel|npy|npz|txt|md))`", notice)
    assert {file.name for file in model.files} <= set(names)
    root = Path(__file__).parents[2]
    missing = [name for name in names if not any((at / name).exists() for at in (folder, root))]
    assert missing == []
    for file in (model.prototxt, model.caffemodel):
        assert f"{file.name} {file.sha256}" in notice
