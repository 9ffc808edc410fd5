"""What the scripts beside this one share: checks by name, a JSON line for each on stdout."""

import json
import sys
import time

# The demo's clip and what is said in it.
CLIP = "en-seen-1.wav"
TEXT = "set the oven to eighty two degrees"


def run(client, checks):
    """Runs the functions. Exit code 1 if one fails. @param client  package and version"""
    failed = 0
    for check in checks:
        begun = time.monotonic()
        detail = ""
        try:
            got = check()
            detail = "" if got is None else str(got)
            ok = True
        except Exception as error:  # a failed check is a row of the table
            ok = False
            detail = f"{type(error).__name__}: {error}"[:400]
        failed += not ok
        name = check.__name__.replace("_", " ")
        seconds = round(time.monotonic() - begun, 3)
        print(json.dumps({"client": client, "check": name, "ok": ok, "seconds": seconds, "detail": detail}), flush=True)
    sys.exit(1 if failed else 0)


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"expected {wanted!r}, got {got!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)
