"""Tables: the shipped ones load, and every mistake is one line that names file and row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.model import ConfigurationError
from harness.registry import load_registry, unmet_need

REGISTRY = load_registry()

SERVER = """
[servers.mine]
speaks = "wsgi"
packages = ["mine"]
command = "mine {app} --port {port}"
concurrency = "process"
"""
APP = """
[apps.mine]
speaks = "wsgi"
target = "mine:app"
"""
SCENARIO = """
[scenarios.mine]
file = "mine.py"
about = "what it is"
checks = ["hello"]
"""


@pytest.fixture
def table(tmp_path):
    """A table of the user's own, beside a scenario's file that exists."""
    (tmp_path / "mine.py").write_text("", "utf-8")
    return tmp_path / "mine.toml"


def mistake_in(table: Path, text: str) -> str:
    """The one line that reading `text` ends with."""
    table.write_text(text, "utf-8")
    return mistake_of(table)


def mistake_of(*tables: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_registry(tables)
    line = str(caught.value)
    assert "\n" not in line
    assert str(tables[-1]) in line
    return line


def test_shipped_tables_load_and_fit_together():
    assert {"gunicorn-sync", "gunicorn-uvicorn", "uvicorn", "waitress"} <= set(REGISTRY.servers)
    assert {"wsgi", "asgi"} <= set(REGISTRY.apps)
    assert {"hello", "echo", "blocking-io", "websocket-echo", "long-poll"} <= set(
        REGISTRY.scenarios
    )
    for server in REGISTRY.servers.values():
        assert REGISTRY.app_for(server, None).speaks == server.speaks
        assert not (server.websocket and server.speaks == "wsgi")
    for app in REGISTRY.apps.values():
        assert (app.folder / app.target.partition(":")[0]).with_suffix(".py").is_file()
    for scenario in REGISTRY.scenarios.values():
        assert scenario.file.is_absolute()
        assert scenario.about


def test_rows_of_a_user_come_after_the_shipped_ones(table):
    table.write_text(SERVER + APP + SCENARIO, "utf-8")
    registry = load_registry([table])
    assert list(registry.servers)[-1] == "mine"
    assert list(registry.servers)[:-1] == list(REGISTRY.servers)
    server, app = registry.servers["mine"], registry.apps["mine"]
    scenario = registry.scenarios["mine"]
    assert (server.packages, server.stop, server.websocket) == (("mine",), "TERM", False)
    assert server.origin == f"{table} [servers.mine]"
    assert app.folder == table.parent.resolve()
    assert scenario.file == table.parent.resolve() / "mine.py"
    assert (scenario.wait_s, scenario.latency) == (0.0, "response")


def test_optional_keys_reach_the_row(table):
    table.write_text(
        SERVER
        + 'stop = "INT"\nwebsocket = true\nnotes = ["a", "b"]\ncannot = { echo = "why" }\n'
        + SCENARIO
        + 'wait_s = 1\nneeds = ["websocket"]\nlatency = "delay"\n',
        "utf-8",
    )
    registry = load_registry([table])
    server, scenario = registry.servers["mine"], registry.scenarios["mine"]
    assert (server.stop, server.websocket, server.notes) == ("INT", True, ("a", "b"))
    assert dict(server.cannot) == {"echo": "why"}
    assert (scenario.wait_s, scenario.needs, scenario.latency) == (1.0, ("websocket",), "delay")


def test_unknown_key_is_named_with_the_nearest(table):
    line = mistake_in(table, SERVER + 'packagse = ["x"]\n')
    assert line == f"{table} [servers.mine]: unknown key 'packagse'; did you mean packages?"


def test_key_that_gatebench_fills_in_itself_is_unknown(table):
    assert "[apps.mine]: unknown key 'folder'" in mistake_in(table, APP + 'folder = "/"\n')
    assert "[servers.mine]: unknown key 'version'" in mistake_in(table, SERVER + 'version = "1"\n')


@pytest.mark.parametrize(
    ("text", "key", "row"),
    [
        *((SERVER, key, "servers") for key in ("speaks", "packages", "command", "concurrency")),
        *((APP, key, "apps") for key in ("speaks", "target")),
        *((SCENARIO, key, "scenarios") for key in ("file", "about", "checks")),
    ],
)
def test_missing_key_is_named(table, text, key, row):
    without = "\n".join(line for line in text.splitlines() if not line.startswith(key))
    assert mistake_in(table, without) == f"{table} [{row}.mine]: the key '{key}' is missing"


@pytest.mark.parametrize(
    ("text", "key", "value", "wanted"),
    [
        (SERVER, "speaks", '"http"', 'one of "wsgi", "asgi"'),
        (SERVER, "speaks", "[]", 'one of "wsgi", "asgi"'),
        (SERVER, "concurrency", "4", 'one of "process", "thread", "greenlet", "event-loop"'),
        (SERVER, "packages", '"gunicorn"', "a list of strings"),
        (SERVER, "packages", '["gunicorn", 1]', "a list of strings"),
        (SERVER, "command", '["a", "b"]', "a text"),
        (SERVER, "command", '""', "a text"),
        (SERVER, "stop", "15", "a text"),
        (SERVER, "websocket", '"yes"', "true or false"),
        (SERVER, "websocket", "1", "true or false"),
        (SERVER, "cannot", '["echo"]', "a table of strings"),
        (SERVER, "cannot", "{ echo = true }", "a table of strings"),
        (SCENARIO, "file", "3", "a file name"),
        (SCENARIO, "wait_s", '"1"', "a number of seconds, 0 or more"),
        (SCENARIO, "wait_s", "-0.1", "a number of seconds, 0 or more"),
        (SCENARIO, "wait_s", "true", "a number of seconds, 0 or more"),
        (SCENARIO, "wait_s", "nan", "a number of seconds, 0 or more"),
        (SCENARIO, "latency", '"mean"', 'one of "response", "delay"'),
    ],
)
def test_value_of_the_wrong_kind_says_what_is_wanted(table, text, key, value, wanted):
    kept = "\n".join(line for line in text.splitlines() if not line.startswith(key))
    line = mistake_in(table, f"{kept}\n{key} = {value}\n")
    assert ".mine]: " in line
    assert f" {key} = " in line
    assert line.endswith(f" must be {wanted}")


def test_row_that_stands_twice_in_one_file_is_named_with_its_line(table):
    line = mistake_in(table, SERVER + SERVER)
    assert line == f"{table}: row [servers.mine] stands twice (line 8); rename or delete one"


def test_row_that_stands_in_two_files_names_both(tmp_path, table):
    table.write_text(SERVER, "utf-8")
    other = tmp_path / "other.toml"
    other.write_text(SERVER, "utf-8")
    line = mistake_of(table, other)
    assert line == (
        f"{other} [servers.mine]: stands already in {table} [servers.mine]; choose another name"
    )


def test_row_with_a_shipped_name_names_the_shipped_table(table):
    line = mistake_in(table, SERVER.replace("mine]", "uvicorn]"))
    assert f"{table} [servers.uvicorn]: stands already in " in line
    assert "servers.toml [servers.uvicorn]" in line


def test_misspelt_placeholder_is_named_with_the_nearest(table):
    line = mistake_in(table, SERVER.replace("{port}", "{port} -w {worker}"))
    assert line == (
        f"{table} [servers.mine]: command: unknown placeholder {{worker}}; "
        "did you mean {workers}?"
    )


@pytest.mark.parametrize("word", ["{}", "{0}", "{app.real}", "{app[0]}"])
def test_placeholder_that_is_no_name_is_unknown(table, word):
    line = mistake_in(table, SERVER.replace("{port}", "{port} " + word))
    assert f"unknown placeholder {word}" in line


@pytest.mark.parametrize("name", ["app", "port"])
def test_needed_placeholder_that_is_missing_is_named(table, name):
    line = mistake_in(table, SERVER.replace(f"{{{name}}}", "8000"))
    assert line == f"{table} [servers.mine]: command: the placeholder {{{name}}} is missing"


@pytest.mark.parametrize("command", ["mine {app} {port", "mine {app} port}", "mine {app} {port} {"])
def test_unbalanced_brace_names_the_row(table, command):
    line = mistake_in(table, SERVER.replace("mine {app} --port {port}", command))
    assert line.startswith(f"{table} [servers.mine]: command: ")


def test_unclosed_quote_in_a_command_names_the_row(table):
    line = mistake_in(table, SERVER.replace("--port", "'--port"))
    assert line.startswith(f"{table} [servers.mine]: command: ")


def test_server_without_packages_is_refused(table):
    line = mistake_in(table, SERVER.replace('["mine"]', "[]"))
    assert line == f"{table} [servers.mine]: packages: name at least the server's own package"


@pytest.mark.parametrize(("text", "row"), [(SERVER, "servers"), (APP, "apps")])
def test_bad_requirement_is_quoted(table, text, row):
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("packages"))
    line = mistake_in(table, f'{kept}\npackages = ["fine", "gunicorn=>1"]\n')
    assert line.startswith(f"{table} [{row}.mine]: packages: 'gunicorn=>1': ")


@pytest.mark.parametrize("name", ["SIGTERM", "term", "NOPE"])
def test_unknown_signal_says_how_to_write_one(table, name):
    line = mistake_in(table, SERVER + f'stop = "{name}"\n')
    assert (
        line == f"{table} [servers.mine]: stop = '{name}' is not a signal; write it like \"TERM\""
    )


def test_unknown_check_that_a_server_cannot_give_is_named_with_the_nearest(table):
    line = mistake_in(table, SERVER + 'cannot = { ecko = "why" }\n')
    assert line.startswith(f"{table} [servers.mine]: cannot: unknown check 'ecko'; did you mean ")
    assert "echo" in line


def test_unknown_check_of_a_scenario_is_named_with_the_nearest(table):
    line = mistake_in(table, SCENARIO.replace('"hello"', '"hello", "slep"'))
    assert line.startswith(f"{table} [scenarios.mine]: checks: unknown check 'slep'; did you mean ")
    assert "sleep" in line


def test_unknown_need_is_named_with_the_nearest(table):
    line = mistake_in(table, SCENARIO + 'needs = ["websockets"]\n')
    assert line == (
        f"{table} [scenarios.mine]: needs: unknown need 'websockets'; did you mean websocket?"
    )


def test_scenario_whose_file_is_missing_names_the_file(table):
    line = mistake_in(table, SCENARIO.replace("mine.py", "nowhere.py"))
    place = table.parent.resolve() / "nowhere.py"
    assert line == f"{table} [scenarios.mine]: file: {place} does not exist"


@pytest.mark.parametrize(
    ("row", "file", "what"),
    [
        ("pause_s = 5", "pause_s = 20.0", "pause_s = 5, but mine.py says 20.0"),
        ("", "pause_s = 20.0", "pause_s = 0, but mine.py says 20.0"),
        ("pause_s = 5", "users = 1", "pause_s = 5, but mine.py says 0.0"),
        (
            "",
            "requests_per_connection = 1",
            "keeps_connections = true, but mine.py has requests_per_connection = 1",
        ),
        (
            "keeps_connections = false",
            "requests_per_connection: int | None = None",
            "keeps_connections = false, but mine.py has requests_per_connection = None",
        ),
    ],
)
def test_row_and_file_of_a_scenario_have_to_agree(table, row, file, what):
    (table.parent / "mine.py").write_text(f"class Mine:\n    {file}\n", "utf-8")
    assert mistake_in(table, SCENARIO + row) == f"{table} [scenarios.mine]: {what}"


def test_row_and_file_of_a_scenario_that_agree(table):
    (table.parent / "mine.py").write_text(
        "class Mine:\n    pause_s = 5\n    requests_per_connection = 7\n", "utf-8"
    )
    table.write_text(SCENARIO + "pause_s = 5\nkeeps_connections = false\n", "utf-8")
    row = load_registry([table]).scenarios["mine"]
    assert (row.pause_s, row.keeps_connections) == (5.0, False)


@pytest.mark.parametrize("target", ["mine", "mine:", ":app", "mine.app"])
def test_target_that_is_not_module_and_object_is_refused(table, target):
    line = mistake_in(table, APP.replace("mine:app", target))
    assert line == f"{table} [apps.mine]: target = '{target}' must be \"module:object\""


def test_unknown_table_is_named_with_the_nearest(table):
    line = mistake_in(table, SERVER.replace("servers.", "server."))
    assert line == f"{table} [server]: is not a table gatebench knows; did you mean servers?"


@pytest.mark.parametrize("text", ["servers = 3", 'apps = ["mine"]'])
def test_table_that_holds_no_rows_is_refused(table, text):
    assert "must be a table of rows, [" in mistake_in(table, text)


def test_value_where_a_row_belongs_is_named(table):
    line = mistake_in(table, "[servers]\nspeaks = 'wsgi'\n")
    assert line == f"{table} servers: has a value 'speaks' where a row [servers.NAME] belongs"


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a@1", "a+b", "a*", "a?", "a[1]", "", "tab\\there", "\\u0007", "\\u007f"]
)
def test_name_with_forbidden_characters_is_refused(table, name):
    line = mistake_in(table, SERVER.replace("servers.mine", f'servers."{name}"'))
    assert "a name has no spaces, commas, @, +, # or wildcards" in line


@pytest.mark.parametrize("head", ['servers."a\\nb"', '"ser\\nvers".mine'])
def test_newline_in_a_name_does_not_break_the_line(table, head):
    mistake_in(table, SERVER.replace("servers.mine", head))


def test_file_that_does_not_exist_is_named(tmp_path):
    path = tmp_path / "nowhere.toml"
    assert mistake_of(path) == f"{path}: cannot be read: No such file or directory"


def test_folder_in_place_of_a_file_is_named(tmp_path):
    assert mistake_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_file_that_is_not_utf8_is_named(table):
    table.write_bytes(b"# caf\xe9\n")
    assert mistake_of(table) == f"{table}: is not UTF-8 text"


def test_file_that_is_not_toml_is_named_with_the_line(table):
    line = mistake_in(table, "[servers.mine]\nspeaks wsgi\n")
    assert line.startswith(f"{table}: ")
    assert "line 2" in line


def test_servers_are_selected_in_the_order_asked_for_each_once():
    chosen = REGISTRY.select_servers(["waitress", "uvicorn", "waitress"])
    assert [server.name for server in chosen] == ["waitress", "uvicorn"]


def test_servers_are_selected_by_glob_in_the_table_order():
    chosen = [server.name for server in REGISTRY.select_servers(["gunicorn-*", "gunicorn-sync"])]
    assert chosen == [name for name in REGISTRY.servers if name.startswith("gunicorn-")]
    assert len(chosen) > 2


def test_version_makes_another_server():
    chosen = REGISTRY.select_servers(["uvicorn", "uvicorn@0.30", "uvicorn@0.30"])
    assert [(server.label, server.version) for server in chosen] == [
        ("uvicorn", None),
        ("uvicorn@0.30", "0.30"),
    ]


def test_version_reaches_every_server_of_a_glob():
    chosen = REGISTRY.select_servers(["gunicorn-g*@23"])
    assert [server.label for server in chosen] == ["gunicorn-gthread@23", "gunicorn-gevent@23"]


@pytest.mark.parametrize("version", ["", "new", ">=1", "1@2"])
def test_nonsense_version_is_refused(version):
    with pytest.raises(ConfigurationError, match=r"is not a version; write NAME@1\.2"):
        REGISTRY.select_servers([f"uvicorn@{version}"])


@pytest.mark.parametrize("name", ["unicorn", "unicorn@1.0"])
def test_unknown_server_is_answered_with_the_nearest_names(name):
    with pytest.raises(ConfigurationError) as caught:
        REGISTRY.select_servers([name])
    line = str(caught.value)
    assert line.startswith("unknown server 'unicorn'; did you mean uvicorn")
    assert line.endswith("; `gatebench list servers` shows all")


def test_glob_that_matches_nothing_is_refused():
    with pytest.raises(ConfigurationError, match=r"unknown server 'zzz\*'; `gatebench list"):
        REGISTRY.select_servers(["zzz*"])


def test_scenarios_are_selected_by_name_and_glob_each_once():
    chosen = REGISTRY.select_scenarios(["echo", "*echo"])
    assert [scenario.name for scenario in chosen] == ["echo", "websocket-echo"]
    with pytest.raises(ConfigurationError, match="unknown scenario 'ecko'; did you mean echo"):
        REGISTRY.select_scenarios(["ecko"])


def test_app_is_the_raw_one_of_the_interface_unless_named():
    assert REGISTRY.app_for(REGISTRY.servers["uvicorn"], None).name == "asgi"
    assert REGISTRY.app_for(REGISTRY.servers["waitress"], None).name == "wsgi"
    assert REGISTRY.app_for(REGISTRY.servers["waitress"], "wsgi").name == "wsgi"


def test_app_of_the_other_interface_is_refused():
    with pytest.raises(ConfigurationError) as caught:
        REGISTRY.app_for(REGISTRY.servers["waitress"], "asgi")
    assert str(caught.value) == (
        "app asgi speaks ASGI but server waitress speaks WSGI; choose another of the two"
    )
    with pytest.raises(ConfigurationError, match="unknown app 'asgy'; did you mean asgi"):
        REGISTRY.app_for(REGISTRY.servers["uvicorn"], "asgy")


def test_websocket_scenario_cannot_be_met_by_a_wsgi_server():
    why = unmet_need(
        REGISTRY.servers["waitress"], REGISTRY.apps["wsgi"], REGISTRY.scenarios["websocket-echo"]
    )
    assert why == (
        "scenario websocket-echo needs websocket, which server waitress (WSGI) does not offer"
    )


def test_websocket_scenario_cannot_be_met_by_an_app_without_it():
    app = replace(REGISTRY.apps["asgi"], name="plain", websocket=False)
    why = unmet_need(REGISTRY.servers["uvicorn"], app, REGISTRY.scenarios["websocket-echo"])
    assert why == "scenario websocket-echo needs websocket, which app plain does not offer"


def test_scenario_whose_answer_a_server_cannot_give_is_unmet_with_the_reason():
    server = replace(REGISTRY.servers["waitress"], cannot={"poll": "it has no threads left"})
    app = REGISTRY.apps["wsgi"]
    assert unmet_need(server, app, REGISTRY.scenarios["long-poll"]) == (
        "scenario long-poll needs the answer poll, which server waitress cannot give: "
        "it has no threads left"
    )
    assert unmet_need(server, app, REGISTRY.scenarios["hello"]) is None


def test_websocket_scenario_is_met_by_a_server_and_an_app_with_it():
    uvicorn, asgi = REGISTRY.servers["uvicorn"], REGISTRY.apps["asgi"]
    assert unmet_need(uvicorn, asgi, REGISTRY.scenarios["websocket-echo"]) is None
