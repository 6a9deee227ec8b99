"""Coverage-guided fuzzing of the same targets with atheris."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

__all__ = ["run_guided"]


def run_guided(name: str, count: int, seed: int) -> int:
    """Run `count` inputs; libFuzzer writes a finding to the current folder and exits."""
    import atheris

    from tests.fuzz.run import run_input
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    for module in target.instrumented:
        _instrument(atheris, module)
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    path = folder / "input"

    def test(data: bytes) -> None:
        path.write_bytes(data)
        _, problem, _ = run_input(target, path)
        # Instrumented code is several times slower, so its times are not findings.
        if problem and not problem.endswith(" s"):
            raise AssertionError(problem)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        """Mutate with libFuzzer, or with the target's own mutation, which keeps the format."""
        rng = random.Random(seed)
        if target.mutate is None or rng.random() < 0.2:
            return atheris.Mutate(data, max_size)
        try:
            return target.mutate(rng, data)[:max_size]
        except (IndexError, ValueError):  # no longer in the format
            return atheris.Mutate(data, max_size)

    corpus = folder / "corpus"
    corpus.mkdir()
    for index in range(200):
        (corpus / str(index)).write_bytes(target.make(random.Random(f"{seed}/{index}")))
    options = [f"-runs={count}", f"-seed={seed + 1}", "-max_len=65536", "-timeout=20"]
    options += ["-rss_limit_mb=1024", "-verbosity=1", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *options], test, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def _instrument(atheris, name: str) -> None:  # type: ignore[no-untyped-def]
    """Add coverage counters to every function of an imported module."""
    module = sys.modules[name]
    for owner in (module, *(v for v in vars(module).values() if isinstance(v, type))):
        for value in list(vars(owner).values()):
            if callable(value) and getattr(value, "__module__", "") == name and (
                hasattr(value, "__code__")
            ):  # fmt: skip
                value.__code__ = atheris.instrument_func(value).__code__
