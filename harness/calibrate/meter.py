"""Runs a program to its end and writes down what it used, exactly as the kernel counted it.

Called as `python -I -S meter.py FILE PROGRAM [ARGUMENT...]`, with the standard library alone.
FILE gets {"code", "cpu_s" (user and system seconds), "start_ns", "end_ns" (monotonic)}; the
exit code is the program's.
"""

import json
import os
import sys
import time


def main(file: str, program: str, *arguments: str) -> int:
    """Run the program; return its exit code (128 + signal if a signal ended it)."""
    start_ns = time.monotonic_ns()
    pid = os.posix_spawnp(program, [program, *arguments], os.environ)
    _, status, used = os.wait4(pid, 0)
    end_ns = time.monotonic_ns()
    code = os.waitstatus_to_exitcode(status)
    figures = {
        "code": code,
        "cpu_s": used.ru_utime + used.ru_stime,
        "start_ns": start_ns,
        "end_ns": end_ns,
    }
    with open(file, "w", encoding="ascii") as out:
        json.dump(figures, out)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
