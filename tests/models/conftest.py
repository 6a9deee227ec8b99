"""A faulty server for all tests of downloading."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.faulty_server import FaultyServer
from tests.helpers.model_files import CONTENTS


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(CONTENTS) as running:
        yield running
