"""Imports a user's own application as a server would, and says what it found.

Runs in the server's environment, whatever Python that has, with the standard library alone:
`python -c TEXT module:object`. The last line of its output is JSON: `error` with its `where` and
the `missing` module of an import that failed, `lacks` with what the module `has`, the `kind` of
what cannot be called, or what it `speaks`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
import types
from typing import Any


def look(target: str) -> dict[str, Any]:
    """What importing `module:object` comes to."""
    module, _, path = target.partition(":")
    try:
        thing: Any = importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - an import may raise anything, SystemExit too
        traceback.print_exception(type(error), error, beyond_import(error.__traceback__))
        return failed(error, module)
    for name in path.split("."):
        try:
            thing = getattr(thing, name)
        except AttributeError:
            return {"lacks": name, "has": [it for it in dir(thing) if it[0] != "_"]}
    if not callable(thing):
        return {"kind": type(thing).__name__}
    return {"speaks": interface(thing)}


def beyond_import(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback without our own frames and those of Python's import."""
    machinery = ("<string>", "<frozen importlib", importlib.__file__)
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(machinery):
        trace = trace.tb_next
    return trace


def failed(error: BaseException, module: str) -> dict[str, Any]:
    """What was raised, and the line of the user's code that it came from."""
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    own = missing is not None and (module == missing or module.startswith(f"{missing}."))
    folder = os.environ["PYTHONPATH"]
    where = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(folder + os.sep):
            where = [os.path.relpath(frame.filename, folder), frame.lineno]
    if isinstance(error, SyntaxError) and error.filename:
        where = [os.path.relpath(error.filename, folder), error.lineno]
        said = f"SyntaxError: {error.msg}"
    else:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
    return {"error": said, "where": where, "missing": missing, "own": own}


def interface(app: Any) -> str | None:
    """wsgi or asgi where the call's own form tells: ASGI's is a coroutine, WSGI's takes two."""
    if inspect.isclass(app):
        return None
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        return "asgi"
    try:
        given = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [it for it in given if it.kind in plain and it.default is inspect.Parameter.empty]
    any_number = any(it.kind is inspect.Parameter.VAR_POSITIONAL for it in given)
    return "wsgi" if len(needed) == 2 and not any_number else None


if __name__ == "__main__":
    found = look(sys.argv[1])
    sys.stderr.flush()
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # threads that the import started would keep us
