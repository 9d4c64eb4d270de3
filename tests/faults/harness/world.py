"""One run: its folder, its seed, the programs under test, and small things that everybody needs."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Miss(Exception):
    """A promise could not be measured: something that must hold on the way did not."""


def say(*parts):
    print(*parts, file=sys.stderr, flush=True)


def free_port():
    """A port that nobody listens on, below the range from which outgoing connections take theirs."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with contextlib.closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def eventually(what, seconds, look, pause=0.05):
    """Waits until `look` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Miss(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else 0.0


def parallel(workers, jobs):
    """Runs callables on so many threads; returns their results in order. The first error is raised at the end."""
    jobs = list(jobs)
    results = [None] * len(jobs)
    errors = []
    lock = threading.Lock()
    numbers = iter(range(len(jobs)))

    def work():
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                return
            try:
                results[i] = jobs[i]()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class World:
    """Everything of one run that outlives a promise."""

    def __init__(self, long, seed, services, folder):
        self.long = long
        self.seed = seed
        self.services = services
        self.folder = folder
        self.programs = {}
        self.numbers = iter(range(1, 1_000_000))

    def pick(self, short, long):
        return long if self.long else short

    def random(self, name):
        """Reproducible from the printed seed, whatever other promises run."""
        return random.Random(f"{self.seed}/{name}")

    def program(self, name):
        """`yunque` or `oss_emulator`: named by the environment, or built."""
        given = os.environ.get({"yunque": "YUNQUE", "oss_emulator": "OSS_EMULATOR"}[name])
        if given:
            return given
        if name not in self.programs:
            self.programs[name] = build(name, release=self.long and name == "yunque")
        return self.programs[name]

    def close(self, keep):
        if keep:
            say(f"logs and data are in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def build(name, release):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    what = ["--example", name] if name != "yunque" else ["--bin", name]
    subprocess.run(
        ["cargo", "build", "--locked", "--quiet", *what, *(["--release"] if release else [])],
        cwd=ROOT, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr,
    )
    folder = target / ("release" if release else "debug")
    return str(folder / name if name == "yunque" else folder / "examples" / name)
