"""The sizes of the server: embedded, and several processes on a server database, Redis and the OSS emulator."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import threading
import time
from urllib.parse import urlsplit, urlunsplit

from .client import Client, Gone
from .proxy import Proxy
from .services import Sql
from .world import Miss, eventually, free_port

SECRET = "0f4c8a7e6d5b3c2a1908f7e6d5c4b3a29180716253443526"
CHEAP = {
    "SECRET_KEY": SECRET,
    "ARGON2_MEMORY_KIB": "8",
    "ARGON2_ITERATIONS": "1",
    "WORKER_HEARTBEAT": "1s",
    "WORKER_EXPIRY": "4s",
    "UPLOAD_RETRY_BASE": "1s",
    "UPLOAD_RETRY_JITTER": "0",
    "RATE_LIMIT_ENABLED": "false",
}


class Proc:
    """A process of the product, in a group of its own, its output in a file."""

    def __init__(self, argv, env, cwd, log, files=None):
        """`files`: how many it may have open."""
        self.log = log
        with open(log, "ab") as out:
            self.offset = out.tell()
            keep = {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR", "RUST_BACKTRACE") if k in os.environ}
            limit = files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
            self.popen = subprocess.Popen(
                argv, env=keep | env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                preexec_fn=limit,
            )
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.popen.wait()

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        if self.alive():
            self.terminate()
            if self.wait(20) is None:
                self.kill()

    def text(self):
        with open(self.log, "rb") as log:
            log.seek(self.offset)
            return log.read().decode(errors="replace")

    def memory(self, field="VmRSS"):
        """KiB."""
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(rf"{field}:\s+(\d+)", status.read()).group(1))

    def reset_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w") as refs:
            refs.write("5")


class Emulator:
    """The object storage: `tests/oss_emulator` in a process of its own."""

    def __init__(self, trial):
        self.popen = subprocess.Popen([trial.world.program("oss_emulator")], stdout=subprocess.PIPE, text=True)
        lines = [self.popen.stdout.readline().strip() for _ in range(4)]
        self.env = dict(line.split("=", 1) for line in lines)
        self.client = Client(self.env["OSS_ENDPOINT"])
        trial.defer(self.close)

    def command(self, text):
        reply = self.client.get(f"/-/{text}")
        # It closes idle connections.
        self.client.close()
        if reply.status == 200:
            return reply.json()
        if reply.status != 204:
            raise Miss(f"the emulator refused {text}")

    def objects(self):
        return self.command("objects")

    def puts(self):
        return self.command("puts")

    def close(self):
        self.popen.kill()
        self.popen.wait()


class Topology:
    """A database, folders and settings, and the processes on them."""

    def __init__(self, trial, kind="sqlite", redis=None, oss=False, env=None, through=(), migrate=True, data=None):
        """`through`: which of redis, database, oss are reached through a proxy (`self.proxies`); `data`: a data folder
        that is somewhere else."""
        world = trial.world
        self.trial, self.kind = trial, kind
        self.name = f"{trial.promise.name.lower()}_{next(world.numbers)}_{os.getpid()}"
        self.folder = world.folder / self.name
        self.folder.mkdir(parents=True)
        self.data = data or self.folder / "data"
        self.proxies = {}
        self.procs = []
        self.oss = None
        self.env = dict(CHEAP) | {"DATA_DIR": str(self.data)}
        trial.defer(self.close)
        redis = kind != "sqlite" if redis is None else redis
        if redis:
            self.env["REDIS_URL"] = self.route("redis", world.services.url("redis"), through)
            self.env["REDIS_PREFIX"] = f"{self.name}:"
        if oss:
            self.oss = Emulator(trial)
            self.env |= self.oss.env
            self.env["OSS_ENDPOINT"] = self.route("oss", self.oss.env["OSS_ENDPOINT"], through)
        if kind == "sqlite":
            self.sql = Sql("sqlite", str(self.data / "yunque.db"))
        else:
            url = world.services.create(kind, self.name)
            self.sql = Sql(kind, url)
            self.env["DATABASE_URL"] = self.route("database", url, through)
        self.env |= env or {}
        if kind != "sqlite" and migrate:
            self.command("migrate", "up")

    def route(self, name, url, through):
        if name not in through:
            return url
        at = urlsplit(url)
        proxy = Proxy(at.hostname, at.port)
        self.proxies[name] = proxy
        who = f"{at.username}:{at.password}@" if at.username else ""
        return urlunsplit((at.scheme, f"{who}127.0.0.1:{proxy.port}", at.path, at.query, ""))

    def direct(self, name):
        """The settings of a process that does not go through the proxy of `name`."""
        services = self.trial.world.services
        return {
            "redis": lambda: {"REDIS_URL": services.url("redis")},
            "oss": lambda: {"OSS_ENDPOINT": self.oss.env["OSS_ENDPOINT"]},
            "database": lambda: {"DATABASE_URL": self.sql.url},
        }[name]()

    def start(self, argv, name, env, files=None):
        log = self.folder / f"{name}.log"
        proc = Proc([self.trial.world.program("yunque"), *argv], self.env | (env or {}), self.folder, log, files)
        self.procs.append(proc)
        return proc

    def command(self, *argv, ok=True, env=None, given=None):
        """A subcommand that ends; returns what it printed."""
        keep = {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR") if k in os.environ}
        done = subprocess.run(
            [self.trial.world.program("yunque"), *argv], env=keep | self.env | (env or {}), cwd=self.folder,
            input=given, stdin=None if given is not None else subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        )
        if ok and done.returncode != 0:
            raise Miss(f"yunque {' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout if ok else done

    def serve(self, port=None, name="serve", env=None, wait=True, args=(), files=None):
        port = port or free_port()
        proc = self.start(["serve", "--listen", f"127.0.0.1:{port}", *args], name, env, files)
        proc.port = port
        proc.base = f"http://127.0.0.1:{port}"
        proc.client = Client(proc.base)
        if wait:
            self.wait_up(proc)
        return proc

    def wait_up(self, proc, seconds=30):
        """Until the first answer; returns when that was."""

        def look():
            if not proc.alive():
                raise Miss(f"the server ended with {proc.popen.returncode}: {proc.text()[-400:]}")
            try:
                return proc.client.get("/healthz").status == 200
            except Gone:
                return False

        eventually("the server answers", seconds, look, pause=0.01)
        return time.monotonic()

    def worker(self, name="worker", env=None, args=(), wait=True):
        proc = self.start(["worker", *args], name, env)
        if wait:
            self.wait_worker(proc)
        return proc

    def wait_worker(self, proc, seconds=30):
        def look():
            if not proc.alive():
                raise Miss(f"the worker ended with {proc.popen.returncode}: {proc.text()[-400:]}")
            return "worker started" in proc.text()

        eventually("the worker starts", seconds, look, pause=0.01)

    def close(self):
        for proc in self.procs:
            if proc.alive():
                proc.kill()
        for proxy in self.proxies.values():
            proxy.close()
        if self.kind != "sqlite":
            self.trial.world.services.drop(self.kind, self.name)

    # --- looking ---

    def statuses(self):
        rows = self.sql.run("SELECT upload_status, COUNT(*) FROM files WHERE deleted_at IS NULL GROUP BY upload_status")
        return {status: int(n) for status, n in rows}

    def settled(self, count, seconds):
        """Waits until so many files are completed and no job is left."""

        def look():
            found = self.statuses()
            return found.get("completed", 0) >= count and set(found) <= {"completed"}

        eventually(lambda: f"{count} files completed: {self.statuses()}, {self.left()}", seconds, look, pause=0.2)

    def left(self):
        """The jobs that are not over, for a message."""
        return self.sql.run("SELECT state, COUNT(*), MIN(lease_owner), MIN(attempts), MIN(subject), MIN(last_error) FROM jobs "
                            "WHERE state NOT IN ('done', 'cancelled') GROUP BY state")

    def files(self):
        """name → list of rows."""
        rows = self.sql.run(
            "SELECT name, id, upload_status, size, sha256, object_key, attempts FROM files WHERE deleted_at IS NULL"
        )
        found = {}
        for name, file_id, status, size, sha256, key, attempts in rows:
            row = {"id": int(file_id), "status": status, "size": int(size), "sha256": sha256, "key": key,
                   "attempts": int(attempts)}
            found.setdefault(name, []).append(row)
        return found

    def leased(self, pid):
        """How many jobs a worker process holds."""
        return self.sql.number(f"SELECT COUNT(*) FROM jobs WHERE state = 'running' AND lease_owner LIKE '%-{pid}-%'")


class Background:
    """A function called again and again on its own thread until stopped."""

    def __init__(self, work, threads=1):
        self.on = True
        self.work = work
        self.errors = []
        self.threads = [threading.Thread(target=self.loop, args=(i,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def loop(self, number):
        while self.on:
            try:
                self.work(number)
            except Exception as error:
                self.errors.append(error)
                time.sleep(0.05)

    def stop(self):
        self.on = False
        for thread in self.threads:
            thread.join(90)
        if self.errors:
            raise self.errors[0]


