"""Cells that cannot be measured: each a failed row that says why."""

import os
import socket
import subprocess

import pytest

from harness.tests.commands import gatebench

pytestmark = pytest.mark.servers

QUICK = ["--duration", "2s", "--warmup", "1s", "--json"]
BROKEN = """
[apps.broken-wsgi]
speaks = "wsgi"
target = "broken:app"

[apps.broken-asgi]
speaks = "asgi"
target = "broken:app"
"""


@pytest.mark.parametrize("server", ["gunicorn-sync", "uvicorn", "hypercorn", "daphne", "waitress"])
def test_app_that_raises_at_import_shows_its_own_last_lines(server, tmp_path):
    (tmp_path / "mine.toml").write_text(BROKEN)
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such database')\n")
    app = "broken-wsgi" if server in ("gunicorn-sync", "waitress") else "broken-asgi"
    finished = gatebench(
        "run", server, "--app", app, "--servers", "mine.toml", "--scenario", "hello", cwd=tmp_path
    )
    assert finished.code == 3
    assert "RuntimeError: no such database" in finished.out
    assert "failed during ready" in finished.out
    assert "Traceback" not in finished.err


def test_version_that_does_not_exist_is_a_failed_row(tmp_path):
    finished = gatebench(
        "run", "uvicorn@99.9", "waitress", "--scenario", "hello", *QUICK, cwd=tmp_path
    )
    assert finished.code == 3
    cells = {cell["server"]: cell for cell in finished.document["cells"]}
    failed = cells["uvicorn@99.9"]
    assert failed["verdict"] == "failed"
    assert failed["throughput_per_s"]["median"] is None
    assert "uvicorn==99.9.* does not exist" in failed["reasons"][0]
    assert cells["waitress"]["verdict"] != "failed"


def test_two_servers_that_share_a_missing_package_each_name_their_own_row(tmp_path):
    row = (
        '[servers.{name}]\nspeaks = "wsgi"\npackages = ["waitress==0.0.0.999"]\n'
        'concurrency = "thread"\ncommand = "waitress-serve --listen={{host}}:{{port}} {{app}}"\n'
    )
    (tmp_path / "mine.toml").write_text(row.format(name="one") + row.format(name="two"))
    finished = gatebench(
        "run", "one", "two", "--servers", "mine.toml", "--scenario", "hello", *QUICK, cwd=tmp_path
    )
    assert finished.code == 3
    for cell in finished.document["cells"]:
        assert f"[servers.{cell['server']}]" in cell["reasons"][0]


def test_busy_port_names_who_has_it(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finished = gatebench("serve", "waitress", "--port", str(port), cwd=tmp_path)
    assert finished.code == 2
    assert f"port {port} is in use by" in finished.complaint
    assert f"(pid {os.getpid()})" in finished.complaint


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk_ends_the_run_and_keeps_what_was_stored(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    # room for the first trial; the second finds less than what a trial needs
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8388608", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine forbids mounting")
    try:
        finished = gatebench(
            "run", "waitress", "--scenario", "hello", "--blocks", "2", *QUICK,
            "--results", str(disk), cwd=tmp_path,
        )  # fmt: skip
        assert finished.code == 3
        assert "the disk is full" in finished.complaint
        assert finished.document["ended"] == "disk-full"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
