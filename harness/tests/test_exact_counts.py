"""What the engine counts under load agrees with what the stub server did, however fast both are."""

from __future__ import annotations

import json

import pytest

from harness.model import Load
from harness.tests.loads import drive_stub, stub

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("how", "kind"), [("close", "early-close"), ("reset", "reset")])
def test_k17_dropped_requests_are_errors_and_never_sent_again(tmp_path, how, kind):
    with stub(tmp_path, "--drop-every", 2, "--drop-how", how, "--service", "fixed:0.001") as server:
        result = drive_stub(tmp_path, server, Load(4), duration_s=1.5)
        counters = server.counters()
    totals = result.summary["since_start"]
    assert counters["received"] == totals["sent"]
    assert totals["failed"] == pytest.approx(counters["dropped"], abs=4)  # those at the very end
    assert totals["failed"] > 100
    assert set(result.errors) == {kind}
    assert totals["sent"] == totals["ok"] + totals["failed"] + result.summary["in_flight"]


@pytest.mark.parametrize(
    ("knobs", "kind"),
    [
        (["--status-every", "10:503"], "bad-status"),
        (["--wrong-body-every", "10"], "bad-body"),
    ],
)
def test_wrong_answers_are_counted_exactly_under_load(tmp_path, knobs, kind):
    with stub(tmp_path, *knobs) as server:
        result = drive_stub(tmp_path, server, Load(4), duration_s=1.5)
        counters = server.counters()
    totals = result.summary["since_start"]
    wrong = counters["wrong_statuses"] + counters["wrong_bodies"]
    assert set(result.errors) == {kind}
    assert totals["failed"] == pytest.approx(wrong, abs=4)
    assert totals["failed"] > 100


@pytest.mark.parametrize("size", [1, 7, 40])
def test_answers_in_pieces_are_put_together(tmp_path, size):
    with stub(tmp_path, "--split", size) as server:
        result = drive_stub(tmp_path, server, Load(2), duration_s=1.5)
    assert result.summary["ok"] > 20
    assert result.errors == {}
    assert result.summary["since_start"]["connects"] == 2


@pytest.mark.parametrize("announce", [True, False])
def test_closed_connections_are_opened_anew_and_counted(tmp_path, announce):
    knobs = ["--close-after", 5, "--service", "fixed:0.001", *["--announce"] * announce]
    with stub(tmp_path, *knobs) as server:
        result = drive_stub(tmp_path, server, Load(4), duration_s=1.5)
        counters = server.counters()
    totals = result.summary["since_start"]
    assert totals["connects"] == pytest.approx(counters["accepted"], abs=1)
    assert totals["connects"] == pytest.approx(totals["ok"] / 5, abs=8)
    if announce:
        assert result.errors == {}
    else:  # what was sent into a closing connection is an error, and not tried again
        assert set(result.errors) <= {"early-close", "reset"}
        assert totals["failed"] == pytest.approx(totals["ok"] / 5, abs=8)


def test_refused_connections_have_their_name(tmp_path):
    with stub(tmp_path) as server:
        pass
    result = drive_stub(tmp_path, server, Load(3), duration_s=1.0)
    assert set(result.errors) == {"connect-refused"}
    assert result.summary["ok"] == 0
    assert 10 < result.errors["connect-refused"] < 100  # tried again, but not in a busy loop


def test_locusts_own_totals_agree_exactly(tmp_path):
    """What Locust would show is what was recorded, errors included."""
    both = tmp_path / "both.py"
    both.write_text(
        "import json, os\n"
        "from locust import events\n"
        "from harness.load import Exchange, HttpUser\n"
        "from harness.load.recorder import recorder\n"
        "class Both(HttpUser):\n"
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')\n"
        "@events.quitting.add_listener\n"
        "def write(environment, **_):\n"
        "    total = environment.stats.total\n"
        "    times = total.response_times\n"
        "    ours = recorder.totals()\n"
        "    json.dump([total.num_requests, total.num_failures, sum(times.values()),\n"
        "        ours['ok'] + ours['failed'], ours['failed']], open('totals.json', 'w'))\n"
    )
    with stub(tmp_path, "--status-every", "7:500") as server:
        drive_stub(tmp_path, server, Load(4), duration_s=1.5, file=both)
    (file,) = tmp_path.glob("drive-*/totals.json")
    requests, failures, timed, ours, failed = json.loads(file.read_text())
    assert requests == timed == ours > 100
    assert failures == failed > 10
