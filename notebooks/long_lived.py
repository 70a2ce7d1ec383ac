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
# # Long-lived connections: WebSockets, long-polls, server-sent events
#
# How late do events arrive, how many messages pass, and what does an open connection cost in
# memory?
#
# *Delay* is from the moment of an event to its arrival at a user; the events' clock is shared by
# all processes of the machine. *Memory per connection* is what the server grew by with all users
# connected. That growth holds what its code took at its first requests, too: with few users it says
# little, and with two numbers of users the difference between them cancels it.
#
# A suitable run: `gatebench run uvicorn hypercorn gunicorn-gevent
# --scenario 'websocket-*,server-sent-events,long-poll'`; for memory
# `gatebench run uvicorn hypercorn --scenario websocket-idle --sweep users=500,2000`

# %% tags=["parameters"]
run: str = ""  # a run's folder, or its name in `results`; "" is the newest
results: str = "../results"  # where runs are kept
scenario: str = ""  # one kind of work; "" is all that keep connections
least_users: int = 1000  # with fewer, the growth divided by the users is not called their memory

# %%
import numpy as np
import pandas as pd
import show
from standing import standing, unjudged

from harness import load_run

SUITABLE = (
    "`gatebench run uvicorn hypercorn gunicorn-gevent "
    "--scenario 'websocket-*,server-sent-events,long-poll'`"
)
FOR_MEMORY = "`gatebench run uvicorn hypercorn --scenario websocket-idle --sweep users=500,2000`"

# %%
with show.readable():
    measured = load_run(run or None, results)
    cells, trials = show.defended(measured.cells), measured.trials
    comparisons = measured.comparisons

by_events = cells["latency_measure"] == "delay"
lasting = cells[by_events | cells["scenario"].str.startswith("websocket")]
if lasting.empty:
    show.stop(f"No scenario of this run keeps its users connected. One that does: {SUITABLE}")
if scenario and scenario not in set(lasting["scenario"]):
    there = show.names(lasting["scenario"])
    show.stop(f"The run has no scenario {show.code(scenario)} that lasts; it has {there}.")
if scenario:
    lasting = lasting[lasting["scenario"] == scenario]
if (lasting["verdict"] == "failed").all():
    show.table(lasting[["server", "scenario", "verdict", "reasons"]])
    show.stop("Every cell with long-lived connections failed; the table above says why.")

# %%
users = show.numbers(lasting["users"])
grown = show.numbers(lasting["server_pss_bytes"]) - show.numbers(lasting["server_idle_pss_bytes"])
lasting = lasting.assign(
    per_user_bytes=np.where(users >= least_users, grown / users, np.nan),
    per_user_per_s=show.numbers(lasting["throughput_per_s"]) / users,
)
show.say(
    f"Run {show.code(measured.run.path.name)}: {len(lasting)} cells with long-lived connections, "
    f"{show.plural(measured.run.facts['blocks'], 'block')}."
)

# %% [markdown]
# ## Messages, delays and memory
#
# Hollow marks and bars may not be ranked. Where events set the pace the delay is what users feel;
# elsewhere it is the time from a message to its answer.

# %%
for title, group in show.loads(lasting):
    drawn = group.sort_values("p50_s", na_position="last")
    figure, panels = show.rows(4, len(drawn))
    figure.suptitle(title)
    show.spans(panels[0], drawn)
    show.bars(panels[1], drawn, "throughput_per_s")
    panels[1].set_xlabel("messages per second")
    show.bars(panels[2], drawn, "server_cpu_s_per_1k", 1e3)
    panels[2].set_xlabel("CPU per 1,000 messages, ms")
    show.bars(panels[3], drawn, "server_pss_bytes", 2**-20)
    idle = show.numbers(drawn["server_idle_pss_bytes"]) * 2**-20
    panels[3].scatter(idle, np.arange(len(drawn)), 160, show.RED, marker="|", zorder=3)
    panels[3].set_xlabel("memory (PSS), MiB; | before users came")
    show.figure(figure, f"{title}: latency or delay, messages, CPU, memory")

# %%
for title, group in show.loads(lasting):
    show.heading(title)
    felt = "delay" if group["latency_measure"].iloc[0] == "delay" else "latency"
    show.table(
        pd.DataFrame(
            {
                "server": group["who"],
                f"{felt} p50": group["p50_s"],
                f"{felt} p99": group["p99_s"],
                "messages/s": group["throughput_per_s"],
                "each user/s": group["per_user_per_s"],
                "idle": group["server_idle_pss_bytes"],
                "with users": group["server_pss_bytes"],
                "growth per user": group["per_user_bytes"],
                "verdict": group["verdict"],
            }
        ).sort_values(f"{felt} p50", na_position="last"),
        delay_p50=show.seconds,
        delay_p99=show.seconds,
        latency_p50=show.seconds,
        latency_p99=show.seconds,
        messages_s=show.rate,
        each_user_s=show.rate,
        idle=show.memory,
        with_users=show.memory,
        growth_per_user=show.memory,
    )

# %% [markdown]
# ## Conclusion

# %%
judgements = dict(show.loads(comparisons))
for title, group in show.loads(lasting):
    compared = judgements.get(title, comparisons.iloc[:0])
    paced = group["latency_measure"].iloc[0] == "delay" or (group["pause_s"] > 0).any()
    headline = "p50" if paced or group["model"].iloc[0] == "open" else "throughput"
    show.heading(title)
    missed = group[show.numbers(group["errors"]) > 0]
    show.say(
        *(standing(group, compared, metric) for metric in (headline, "cpu")),
        unjudged(group, compared),
        f"Messages failed or were lost with {show.names(missed['who'])}."
        if len(missed)
        else "No message failed in the trials that count.",
    )

# %% [markdown]
# ### Memory of a connection

# %%
WHO = [*show.SERVER, "scenario", "model"]


def slope(trials: pd.DataFrame) -> tuple[float, float, float]:
    """Bytes per connection, least and most, between the fewest and the most users.

    The ends are of the trials with either: what the least and the greatest of them would give.
    """
    groups = trials.groupby("users")["server_pss_bytes"]
    (few, *_, many), middle, low, high = (
        sorted(trials["users"].unique()), groups.median(), groups.min(), groups.max()
    )  # fmt: skip
    more = float(many - few)
    return (
        float(middle[many] - middle[few]) / more,
        float(low[many] - high[few]) / more,
        float(high[many] - low[few]) / more,
    )


counted = trials[trials["verdict"].isin(show.RANKED) & trials["server_pss_bytes"].notna()]
counted = counted[counted["scenario"].isin(lasting["scenario"])]
told = 0
for key, group in counted.groupby(WHO, sort=False, dropna=False):
    name = f"{show.code(key[0])} ({key[4]})"
    most = int(group["users"].max())
    if group["users"].nunique() > 1:
        middle, low, high = slope(group)
        span = f" ({show.memory(low)} to {show.memory(high)} by its trials)"
        if low > 0:
            show.say(f"{name}: a connection takes {show.memory(middle)}{span}.")
        else:
            show.say(f"{name}: more connections took no more memory than trials differ{span}.")
        told += 1
    elif most >= least_users:
        growth = group["server_pss_bytes"] - group["server_idle_pss_bytes"]
        per_user = float(growth.median()) / most
        show.say(
            f"{name}: {most:,} users made it grow by {show.memory(float(growth.median()))}, which "
            f"is {show.memory(per_user)} for each at most: the first requests' own is in it."
        )
        told += 1
if not told:
    show.say(
        "What a connection takes cannot be told: no cell that may be ranked has "
        f"{least_users:,} users, or two numbers of them. One that would tell: {FOR_MEMORY}"
    )
