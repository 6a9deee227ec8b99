"""The known models: names, sizes, hashes and URLs of their files. Data only.

An entry never changes once it is released: a changed file gets a new file name, so that all
versions of the library can share one cache folder.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODELS", "Model", "ModelFile"]


@dataclass(frozen=True)
class ModelFile:
    """A file of a model: size in bytes, SHA-256, and the URLs to download it from, best first."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A model of three files, which are bundled with the package or downloaded.

    `default_saturation` is the factor on the network's ab that ``saturation=1.0`` stands for.
    """

    name: str
    description: str
    licence: str
    prototxt: ModelFile
    centers: ModelFile
    caffemodel: ModelFile
    bundled: bool = False
    default_saturation: float = 1.0

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The files, small ones first, so that errors show before the long download."""
        return (self.prototxt, self.centers, self.caffemodel)


_AUTHOR = "https://raw.githubusercontent.com/richzhang/colorization/caffe"
_SPACE = "https://huggingface.co/spaces/BilalSardar/Black-N-White-To-Color/resolve/main"
_CENTERS_SHA256 = "b5dec01315c34f43f1c8c089e84c45ae35d1838d8e77ed0e7ca930f79ffa450e"

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="zhang2016",
            description="Zhang, Isola, Efros: Colorful Image Colorization (ECCV 2016), 224x224",
            licence="BSD 2-Clause, Copyright (c) 2016 Richard Zhang, Phillip Isola, "
            "Alexei A. Efros",
            prototxt=ModelFile(
                name="colorization_deploy_v2.prototxt",
                size=9_945,
                sha256="d16418cef8df4ccd703a55ae0ef3960861d5010418f77c90d0a47689998a7169",
                urls=(
                    f"{_AUTHOR}/colorization/models/colorization_deploy_v2.prototxt",
                    f"{_AUTHOR}/models/colorization_deploy_v2.prototxt",
                    f"{_SPACE}/colorization_deploy_v2.prototxt",
                ),
            ),
            centers=ModelFile(
                name="pts_in_hull.npy",
                size=5_088,
                sha256=_CENTERS_SHA256,
                urls=(
                    "https://github.com/richzhang/colorization/raw/caffe/colorization/resources/"
                    "pts_in_hull.npy",
                    f"{_AUTHOR}/resources/pts_in_hull.npy",
                    f"{_SPACE}/pts_in_hull.npy",
                ),
            ),
            caffemodel=ModelFile(
                name="colorization_release_v2.caffemodel",
                size=128_946_764,
                sha256="f5af1e602646328c792e1094f9876fe9cd4c09ac46fa886e5708a1abc89137b1",
                urls=(
                    "https://github.com/spmallick/learnopencv/releases/download/Colorization/"
                    "colorization_release_v2.caffemodel",
                    f"{_SPACE}/colorization_release_v2.caffemodel",
                    "https://huggingface.co/spaces/viveknarayan/Image_Colorization/resolve/main/"
                    "colorization_release_v2.caffemodel",
                    "https://www.dropbox.com/s/dx0qvhhp5hbcx7z/colorization_release_v2.caffemodel"
                    "?dl=1",
                    "https://github.com/EnoxSoftware/OpenCVForUnityExampleAssets/releases/download/"
                    "dnn%2FColorizationExample/colorization_release_v2.caffemodel",
                    # The author's own host has been down or unreliable for years, so it comes last.
                    "http://eecs.berkeley.edu/~rich.zhang/projects/2016_colorization/files/demo_v2/"
                    "colorization_release_v2.caffemodel",
                ),
            ),
        ),
        Model(
            name="lite",
            description="small and fast, made for this library by the same method, 192x192",
            licence="encoder: Apache-2.0 (EfficientNet-Lite0); centres: BSD 2-Clause (Zhang et "
            "al. 2016); see NOTICE.md beside the files",
            prototxt=ModelFile(
                name="colorcv_lite_v3.prototxt",
                size=16_435,
                sha256="82f70f7191ecd90feb9d09455281a3841bbbe9903f5ffcd75184c54fc7bab993",
            ),
            centers=ModelFile(name="pts_in_hull.npy", size=5_088, sha256=_CENTERS_SHA256),
            caffemodel=ModelFile(
                name="colorcv_lite_v3.caffemodel",
                size=6_561_371,
                sha256="1945c542ae578d45796908de438aa74f4ab139e48bf1327d9bc38c2319f79206",
            ),
            bundled=True,
            # It was trained to be used with this factor: with it, its results have 0.85 of the
            # originals' colourfulness (NOTICE.md beside the files).
            default_saturation=1.4,
        ),
    )
}
