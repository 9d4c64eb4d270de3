"""What was promised, what was measured, and whether that is enough."""

import time
import traceback

from .world import Miss, say

PROMISES = {}


class Promise:
    def __init__(self, name, title, work):
        self.name, self.title, self.work = name, title, work


def promise(name, title):
    """Registers a function as the test of a promise."""

    def register(work):
        PROMISES[name] = Promise(name, title, work)
        return work

    return register


class Trial:
    """One promise under test."""

    def __init__(self, world, promise_):
        self.world = world
        self.promise = promise_
        self.random = world.random(promise_.name)
        self.rows = []
        self.notes = []
        self.cleanup = []

    def check(self, bar, measured, ok):
        measured = " ".join(str(measured).split())
        self.rows.append((self.promise.name, bar, measured, bool(ok)))
        say(f"  {'ok  ' if ok else 'MISS'} {bar}: {measured}")

    def note(self, text):
        """Something that the table should say without counting it."""
        self.notes.append((self.promise.name, text))
        say(f"  note {text}")

    def defer(self, close):
        self.cleanup.append(close)

    def run(self):
        began = time.monotonic()
        say(f"{self.promise.name}: {self.promise.title}")
        try:
            self.promise.work(self)
        except Miss as error:
            self.check("can be measured", error, False)
        except Exception as error:
            say(traceback.format_exc())
            self.check("can be measured", f"{type(error).__name__}: {error}", False)
        finally:
            # Also when the run is told to stop: servers and services must not outlive it.
            for close in reversed(self.cleanup):
                try:
                    close()
                except Exception as error:
                    say(f"  after {self.promise.name}: {error}")
        say(f"  {time.monotonic() - began:.1f} s")


def table(trials):
    rows = [row for trial in trials for row in trial.rows]
    widths = [max([len(row[i]) for row in rows] + [8]) for i in (1, 2)]
    print()
    print(f"{'promise':<8} {'bar':<{widths[0]}}  {'measured':<{widths[1]}}  ok")
    for name, bar, measured, ok in rows:
        print(f"{name:<8} {bar:<{widths[0]}}  {measured:<{widths[1]}}  {'ok' if ok else 'MISS'}")
    notes = [note for trial in trials for note in trial.notes]
    if notes:
        print()
    for name, text in notes:
        print(f"{name:<8} {text}")
    passed = sum(1 for row in rows if row[3])
    return passed, len(rows) - passed
