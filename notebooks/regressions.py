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
# # Several runs over time: what has changed?
#
# Each server is shown as a ratio to a *reference server of the same run*: what the machine did to
# all of them cancels. A vertical line marks a step: the 99 % intervals of two runs that follow each
# other do not overlap, and the ratio changed by 5 % or more. One run alone is at most *suspect*;
# `gatebench history` judges many.
#
# Runs of different machines are never put together: those of the newest run's machine are shown.

# %% tags=["parameters"]
run: str = ""  # the newest run to look at; "" is the newest of all
results: str = "../results"  # where runs are kept
runs: str = ""  # names or folders of runs, with commas between; "" is all of `results`
reference: str = ""  # the server to divide by; "" is the one that most runs have
metric: str = "throughput_per_s"  # or p50_s, p90_s, p99_s, server_cpu_s_per_1k, server_pss_bytes
last: int = 40  # runs at most, the newest

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import show
from ratios import METRICS, SERIES, changed, machine_class, ratios, steps, usual_reference

from harness import UnreadableRunError, load_run, load_runs

FEW = 21  # points; with less, history calls its state "collecting"

# %%
if metric not in METRICS:
    show.stop(f"There is no metric {show.code(metric)}; there are {show.names(METRICS)}.")

with show.readable():
    newest = load_run(run or None, results).run
if runs:
    paths = [Path(name.strip()) for name in runs.split(",") if name.strip()]
else:
    paths = sorted(path.parent for path in newest.path.parent.glob("*/run.json"))
    paths = [path for path in paths if path.name <= newest.path.name]

known, unreadable = [], []
for path in paths:
    try:
        known.append(load_run(path, results).run)
    except UnreadableRunError as error:
        unreadable.append(str(error))
alike = [
    it for it in known
    if machine_class(it.facts["machine"]) == machine_class(newest.facts["machine"])
][-last:]  # fmt: skip
show.say(f"{len(alike)} runs of this machine, the newest {show.code(newest.path.name)}.")
if len(known) > len(alike):
    show.say(
        f"{len(known) - len(alike)} runs are of other machines, or older than the last {last}."
    )
for line in unreadable:
    show.say(f"Left out: {show.plain(line)}")
if not alike:
    show.stop("No run can be read.")

# %%
with show.readable():
    trials = show.defended(load_runs([it.path for it in alike]).trials)
reference = reference or usual_reference(trials) or ""
if not reference:
    show.stop(
        "No run has two servers that may be ranked under the same load, so there is no ratio. "
        "One that has: `gatebench run uvicorn gunicorn-uvicorn --blocks 8`"
    )
if reference not in set(trials["server"]):
    show.stop(
        f"No run has the server {show.code(reference)}; there are {show.names(trials['server'])}."
    )
found = ratios(trials, reference, metric)
if found.empty:
    show.stop(
        f"In no run could another server be divided by {show.code(reference)}: both need a trial "
        "that may be ranked, in the same block and under the same load."
    )
show.say(f"Divided by {show.code(reference)} of the same run and block: {show.code(metric)}.")

# %% [markdown]
# ## Ratios over time
#
# A mark without a whisker is of a single block: it has no interval, and nothing is said of it.

# %%
order = [it.path.name for it in alike]
created = {it.path.name: str(it.facts.get("created", ""))[:16].replace("T", " ") for it in alike}
marked = []
for title, load in show.loads(found):
    figure, panel = plt.subplots(figsize=(11, 4.2))
    for number, (_, rows) in enumerate(load.groupby(SERIES, sort=False, dropna=False)):
        series = rows.sort_values("run", key=lambda names: names.map(order.index))
        at = series["run"].map(order.index).to_numpy()
        ratio, low, high = (show.numbers(series[name]) for name in ("ratio", "low", "high"))
        color = plt.get_cmap("tab10")(number % 10)
        panel.plot(at, ratio, color=color, linewidth=1, label=series["who"].iloc[0])
        single = np.isnan(low)
        panel.vlines(at[~single], low[~single], high[~single], color=color, linewidth=1)
        panel.scatter(at[~single], ratio[~single], 22, color=color, zorder=3)
        panel.scatter(at[single], ratio[single], 22, "white", edgecolors=color, zorder=3)
        stepped = steps(series)
        for place in stepped["run"].map(order.index):
            panel.axvline(place - 0.5, color=show.RED, linestyle=":", linewidth=1.2)
        marked.append(stepped)
    panel.axhline(1, color=show.INK, linewidth=1)
    panel.set_yscale("log")
    show.few(panel.yaxis, [1.0, *show.numbers(load["ratio"])])
    panel.set_xticks(range(len(order)), [created[name] for name in order], rotation=35, ha="right")
    panel.set_xlim(-0.5, len(order) - 0.5)
    panel.set_title(title)
    panel.set_ylabel(f"{metric} / that of {reference}"[:60])
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    show.figure(figure, f"{title}: {metric} of each server over that of {reference}, by run")

# %% [markdown]
# ## Table

# %%
for _title, load in show.loads(found):
    show.table(
        pd.DataFrame(
            {
                "run": load["run"],
                "scenario": load["scenario"],
                "server": load["who"],
                "ratio": load["ratio"],
                "low": load["low"],
                "high": load["high"],
                "pairs": load["pairs"],
            }
        ),
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
kernels = {it.path.name: str(it.facts["machine"].get("kernel")) for it in alike}


def why(step: pd.Series) -> str:
    """What else changed between the two runs, as far as they say."""
    own = changed(step["versions_before"], step["versions"])
    base = changed(step["reference_versions_before"], step["reference_versions"])
    said = []
    if own:
        said.append(f"its versions changed: {show.names(own)}")
    if base:
        said.append(f"so did the reference's, which may be all of it: {show.names(base)}")
    if kernels[step["before"]] != kernels[step["run"]]:
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
        f"{show.code(step['who'])} ({show.plain(step['scenario'])}): {metric} went "
        f"{'up' if step['change'] > 0 else 'down'} by {show.share(abs(step['change']))} from run "
        f"{show.code(step['before'])} to {show.code(step['run'])}, against the reference; "
        f"{why(pd.Series(step))}."
    )
for name, together in {str(key): rows for key, rows in marks.groupby("run")}.items():
    there = found[found["run"] == name]
    if len(there) > 2 and len(together) > len(there) / 2:
        show.say(
            f"{len(together)} of {len(there)} series step in run {show.code(name)}: that is one "
            f"event, most likely of the reference {show.code(reference)} or the machine."
        )
if followed.max() >= 2 and followed.max() < FEW:
    show.say(
        f"With {followed.max()} runs of a series at most, this is collecting: from {FEW} on a "
        "change can be called one. A step of the newest run asks for one more, and fails no gate."
    )
