"""The kernel that a notebook is executed in: a process of ours, which ends with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.client import KernelClient
from jupyter_client.manager import KernelManager

# debugpy would warn of a debugger that nobody wants
VARIABLES = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}


class Kernel(KernelManager):
    """A kernel that knows who speaks to it, as nbclient closes only what it opened itself."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.spoken_to_by: list[KernelClient] = []

    def client(self, **traits: Any) -> Any:
        """One more that speaks to it."""
        made = super().client(**traits)
        self.spoken_to_by.append(made)
        return made


@contextmanager
def kernel(folder: Path, work: Path) -> Iterator[Kernel]:
    """A kernel of this Python that works in `folder`; gone on exit, however that comes.

    It is spoken to over unix sockets in `work`, where its log is, too: a TCP port would be open
    to every user of the machine.
    """
    made = Kernel(
        kernel_name="python3", transport="ipc", ip=str(work / "kernel"),
        connection_file=str(work / "kernel.json"),
        # nbclient waits for answers in a loop, in which it also looks whether the kernel lives
        client_class="jupyter_client.asynchronous.AsyncKernelClient",
    )  # fmt: skip
    with (work / "kernel.log").open("wb") as log:
        try:
            made.start_kernel(cwd=str(folder), env=os.environ | VARIABLES, stdout=log, stderr=log)
            yield made
        finally:
            for client in made.spoken_to_by:
                client.stop_channels()
            made.shutdown_kernel(now=True)
