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
# # Blocking I/O: who overlaps the waits?
#
# Each request waits for something, as for a query or another service. A server's throughput is then
# decided by how many waits it has under way at once: its *effective concurrency*, throughput x wait
# (Little's law). A worker process that serves one request at a time has one slot; threads are slots
# as well; greenlets and tasks of an event loop are bounded by memory alone. A call that *blocks*
# inside an event loop takes all of that away.
#
# A suitable run: `gatebench run gunicorn-sync gunicorn-gthread gunicorn-gevent waitress uvicorn
# --scenario 'blocking-*,upstream'`

# %% tags=["parameters"]
run: str = ""  # a run's folder, or its name in `results`; "" is the newest
results: str = "../results"  # where runs are kept
scenario: str = ""  # one kind of work; "" is all that wait

# %%
import numpy as np
import pandas as pd
import show

from harness import load_run

SUITABLE = (
    "`gatebench run gunicorn-sync gunicorn-gthread gunicorn-gevent waitress uvicorn "
    "--scenario 'blocking-*,upstream'`"
)
FULL = 0.9  # of its slots occupied: then they are the limit, and no less is claimed

# %%
with show.readable():
    measured = load_run(run or None, results)
    cells = measured.cells

# an answer after an event is no answer after a wait
waiting = cells[(show.numbers(cells["wait_s"]) > 0) & (cells["latency_measure"] == "response")]
if waiting.empty:
    show.stop(f"No scenario of this run waits. One that does: {SUITABLE}")
if scenario and scenario not in set(waiting["scenario"]):
    there = show.names(waiting["scenario"])
    show.stop(f"The run has no scenario {show.code(scenario)} that waits; it has {there}.")
if scenario:
    waiting = waiting[waiting["scenario"] == scenario]
if (waiting["verdict"] == "failed").all():
    show.table(waiting[["server", "scenario", "verdict", "reasons"]])
    show.stop("Every cell that waits failed; the table above says why.")

# %%
wait_s, users = show.numbers(waiting["wait_s"]), show.numbers(waiting["users"])
slots = show.numbers(waiting["slots"])
most = np.where(np.isfinite(slots), np.minimum(slots, users), users)
waiting = waiting.assign(
    overlapped=show.numbers(waiting["throughput_per_s"]) * wait_s,
    possible=most,
    limit_per_s=most / wait_s,
    used_share=show.numbers(waiting["throughput_per_s"]) * wait_s / most,
)
for end in ("low", "high"):
    waiting[f"overlapped_{end}"] = show.numbers(waiting[f"throughput_per_s_{end}"]) * wait_s
show.say(
    f"Run {show.code(measured.run.path.name)}: {len(waiting)} cells that wait, "
    f"{show.plural(measured.run.facts['blocks'], 'block')}."
)

# %% [markdown]
# ## Effective concurrency, throughput and latency
#
# The mark `|` is what was possible at most: the slots that workers and threads promise, or the
# users where there are fewer. Hollow bars may not be ranked.

# %%
for title, group in show.loads(waiting):
    drawn = group.sort_values("overlapped", ascending=False, na_position="last")
    figure, panels = show.rows(3, len(drawn))
    figure.suptitle(title)
    for panel, column, limit, what in (
        (panels[0], "overlapped", "possible", "waits under way at once"),
        (panels[1], "throughput_per_s", "limit_per_s", "right answers per second"),
    ):
        show.bars(panel, drawn, column)
        panel.scatter(drawn[limit], np.arange(len(drawn)), 160, show.RED, marker="|", zorder=3)
        panel.set_xlabel(f"{what}; | possible")
    show.spans(panels[2], drawn)
    show.figure(figure, f"{title}: waits under way at once, throughput and latency")

# %% [markdown]
# ## Table

# %%
for title, group in show.loads(waiting):
    show.heading(title)
    show.table(
        pd.DataFrame(
            {
                "server": group["who"],
                "served by": group["concurrency"],
                "slots": show.numbers(group["slots"]),
                "at once": group["overlapped"],
                "of possible": group["used_share"],
                "req/s": group["throughput_per_s"],
                "limit/s": group["limit_per_s"],
                "p50": group["p50_s"],
                "p99": group["p99_s"],
                "verdict": group["verdict"],
            }
        ).sort_values("at once", ascending=False, na_position="last"),
        slots=show.count,
        at_once=show.number,
        of_possible=show.share,
        req_s=show.rate,
        limit_s=show.rate,
        p50=show.seconds,
        p99=show.seconds,
    )

# %% [markdown]
# ## Conclusion

# %%


def each(group: pd.DataFrame, column: str) -> str:
    """The servers, each with how many waits it had under way, of how many."""
    return ", ".join(
        f"{show.code(row['who'])} ({show.number(row['overlapped'])} of {row[column]:g})"
        for row in group.to_dict("records")
    )


def occupied(group: pd.DataFrame) -> list[str]:
    """Sentences on the slots of the servers under one load."""
    ranked = group[group["verdict"].isin(show.RANKED)]
    left_out = len(group) - len(ranked)
    if ranked.empty:
        return ["How many waits overlap cannot be told: no trial may be ranked."]
    open_load = ranked["model"].iloc[0] == "open"
    bounded = np.isfinite(show.numbers(ranked["slots"]))
    crowded = show.numbers(ranked["slots"]) < show.numbers(ranked["users"])
    full = show.numbers(ranked["used_share"]) >= FULL
    found = []
    if len(some := ranked[bounded & crowded & full]):
        found.append(
            f"The slots were waiting nearly all the time: {each(some, 'slots')}. More slots would "
            "do more; more users only wait longer."
        )
    if len(some := ranked[bounded & ~(crowded & full)]) and open_load:
        found.append(f"Slots stayed free at this rate: {each(some, 'slots')}.")
    elif len(some):
        found.append(
            f"Slots were free at times: {each(some, 'possible')}. Something else was the limit, "
            "such as its CPU; this run does not tell which unless its verdict does."
        )
    if len(some := ranked[~bounded & full]) and not open_load:
        found.append(
            f"The waits of nearly all users were under way at once: {each(some, 'users')}. How "
            "many these servers overlap at most, more `--users` would tell."
        )
    if len(some := ranked[~bounded & ~full]) and not open_load:
        found.append(f"Without a bound of their own, and yet not all: {each(some, 'users')}.")
    elif len(some) and open_load:
        found.append(f"Under way at this rate: {each(some, 'users')}.")
    if left_out:
        found.append(f"{left_out} of {len(group)} cells may not be ranked and are left out here.")
    return found


for title, group in show.loads(waiting):
    show.heading(title)
    show.say(*occupied(group))

# %% [markdown]
# ### What other ways to wait cost
#
# The same server under the same load, once waiting as its kind of app does (`blocking-io`) and
# once otherwise: blocking inside the event loop, handing the call to a thread, asking an upstream.

# %%
OTHERWISE = {
    "blocking-in-loop": "Blocking inside the event loop",
    "blocking-in-thread": "Handing the call to a thread",
    "upstream": "Asking a real upstream",
}
SAME = [*show.SERVER, "model", "users", "rate_per_s", "arrivals"]
ranked = waiting[waiting["verdict"].isin(show.RANKED)]
usual = ranked[ranked["scenario"] == "blocking-io"]
for name, what in OTHERWISE.items():
    pairs = ranked[ranked["scenario"] == name].merge(usual, on=SAME, suffixes=("", "_usual"))
    if name not in set(waiting["scenario"]):
        show.say(f"{what}: not in this run. It would be with {SUITABLE}.")
    elif pairs.empty:
        show.say(f"{what}: what it costs cannot be told, for want of a pair that may be ranked.")
    else:
        show.say(
            *(
                f"{what}, {show.code(row['server'])} answered {show.rate(row['throughput_per_s'])} "
                f"where it otherwise did {show.rate(row['throughput_per_s_usual'])}: "
                f"{show.share(row['throughput_per_s'] / row['throughput_per_s_usual'])} of that, "
                f"with {show.number(row['overlapped'])} waits under way instead of "
                f"{show.number(row['overlapped_usual'])}."
                for row in pairs.to_dict("records")
            )
        )
if waiting["used"].max() < 6:
    show.say(
        "With fewer than 6 trials of each these are numbers and no verdicts on small differences."
    )
