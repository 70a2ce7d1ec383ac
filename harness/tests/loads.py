"""The load engine against the stub server, each on its CPUs, for known-answer tests."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import histogram
from harness.companion import STUB, companion
from harness.drive import Driven, drive
from harness.machine import place, usable_cpus
from harness.model import Load, Timing
from harness.registry import load_registry

HARNESS = Path(__file__).parent.parent
PLACEMENT = place(usable_cpus())
SCENARIOS = load_registry().scenarios


@dataclass(frozen=True)
class Stub:
    url: str
    port: int
    pid: int = 0

    def counters(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        if self.url.startswith("https"):
            anyone = ssl._create_unverified_context()  # noqa: S323  our own server
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=5, context=anyone
            )
        connection.request("GET", "/__counters__")
        counters: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return counters


@contextmanager
def stub(folder: Path, *knobs: object, url: str = "", period_s: float = 0.5) -> Iterator[Stub]:
    """The stub on the server's CPUs; `url` to reach it otherwise than over TCP."""
    log = folder / f"stub-{next(_numbers)}.log"
    variables = {"GATEBENCH_PERIOD_NS": str(int(period_s * 1e9))}
    words = map(str, knobs)
    with companion(STUB, *words, log=log, cpus=PLACEMENT.server, variables=variables) as (
        port,
        tree,
    ):
        yield Stub(url.format(port=port) or f"http://127.0.0.1:{port}", port, tree.pid)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of our own for a minute, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate: apt-get install openssl")
    paths = folder / "cert.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    argv += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-out", *map(str, paths[:1])]
    subprocess.run([*argv, "-keyout", str(paths[1])], check=True, capture_output=True)
    return paths


def locustfile(folder: Path, *lines: str) -> Path:
    """A scenario of a test's own."""
    path = folder / f"scenario-{next(_numbers)}.py"
    path.write_text("\n".join(["from harness.load import *", *lines, ""]))
    return path


class Result:
    """What the engine recorded, as its tests ask for it."""

    def __init__(self, driven: Driven) -> None:
        self.driven = driven
        self.summary = driven.summary
        self.ticks = driven.ticks.to_pandas()
        self._latency = driven.latency.to_pandas()

    def histogram(self, measure: str = "response") -> pd.DataFrame:
        frame = self._latency
        selected: pd.DataFrame = frame[(frame["measure"] == measure) & (frame["second"] >= 0)]
        return selected

    def percentile(self, q: float, measure: str = "response") -> float:
        frame = self.histogram(measure)
        value = histogram.percentile_s(frame["bucket"].to_numpy(), frame["count"].to_numpy(), q)
        assert value is not None
        return value

    def mean(self, measure: str = "response") -> float:
        frame = self.histogram(measure)
        value = histogram.mean_s(frame["bucket"].to_numpy(), frame["count"].to_numpy())
        assert value is not None
        return value

    @property
    def errors(self) -> dict[str, int]:
        return {error["kind"]: error["count"] for error in self.summary["errors"]}


_numbers = iter(range(10_000))


def drive_stub(
    folder: Path, server: Stub, load: Load, *, scenario: str = "hello",
    warmup_s: float = 0.0, duration_s: float = 3.0, file: Path | None = None, seed: int = 1,
) -> Result:  # fmt: skip
    """Drive the stub to the end of the window."""
    row = SCENARIOS[scenario]
    if file is not None:
        row = replace(row, file=file)
    with drive(
        row, load, Timing(warmup_s, duration_s), url=server.url,
        work=folder / f"drive-{next(_numbers)}", cpus=PLACEMENT.generator, seed=seed,
    ) as driving:  # fmt: skip
        for _ in driving.watch():
            continue
        return Result(driving.result())


def queue_responses(due_s: Any, service_s: Any) -> Any:
    """Response times of a station that serves one at a time, in order (Lindley 1952)."""
    finish = 0.0
    responses = np.empty(len(due_s))
    for index, (due, service) in enumerate(zip(due_s, service_s, strict=True)):
        finish = max(finish, due) + service
        responses[index] = finish - due
    return responses
