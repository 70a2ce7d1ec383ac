# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Over releases and over time: what has changed?
#
# First what releases did, from runs that measured several versions of a server beside each other;
# then several runs over time. Each server is shown as a ratio to a *reference server of the same
# run*: what the machine did to all of them cancels. A vertical line marks a step: the 99 %
# intervals of two runs that follow each other do not overlap, and the ratio changed by 5 % or more.
# One run alone is at most *suspect*; `gatebench history` judges many.
#
# Runs of different machines are never put together: those of the newest run's machine are shown.

# %% tags=["parameters"]
run: str = ""  # the newest run to look at; "" is the newest of all
results: str = "../results"  # where runs are kept
runs: str = ""  # names or folders of runs, with commas between; "" is all of `results`
reference: str = ""  # the server to divide by; "" is of each load the first beside others
metric: str = "throughput_per_s"  # or p50_s, p90_s, p99_s, server_cpu_s_per_1k, server_pss_bytes
last: int = 40  # runs at most, the newest
releases: str = "../results/releases"  # a history of versions; "" leaves them out

# %%
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import show
import versions
from ratios import LOAD, METRICS, SERIES, changed, ratios, steps

from harness import History, UnreadableRunError, load_run

LEAST_SPAN = 1.5  # of the axis of a panel of releases
FEW = 21  # points; with less, history calls its state "collecting"

# %%
if metric not in METRICS:
    show.stop(f"There is no metric {show.code(metric)}; there are {show.names(METRICS)}.")

# %% [markdown]
# ## Releases
#
# Each panel is a server: its releases, as a ratio to the reference server of the same run with
# the 99 % interval. Vertical lines mark releases that were told from the one before, after Holm's
# correction over all steps of a run's scenario. Machines are never mixed: each is shown alone.

# %%
published = History((), ())
if releases:
    with show.readable():
        published = History.load(releases)
if not published.records:
    show.say(f"No history of releases in {show.code(releases)}.")
for machine in published.machines:
    lineages = published.lineages(machine.id)
    measured = versions.releases(lineages)
    if measured.empty:
        continue
    show.say(f"On {show.plain(machine.text)}.")
    own = measured[(measured["metric"] == metric) & measured["value"].notna()]
    for (scenario, load), part in own.groupby(["scenario", "load"], sort=False):
        servers = list(dict.fromkeys(part["server"]))
        figure, axes = plt.subplots(
            1, len(servers), figsize=(2.6 * len(servers) + 0.6, 3.2), squeeze=False
        )
        for panel, server in zip(axes[0], servers, strict=True):
            rows = part[part["server"] == server].reset_index(drop=True)
            ratio = show.numbers(rows["ratio"])  # NaN leaves a gap
            low, high = show.numbers(rows["low"]), show.numbers(rows["high"])
            at = np.arange(len(rows))
            panel.plot(at, ratio, color=show.BLUE, linewidth=1, marker="o", markersize=4)
            panel.vlines(at, low, high, color=show.BLUE, linewidth=1)
            for place in at[rows["verdict"].isin(("better", "worse"))]:
                panel.axvline(place - 0.5, color=show.RED, linestyle=":", linewidth=1.2)
            panel.set_yscale("log")
            # noise is not to fill a panel: each spans a factor of LEAST_SPAN or more
            ends = np.log([it for it in (*ratio, *low, *high) if np.isfinite(it)] or [1.0])
            middle = (ends.min() + ends.max()) / 2
            half = max((ends.max() - middle) * 1.1, np.log(LEAST_SPAN) / 2)
            spanned = [float(it) for it in np.exp([middle - half, middle + half])]
            panel.set_ylim(*spanned)
            show.few(panel.yaxis, spanned)
            panel.set_xticks(at, rows["version"], rotation=60, ha="right")
            panel.set_title(server)
        axes[0][0].set_ylabel(f"{metric} / reference's")
        figure.suptitle(f"{scenario} ({load})")
        about = f"{scenario}: {metric} of {len(servers)} servers by release, over the reference's"
        show.figure(figure, about)
    sentences = list(versions.told(measured))
    show.say(*sentences or ["No release was told from the one before by any judged figure."])
    judged = measured[measured["judged"]]
    show.say(
        f"{len(judged)} steps were judged: {judged['verdict'].eq('equivalent').sum()} are "
        f"equivalent and {judged['verdict'].eq('inconclusive').sum()} cannot be told."
    )

# %% [markdown]
# ## Runs
#
# Runs of this folder, over time.

# %%
with show.readable():
    newest = load_run(run or None, results).run
if runs:
    paths = [Path(name.strip()) for name in runs.split(",") if name.strip()]
else:
    paths = sorted(path.parent for path in newest.path.parent.glob("*/run.json"))
    paths = [path for path in paths if path.name <= newest.path.name]

known: list[Any] = []
unreadable: list[str] = []
for path in paths:
    try:
        known += History.of([load_run(path, results)]).records
    except UnreadableRunError as error:
        unreadable.append(str(error))
for line in unreadable:
    show.say(f"Left out: {show.plain(line)}")
if not known:
    show.stop("No run can be read.")
machine = known[-1].machine_class
alike = [it for it in known if it.machine_class == machine][-last:]
show.say(f"{len(alike)} runs of this machine, the newest {show.code(alike[-1].run)}.")
if len(known) > len(alike):
    show.say(
        f"{len(known) - len(alike)} runs are of other machines, or older than the last {last}."
    )

# %%
entered = dict.fromkeys(cell.server for it in alike for cell in it.cells)
if reference and reference not in entered:
    show.stop(f"No run has the server {show.code(reference)}; there are {show.names(entered)}.")
series = History(tuple(alike), ()).series(machine.id, reference or None)
if not any(it.key.reference for it in series):
    show.stop(
        "No run has two servers under the same load, so there is no ratio. "
        "One that has: `gatebench run uvicorn gunicorn-uvicorn --blocks 8`"
    )
found = ratios(series, metric)
if found.empty:
    show.stop(
        "In no run could a server be divided by another: both need a trial that may be ranked, in "
        "the same block and under the same load."
    )
references = dict.fromkeys(it.key.reference for it in series if it.key.reference)
show.say(f"Divided by {show.names(references)} of the same run and block: {show.code(metric)}.")

# %% [markdown]
# ## Ratios over time
#
# A mark without a whisker is of a single block: it has no interval, and nothing is said of it.

# %%
order = [it.run for it in alike]
created = {it.run: it.created[:16].replace("T", " ") for it in alike}
marked = []
for (scenario, load), part in found.groupby(LOAD, sort=False):
    lines = part.groupby("server", sort=False)
    figure, panel = plt.subplots(figsize=(11, max(4.2, 0.22 * len(lines) + 0.8)))
    for number, (server, rows) in enumerate(lines):
        at = rows["run"].map(order.index).to_numpy()
        ratio, low, high = (show.numbers(rows[name]) for name in ("ratio", "low", "high"))
        color = plt.get_cmap("tab10")(number % 10)
        panel.plot(at, ratio, color=color, linewidth=1, label=server)
        single = np.isnan(low)
        panel.vlines(at[~single], low[~single], high[~single], color=color, linewidth=1)
        panel.scatter(at[~single], ratio[~single], 22, color=color, zorder=3)
        panel.scatter(at[single], ratio[single], 22, "white", edgecolors=color, zorder=3)
        stepped = steps(rows)
        for place in stepped["run"].map(order.index):
            panel.axvline(place - 0.5, color=show.RED, linestyle=":", linewidth=1.2)
        marked.append(stepped)
    panel.axhline(1, color=show.INK, linewidth=1)
    panel.set_yscale("log")
    show.few(panel.yaxis, [1.0, *show.numbers(part["ratio"])])
    panel.set_xticks(range(len(order)), [created[name] for name in order], rotation=35, ha="right")
    panel.set_xlim(-0.5, len(order) - 0.5)
    panel.set_title(f"{scenario} ({load})")
    panel.set_ylabel(f"{metric} / reference's")
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    show.figure(figure, f"{scenario}: {metric} of each server over the reference's, by run")

# %% [markdown]
# ## Table

# %%
for _, part in found.groupby(LOAD, sort=False):
    show.table(
        part[["run", "scenario", "server", "ratio", "low", "high", "pairs"]],
        ratio=show.ratio,
        low=show.ratio,
        high=show.ratio,
        pairs=show.count,
    )

# %% [markdown]
# ## Conclusion

# %%
marks = pd.concat(marked, ignore_index=True)
followed = found.groupby(SERIES, dropna=False)["run"].nunique()


def why(step: pd.Series) -> str:
    """What else changed between the two runs, as far as they say."""
    own = changed(step["versions_before"], step["versions"])
    base = changed(step["reference_versions_before"], step["reference_versions"])
    said = []
    if own:
        said.append(f"its versions changed: {show.names(own)}")
    if base:
        said.append(f"so did the reference's, which may be all of it: {show.names(base)}")
    if step["kernel_before"] != step["kernel"]:
        said.append("the kernel changed, too")
    return "; ".join(said) or (
        "no version changed, neither its own nor the reference's: look for what else did"
    )


if followed.max() < 2:
    show.say("Whether anything changed cannot be told: no server stands in two of these runs.")
elif show.numbers(found["pairs"]).max() < 2:
    show.say(
        "Whether anything changed cannot be told: every run has one block, which has no interval. "
        "`--blocks 8` gives one."
    )
elif marks.empty:
    widths = show.numbers(found["high"]) / show.numbers(found["ratio"]) - 1
    show.say(
        f"No step was found between runs, in {len(followed)} series of up to {followed.max()} "
        f"runs. Half of the intervals reach {show.share(float(np.nanmedian(widths)))} or less "
        "beyond their ratio: smaller changes would not be seen."
    )
for step in marks.to_dict("records"):
    show.say(
        f"{show.code(step['server'])} ({show.plain(step['scenario'])}): {metric} went "
        f"{'up' if step['change'] > 0 else 'down'} by {show.share(abs(step['change']))} from run "
        f"{show.code(step['before'])} to {show.code(step['run'])}, against the reference; "
        f"{why(pd.Series(step))}."
    )
for name, together in {str(key): rows for key, rows in marks.groupby("run")}.items():
    there = found[found["run"] == name]
    if len(there) > 2 and len(together) > len(there) / 2:
        show.say(
            f"{len(together)} of {len(there)} series step in run {show.code(name)}: that is one "
            f"event, most likely of the reference or the machine."
        )
if followed.max() >= 2 and followed.max() < FEW:
    show.say(
        f"With {followed.max()} runs of a series at most, this is collecting: from {FEW} on a "
        "change can be called one. A step of the newest run asks for one more, and fails no gate."
    )
