"""Download the small model: ``python -m ...download_child HOME URL [FILE_SIZE_LIMIT]``."""

from __future__ import annotations

import os
import sys

from colorcv.errors import DownloadError
from colorcv.models import download
from colorcv.models.transfer import downloader
from tests.helpers.model_files import CONTENTS, NAME, register


def main(home: str, base: str, limit: str = "") -> int:
    os.environ.update(COLORCV_HOME=home, COLORCV_OFFLINE="0", no_proxy="*")
    downloader._check_opencv = lambda model: None  # importing cv2 is slow and not tested here
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    register({name: [f"{base}/{name}"] for name in CONTENTS})
    print("ready", flush=True)  # noqa: T201
    try:
        download(NAME)
    except DownloadError as err:
        print(err)  # noqa: T201
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
