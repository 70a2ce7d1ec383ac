"""More CPU for each request, on purpose: `uvicorn+cpu=5%` is uvicorn with a known regression.

It proves that a comparison would find one. The app burns it itself, within its request:
`cpu=5%` is 5 % of the CPU time that the app's own process spends on each request otherwise, which
the app goes on measuring while it serves (see apps/burn.py), so that it needs no calibration
beforehand and holds on each machine, server and scenario; `cpu=12us` is that time. Only the raw
apps can: what a framework costs would hide in it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from harness.model import App, ConfigurationError, Injection

VARIABLE = "GATEBENCH_BURN"
ENDS_SO = re.compile(r"(?P<server>.*)\+(?P<injection>\w*=.*)")
WRITTEN = re.compile(r"cpu=(\d+(?:\.\d+)?)(%|us|ms)")
SECONDS = {"us": 1e-6, "ms": 1e-3}
MOST_SHARE, MOST_S = 10.0, 1.0


def split_injection(word: str) -> tuple[str, Injection | None]:
    """A server's word without its injection, and that; ConfigurationError if it makes no sense."""
    match = ENDS_SO.fullmatch(word)
    if match is None:
        return word, None
    return match["server"], parse_injection(match["injection"])


def parse_injection(text: str) -> Injection:
    """Read `cpu=5%` or `cpu=12us`."""
    match = WRITTEN.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"{text!r} is not an injection; write cpu=5%, a share of the CPU of each request, "
            "or cpu=12us"
        )
    number, unit = float(match[1]), match[2]
    made = Injection(text, seconds=number * SECONDS.get(unit, 0.0))
    if unit == "%":
        made = Injection(text, share=number / 100)
    if not number or made.share > MOST_SHARE or made.seconds > MOST_S:
        raise ConfigurationError(f"{text!r} must be above 0, and at most 1000% or {MOST_S:g} s")
    return made


def inject(injection: Injection | None, app: App) -> App:
    """The app, told what to burn; ConfigurationError if it cannot."""
    if injection is None:
        return app
    if not app.burns:
        raise ConfigurationError(
            f"+{injection.text} goes with the raw apps, wsgi and asgi; app {app.name} cannot burn"
        )
    burn = f"{injection.share}" if injection.share else f"{round(injection.seconds * 1e9)}ns"
    return replace(app, variables={**app.variables, VARIABLE: burn})
