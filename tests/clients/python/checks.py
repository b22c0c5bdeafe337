"""What the programs say of their checks: nothing until one fails, and at the end how many there were."""

import os
import threading
import time

HOST = os.environ["NEARSIDE_HOST"]
PORT = int(os.environ["NEARSIDE_PORT"])
SOCKET = os.environ["NEARSIDE_SOCKET"]
# Keys that meet in one command share a hash tag in front of a cluster; elsewhere nothing of the kind is needed.
CLUSTER = "NEARSIDE_CLUSTER" in os.environ


def together(name):
    """A part of a key that puts all keys with it into one slot, where that is needed."""
    return f"{{{name}}}" if CLUSTER else name


_counting = threading.Lock()
_count = 0


def check(holds, what):
    """Counts a check; fails when it does not hold."""
    global _count
    with _counting:
        _count += 1
    if not holds:
        raise AssertionError(what)


def equal(found, wanted, what):
    """Counts a check that two values are equal."""
    check(found == wanted, f"{what}: found {found!r}, wanted {wanted!r}")


def raises(kind, call, what):
    """Counts a check that `call` raises `kind`, and returns what it raised."""
    try:
        result = call()
    except kind as error:
        check(True, what)
        return error
    check(False, f"{what}: no {kind.__name__}, but {result!r}")


def eventually(look, what, limit=10):
    """Counts a check that `look()` becomes true within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    check(found, f"{what}: not within {limit} s")
    return found


def in_threads(count, work):
    """Runs `work(number)` in so many threads at once, and fails when one of them does."""
    failures = []

    def run(number):
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        check(not thread.is_alive(), "a thread is still running")
    if failures:
        raise failures[0]


def passed():
    """The last line of a program, which the harness insists on."""
    print(f"passed: {_count} checks")
