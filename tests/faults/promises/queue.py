"""Q1 to Q4: jobs and workers that die, enqueueing that is cut off, jobs that always fail."""

import hashlib
import threading
import time

from harness.client import Gone, content
from harness.report import promise
from harness.topology import Topology
from harness.world import eventually


def judge(trial, top, expected, extra_allowed=None, doubles=0):
    """Compares files, jobs and objects with what was sent: {name: bytes}."""
    files = top.files()
    lost = [name for name in expected if name not in files]
    unfinished = [name for name in expected if name in files and files[name][0]["status"] != "completed"]
    wrong = [
        name for name, data in expected.items()
        if name in files and files[name][0]["sha256"] != hashlib.sha256(data).hexdigest()
    ]
    twice = sum(len(rows) - 1 for rows in files.values())
    trial.check("0 lost, all completed, right SHA-256",
                f"{len(lost)} lost, {len(unfinished)} unfinished, {len(wrong)} wrong of {len(expected)}",
                not lost and not unfinished and not wrong)
    trial.check(f"rows per accepted file: 1 (at most {doubles} more)", f"{twice} more", twice <= doubles)
    keys = {rows[0]["key"] for rows in files.values()}
    objects = top.oss.objects()
    trial.check("one object for each file, no other", f"{len(objects)} objects for {len(keys)} files",
                set(objects) == keys)
    puts = top.oss.puts()
    never = [key for key in keys if puts.get(key, 0) < 1]
    extra = sum(n - 1 for n in puts.values())
    if extra_allowed is not None:
        trial.check(f"every job ran; extra runs <= {extra_allowed} in flight at the kills",
                    f"{len(never)} never ran, {extra} extra", not never and extra <= extra_allowed)
    return files


def bytes_equal(trial, client, files, expected, sample):
    names = trial.random.sample(sorted(expected), min(sample, len(expected)))
    bad = [name for name in names if client.download(files[name][0]["id"]) != expected[name]]
    trial.check(f"bytes of {len(names)} downloads equal", f"{len(bad)} differ", not bad)


@promise("Q1", "no accepted job is lost when a worker dies")
def q1(trial):
    jobs, kills = trial.world.pick((1200, 12), (10_000, 100))
    top = Topology(trial, "mariadb", oss=True)
    client = top.serve().client.user("q1")
    workers = [top.worker(f"worker{i}") for i in range(2)]
    numbers = iter(range(jobs))
    expected, acked = {}, threading.Lock()
    per_round = -(-jobs // kills)

    def send():
        """The files of one round, in batches; every twentieth is large enough for the staging folder."""
        left = per_round
        while left > 0:
            mine = [n for _, n in zip(range(min(20, left)), numbers)]
            left -= 20
            if not mine:
                return
            batch = []
            for n in mine:
                name = f"q1-{n:05}"
                batch.append((name, content(name, 70_000 if n % 20 == 7 else 300 + n % 700)))
            client.upload(batch).expect(201)
            with acked:
                expected.update(batch)

    in_flight = 0
    for _ in range(kills):
        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(trial.random.uniform(0.02, 0.4))
        victim = trial.random.randrange(2)
        pid = workers[victim].pid
        workers[victim].kill()
        sender.join()
        # A statement that the victim had sent may be committed a moment after its death.
        time.sleep(0.05)
        in_flight += top.leased(pid)
        workers[victim] = top.worker(f"worker{victim}")
    top.settled(len(expected), 90)
    trial.note(f"{len(expected)} jobs, {kills} kill -9, {in_flight} in flight at the kills, "
               f"{top.sql.number('SELECT SUM(losses) FROM jobs')} leases taken back")
    files = judge(trial, top, expected, extra_allowed=in_flight)
    bytes_equal(trial, client, files, expected, 200)
    left = top.sql.number("SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file' AND state <> 'done'")
    trial.check("no job left", f"{left} left", left == 0)


def orphans(top, kill):
    """Holds jobs of a worker at the PUT, kills it, and times until every one is leased by another."""
    top.oss.command("stall?on=true")
    victims = kill()
    held = top.sql.run(
        "SELECT id, lease_owner FROM jobs WHERE state = 'running' AND kind = 'upload_file' AND ("
        + " OR ".join(f"lease_owner LIKE '%-{pid}-%'" for pid in victims) + ")"
    )
    began = time.monotonic()
    ids = ",".join(job for job, _ in held)
    dead = " AND ".join(f"lease_owner NOT LIKE '%-{pid}-%'" for pid in victims)

    def taken():
        return top.sql.number(
            f"SELECT COUNT(*) FROM jobs WHERE id IN ({ids}) AND ({dead}) AND state IN ('running', 'done')"
        ) == len(held)

    eventually("the orphans have a worker again", 60, taken)
    took = time.monotonic() - began
    top.oss.command("recover")
    return len(held), took


@promise("Q2", "a dead worker's jobs come back soon")
def q2(trial):
    settings = [("expiry 4 s", {}, 9)]
    if trial.world.long:
        settings.append(("default expiry", {"WORKER_HEARTBEAT": "10s", "WORKER_EXPIRY": "30s"}, 35))
    for label, env, bar in settings:
        top = Topology(trial, "mariadb", oss=True, env=env | {"UPLOAD_SMALL_WORKERS": "4"})
        client = top.serve().client.user("q2")
        first = top.worker("first")
        count = 0

        def send(n):
            nonlocal count
            client.upload([(f"q2-{count + i}", content(str(i), 500)) for i in range(n)]).expect(201)
            count += n

        def one_of_two():
            send(4)
            eventually("the first worker holds jobs", 15, lambda: top.leased(first.pid) == 4)
            replicas.append(top.worker("second"))
            # Long enough for both to see each other.
            time.sleep(2)
            first.kill()
            return [first.pid]

        replicas = []
        held, took = orphans(top, one_of_two)
        trial.check(f"{label}, one of two killed: back within {bar} s", f"{held} jobs after {took:.1f} s", took <= bar)
        top.settled(count, 60)
        replicas[0].stop()

        only = top.worker("only")

        def restarted():
            send(4)
            eventually("the worker holds jobs", 15, lambda: top.leased(only.pid) == 4)
            only.kill()
            top.worker("again")
            return [only.pid]

        held, took = orphans(top, restarted)
        trial.check(f"{label}, the only one killed and restarted at once: within {bar} s",
                    f"{held} jobs after {took:.1f} s", took <= bar)
        top.settled(count, 60)


@promise("Q3", "enqueueing is atomic with the data")
def q3(trial):
    kills, uploads, outage = trial.world.pick((8, 200, 8), (50, 1000, 30))
    top = Topology(trial, "mariadb", oss=True, through=("redis",))
    server = top.serve()
    port = server.port
    client = server.client.user("q3")
    top.worker(env=top.direct("redis"))
    expected = {}
    statuses = {}
    for n in range(kills):
        # Every other time the push cannot reach Redis at all, so the kill falls between commit and push for certain.
        held = n % 2 == 0
        if held:
            top.proxies["redis"].hold_up()
        name = f"q3-kill-{n}"
        data = content(name, 900)
        reply = client.upload([(name, data)])
        server.kill()
        top.proxies["redis"].release()
        top.proxies["redis"].cut()
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        expected[name] = data
        server = top.serve(port)
        client.close()
    trial.check(f"{kills} kills right after the 201, half of them before the push: all 201", statuses,
                set(statuses) == {201})
    top.settled(len(expected), 30)

    trial.world.services.kill("redis")
    trial.defer(lambda: trial.world.services.start("redis"))
    began = time.monotonic()
    statuses = {}
    pause = outage / uploads
    for n in range(uploads):
        name = f"q3-down-{n}"
        data = content(name, 400)
        try:
            status = client.upload([(name, data)]).status
        except Gone as error:
            status = str(error)
        statuses[status] = statuses.get(status, 0) + 1
        if status == 201:
            expected[name] = data
        time.sleep(max(0.0, began + n * pause - time.monotonic()))
    time.sleep(max(0.0, outage - (time.monotonic() - began)))
    trial.world.services.start("redis")
    back = time.monotonic()
    trial.check(f"{uploads} uploads during {outage} s without Redis: 2xx or 503", statuses, set(statuses) <= {201, 503})
    top.settled(len(expected), 30)
    trial.check("0 rows stuck 30 s after Redis is back", f"all completed {time.monotonic() - back:.1f} s after",
                time.monotonic() - back <= 30)
    judge(trial, top, expected)
    audit = top.command("jobs", "audit", "--json", ok=False)
    rows = top.sql.number("SELECT COUNT(*) FROM files")
    subjects = top.sql.number("SELECT COUNT(DISTINCT subject) FROM jobs WHERE kind = 'upload_file'")
    trial.check("0 jobs without a row, 0 rows without a job", f"{rows} files, {subjects} subjects of jobs",
                rows == subjects)
    trial.check("`jobs audit` agrees", f"exit {audit.returncode}", audit.returncode == 0)


@promise("Q4", "retries are bounded, backed off, then dead")
def q4(trial):
    top = Topology(trial, "mariadb", oss=True, through=("oss",),
                   env={"UPLOAD_MAX_RETRIES": "3", "JOBS_POLL_INTERVAL": "200ms"})
    client = top.serve().client.user("q4")
    top.worker()
    tries = []

    def watch(_, data):
        if data.startswith(b"PUT "):
            tries.append(time.monotonic())

    top.proxies["oss"].on_up = watch
    top.oss.command("fail_always?status=500")
    data = content("q4", 2000)
    file_id = client.upload([("q4", data)]).expect(201)[0]["id"]
    path = f"/file/upload_status/?file_ids={file_id}"
    seen = eventually("the file failed", 60,
                      lambda: (s := client.get(path).expect(200)[0])["upload_status"] == "failed" and s, pause=0.2)
    time.sleep(3)
    gaps = [b - a for a, b in zip(tries, tries[1:])]
    trial.check("exactly 4 runs (UPLOAD_MAX_RETRIES=3)", len(tries), len(tries) == 4)
    growth = [b / a for a, b in zip(gaps, gaps[1:])]
    trial.check("gaps grow by at least 1.5", ", ".join(f"{g:.2f} s" for g in gaps), growth and min(growth) >= 1.5)
    trial.check("the owner sees the reason", seen["upload_error"], seen["upload_error"] == "存储服务不可用")
    dead = top.sql.number("SELECT COUNT(*) FROM jobs WHERE state = 'dead'")
    listed = top.command("jobs", "list", "--state", "dead", "--json")
    trial.check("1 entry in the dead list", f"{dead} rows, in the list: {listed.count(chr(34) + 'upload_file' + chr(34))}",
                dead == 1 and listed.count('"upload_file"') == 1)
    used = top.sql.number("SELECT used_space FROM users WHERE username = 'q4'")
    trial.check("its space is free again", f"{used} bytes used", used == 0)
    top.oss.command("recover")
    first = client.post(f"/file/{file_id}/retry_upload/", {})
    top.settled(1, 30)
    second = client.post(f"/file/{file_id}/retry_upload/", {})
    trial.check("the retry endpoint works, once", f"{first.status}, then {second.status} {second.json().get('code')}",
                first.status == 200 and second.status == 400 and second.json()["code"] == "already_completed")
    trial.check("bytes equal", "", client.download(file_id) == data)
