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
# # Results of a run
#
# Who is best for each kind of work, what does it cost, and what is not to be trusted?
#
# A filled bar is `valid` or `server-limited`; a **hollow** one may not be ranked: the generator was
# the limit, no steady state was reached, or the figures contradict each other. Bars are medians of
# the trials, whiskers go from the least trial to the greatest.

# %% tags=["parameters"]
run: str = ""  # a run's folder, or its name in `results`; "" is the newest
results: str = "../results"  # where runs are kept
scenario: str = ""  # one kind of work; "" is all

# %%
import pandas as pd
import show
from standing import standing, unjudged

from harness import load_run

# %%
with show.readable():
    measured = load_run(run or None, results)
    cells, comparisons = show.defended(measured.cells), measured.comparisons

if cells.empty:
    show.stop("The run holds no trial: it ended before the first one was stored.")
if scenario and scenario not in set(cells["scenario"]):
    there = show.names(cells["scenario"])
    show.stop(f"The run has no scenario {show.code(scenario)}; it has {there}.")
if scenario:
    cells = cells[cells["scenario"] == scenario]
    comparisons = comparisons[comparisons["scenario"] == scenario]

facts = measured.run.facts
machine = facts["machine"]
show.say(
    f"Run {show.code(measured.run.path.name)}: {show.plural(len(cells), 'cell')} in "
    f"{show.plural(facts['blocks'], 'block')}, {facts['timing']['duration_s']:g} s each after "
    f"{facts['timing']['warmup_s']:g} s of warm-up.",
    f"Machine: {show.plain(str(machine['cpu']))}, {len(machine['cpus_usable'])} CPUs, Python "
    f"{show.plain(str(machine['python']))}.",
)
if (cells["verdict"] == "failed").all():
    show.table(cells[["server", "scenario", "verdict", "reasons"]])
    show.stop("Every cell of the run failed; the table above says why.")

# %% [markdown]
# ## Figures

# %%
for title, group in show.loads(cells):
    speed = "p50_s" if group["latency_measure"].iloc[0] == "delay" else "throughput_per_s"
    drawn = group.sort_values(speed, ascending=speed == "p50_s", na_position="last")
    figure, panels = show.rows(4, len(drawn))
    figure.suptitle(title)
    show.bars(panels[0], drawn, "throughput_per_s")
    panels[0].set_xlabel("right answers per second")
    show.spans(panels[1], drawn)
    show.bars(panels[2], drawn, "server_cpu_s_per_1k", 1e3)
    panels[2].set_xlabel("CPU per 1,000 answers, ms")
    show.bars(panels[3], drawn, "server_pss_bytes", 2**-20)
    panels[3].set_xlabel("memory (PSS), MiB")
    show.figure(figure, f"{title}: throughput, latency, CPU and memory of {len(drawn)} servers")

# %% [markdown]
# ## Table

# %%
for title, group in show.loads(cells):
    show.heading(title)
    show.table(
        pd.DataFrame(
            {
                "server": group["who"],
                "req/s": group["throughput_per_s"],
                "p50": group["p50_s"],
                "p90": group["p90_s"],
                "p99": group["p99_s"],
                "errors": group["errors"],
                "CPU/1k": group["server_cpu_s_per_1k"],
                "memory": group["server_pss_bytes"],
                "verdict": group["verdict"],
            }
        ).sort_values("req/s", ascending=False, na_position="last"),
        req_s=show.rate,
        p50=show.seconds,
        p90=show.seconds,
        p99=show.seconds,
        CPU_1k=show.seconds,
        memory=show.memory,
        errors=show.count,
    )

# %% [markdown]
# ## Conclusion

# %%


def crowd(group: pd.DataFrame) -> str:
    """What the latencies of servers at their limit are; empty if none was."""
    full = group[group["verdict"] == "server-limited"]
    if full.empty:
        return ""
    return (
        f"{show.names(full['who'])} reached the limit: that latency is the queue of all users, not "
        "what a visitor of a quiet server waits. `--rate` measures that."
    )


judgements = dict(show.loads(comparisons))
for title, group in show.loads(cells):
    compared = judgements.get(title, comparisons.iloc[:0])
    by_events = group["latency_measure"].iloc[0] == "delay"
    headline = "p50" if by_events or group["model"].iloc[0] == "open" else "throughput"
    show.heading(title)
    show.say(
        *(standing(group, compared, metric) for metric in (headline, "cpu", "memory")),
        unjudged(group, compared),
        crowd(group) if headline == "throughput" else "",
    )

# %% [markdown]
# ## What is not to be trusted

# %%
doubtful = cells[~cells["verdict"].isin(show.RANKED)]
failing = cells[cells["verdict"].isin(show.RANKED) & (show.numbers(cells["errors"]) > 0)]
show.say(
    f"{len(doubtful)} of {len(cells)} cells may not be ranked; the table says why."
    if len(doubtful)
    else f"All {len(cells)} cells are valid or server-limited.",
    f"Requests failed in {len(failing)} of the others: {show.names(failing['server'])}."
    if len(failing)
    else "No request failed in a cell that is ranked.",
    "The run came to its end."
    if measured.run.ended == "complete"
    else f"The run did not come to its end ({show.plain(measured.run.ended)}): what it lacks is "
    "not shown here.",
    "Server and generator had CPUs of their own."
    if facts["placement"].get("disjoint")
    else "Server and generator shared CPUs: each slowed the other down.",
)
if len(doubtful):
    show.table(doubtful[["server", "scenario", "verdict", "reasons"]])
noisy = cells[cells["disturbances"].map(len) > 0]
if len(noisy):
    show.say("The machine was not quiet, which may explain differences between trials:")
    show.table(noisy[["server", "scenario", "disturbances"]])
