"""Q5 to Q8: Redis that goes away, a worker that is told to stop, many jobs at once."""

import re
import signal
import os
import time

from harness.client import Client, Gone, content
from harness.report import promise
from harness.topology import Background, Topology
from harness.world import eventually, free_port


@promise("Q5", "an outage of Redis does not kill the pool")
def q5(trial):
    times = trial.world.pick(3, 20)
    services = trial.world.services
    top = Topology(trial, "mariadb", oss=True)
    client = top.serve().client.user("q5")
    admin = f"http://127.0.0.1:{free_port()}"
    worker = top.worker(args=["--listen-admin", admin.removeprefix("http://")])
    health = Client(admin, timeout=5)
    sent = iter(range(10_000_000))
    accepted = []
    refused = {}

    def load(_):
        name = f"q5-{next(sent)}"
        reply = client.upload([(name, content(name, 300))])
        if reply.status == 201:
            accepted.append(name)
        else:
            refused[reply.status] = refused.get(reply.status, 0) + 1
        time.sleep(0.02)

    def waits():
        """Blocking pops of our worker: it draws from Redis again."""
        try:
            return services.redis("client", "list").count("cmd=bzpopmin")
        except Exception:
            return 0

    def probe(since):
        """Seconds until a new file is completed and every queue of the worker is drawn from Redis."""
        name = f"q5-probe-{next(sent)}"
        reply = client.upload([(name, content(name, 300))])
        file_id = reply.expect(201)[0]["id"]
        accepted.append(name)
        look = f"SELECT COUNT(*) FROM files WHERE id = {file_id} AND upload_status = 'completed'"
        eventually("a new file completed", 30, lambda: top.sql.number(look))
        eventually("the worker waits at Redis again", 30, lambda: waits() >= 3)
        return time.monotonic() - since

    eventually("the worker waits at Redis", 10, lambda: waits() >= 3)
    background = Background(load, 2)
    trial.defer(lambda: services.start("redis"))
    pid = worker.pid
    words, restarts, pauses = set(), [], []
    for _ in range(times):
        services.kill("redis")
        time.sleep(trial.random.uniform(0.2, 2.5))
        words.add(str(health.get("/readyz").json().get("checks", {}).get("redis")))
        services.start("redis")
        restarts.append(probe(time.monotonic()))
        if not worker.alive():
            break
    for _ in range(times):
        services.redis("client", "pause", "2000")
        restarts_at = time.monotonic() + 2
        time.sleep(2)
        pauses.append(probe(restarts_at))
    background.stop()
    trial.check(f"Redis killed and started {times} times: worker draws again <= 10 s",
                f"at most {max(restarts):.1f} s", max(restarts) <= 10)
    trial.check(f"CLIENT PAUSE 2000 {times} times: the same", f"at most {max(pauses):.1f} s", max(pauses) <= 10)
    trial.check("the worker lives, without help", f"pid {pid} {'lives' if worker.alive() else 'ended'}", worker.alive())
    trial.check("its health said so", ", ".join(sorted(words)), "error" in words or "down" in words)
    after = eventually("health is well again", 10, lambda: health.get("/readyz").json().get("status") == "ready")
    trial.check("and is well again", after, True)
    trial.check("uploads meanwhile: 2xx or 503", refused or "all 201", set(refused) <= {503})
    top.settled(len(accepted), 40)
    trial.check("every accepted file completed", f"{len(accepted)} files", True)


@promise("Q6", "a worker that is told to stop finishes its work")
def q6(trial):
    top = Topology(trial, "mariadb", oss=True)
    client = top.serve().client.user("q6")
    worker = top.worker()
    # A body of 20 kB at 10 kB/s is a job of two seconds.
    top.oss.command("slow?bytes_per_second=10000")
    client.upload([(f"q6-{n}", content(str(n), 20_000)) for n in range(20)]).expect(201)
    eventually("20 jobs run", 15, lambda: top.leased(worker.pid) == 20)
    began = time.monotonic()
    worker.terminate()
    code = worker.wait(40)
    took = time.monotonic() - began
    trial.check("SIGTERM with 20 jobs of 2 s: exit 0 within 30 s", f"exit {code} after {took:.1f} s",
                code == 0 and took <= 30)
    twice = [n for n in top.oss.puts().values() if n != 1]
    done = top.statuses().get("completed", 0)
    left = top.sql.number("SELECT COUNT(*) FROM jobs WHERE state = 'running'")
    top.oss.command("recover")
    top.worker("next")
    top.settled(20, 30)
    twice += [n for n in top.oss.puts().values() if n != 1]
    trial.check("0 lost, 0 run twice, no lease left", f"{done} of 20 done by then, {len(twice)} twice, {left} leases",
                not twice and left == 0)

    # Jobs that would outlast any patience.
    top.oss.command("slow?bytes_per_second=100")
    client.upload([(f"q6-slow-{n}", content(str(n), 20_000)) for n in range(5)]).expect(201)
    stubborn = top.procs[-1]
    eventually("they run", 15, lambda: top.leased(stubborn.pid) == 5)
    stubborn.terminate()
    time.sleep(0.5)
    began = time.monotonic()
    os.kill(stubborn.pid, signal.SIGTERM)
    code = stubborn.wait(10)
    took = time.monotonic() - began
    trial.check("a second SIGTERM ends it at once", f"exit {code} after {took:.2f} s", code is not None and took < 1)
    top.oss.command("recover")
    top.worker("last")
    top.settled(25, 40)

    # The worker's patience is shorter than the job: it comes back at once, not after the expiry, and uncounted.
    impatient = Topology(trial, "mariadb", oss=True, env={"WORKER_STOP_TIMEOUT": "1s", "WORKER_EXPIRY": "60s"})
    client = impatient.serve().client.user("q6")
    worker = impatient.worker()
    impatient.oss.command("stall?on=true")
    client.upload([(f"q6-{n}", content(str(n), 500)) for n in range(4)]).expect(201)
    eventually("4 jobs run", 15, lambda: impatient.leased(worker.pid) == 4)
    began = time.monotonic()
    worker.terminate()
    code = worker.wait(20)
    free = impatient.sql.number("SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file' AND state = 'ready' AND attempts = 0")
    trial.check("jobs that outlast the stop timeout are given back, uncounted",
                f"exit {code} after {time.monotonic() - began:.1f} s, {free} of 4 ready", code == 0 and free == 4)


def seed_jobs(top, count, columns, values):
    """Rows of `jobs` that do nothing when they run: uploads of a file that is gone."""
    base = {
        "queue": "'upload'", "kind": "'upload_file'", "payload": """'{"file_id":0,"generation":1,"size":0}'""",
        "state": "'ready'", "max_attempts": "3", "run_at": "NOW(6)", "fair_key": "7", "fair_round": "1099511627776 + n",
        "created_at": "NOW(6)",
    } | dict(zip(columns, values))
    # The server of the tests is not in UTC, the columns are.
    cells = [v.replace("NOW(6)", "UTC_TIMESTAMP(6)") for v in base.values()]
    top.sql.run(f"INSERT INTO jobs ({', '.join(base)}) SELECT {', '.join(cells)} "
                f"FROM (SELECT seq AS n FROM seq_1_to_{count}) numbers")


def drained(top, count, seconds):
    look = "SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file' AND state = 'done'"
    began = time.monotonic()
    eventually(f"{count} jobs done", seconds, lambda: top.sql.number(look) == count, pause=0.2)
    return time.monotonic() - began


@promise("Q7", "the queue's memory is bounded")
def q7(trial):
    jobs = trial.world.pick(10_000, 50_000)
    services = trial.world.services
    top = Topology(trial, "mariadb", env={"JOBS_KEEP_DONE": "1s"})
    top.serve()
    top.worker()
    services.redis("config", "set", "slowlog-log-slower-than", "100000")
    services.redis("slowlog", "reset")

    def used():
        services.redis("memory", "purge")
        return int(re.search(r"used_memory:(\d+)", services.redis("info", "memory")).group(1))

    time.sleep(1)
    before = used()
    seed_jobs(top, jobs, [], [])
    took = drained(top, jobs, 240)
    time.sleep(1.5)
    # The retention pass, as the schedule runs it every quarter of an hour.
    top.sql.run("INSERT INTO jobs (queue, kind, payload, state, max_attempts, run_at, fair_key, fair_round, created_at) "
                "VALUES ('default', 'housekeeping', '{}', 'ready', 1, UTC_TIMESTAMP(6), 0, 1099511627776, UTC_TIMESTAMP(6))")
    eventually("the finished jobs are purged", 60,
               lambda: top.sql.number("SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file'") == 0, pause=0.2)
    time.sleep(2.5)
    after = used()
    slow = int(services.redis("slowlog", "len"))
    kept = top.sql.number("SELECT SUM(count) FROM job_daily WHERE kind = 'upload_file'")
    trial.check(f"{jobs} jobs and the retention pass: used_memory <= 1.2 x before",
                f"{after / before:.2f} x ({before >> 10} -> {after >> 10} KiB)", after <= 1.2 * before)
    trial.check("no Redis command over 100 ms", f"{slow} in SLOWLOG", slow == 0)
    trial.check("purged jobs stay counted by day", kept, kept == jobs)
    trial.note(f"{jobs} jobs drained in {took:.1f} s")


@promise("Q8", "a burst is no poison")
def q8(trial):
    jobs = 20_000
    top = Topology(trial, "mariadb")
    top.serve()
    top.worker("one")
    top.worker("two")
    seed_jobs(top, jobs, ["run_at"], ["NOW(6) + INTERVAL 3 SECOND"])
    time.sleep(3)
    took = drained(top, jobs, 240)
    trial.check("20,000 jobs falling due in one second: all run", f"all, in {took:.1f} s", True)
    top.sql.run("DELETE FROM jobs WHERE kind = 'upload_file'")
    seed_jobs(top, jobs, ["state", "lease_owner", "started_at"], ["'running'", "'ghost-1-00000000'", "NOW(6)"])
    took = drained(top, jobs, 240)
    losses = top.sql.number("SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file' AND losses = 1")
    trial.check("20,000 orphans of one dead worker at once: all run", f"all, in {took:.1f} s", losses == jobs)
    twice = top.sql.number("SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file' AND (attempts > 0 OR losses > 1)")
    trial.check("none more than once", f"{twice} more", twice == 0)
