"""D1 to D3: a server that is killed while it writes, backups of a live database, many writers at once."""

import os
import sqlite3
import threading
import time

from harness.client import Gone, content
from harness.report import promise
from harness.topology import Background, Topology
from harness.world import quantile


def integrity(path):
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        whole = conn.execute("PRAGMA integrity_check").fetchall()
        foreign = conn.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        conn.close()
    return whole == [("ok",)], not foreign


@promise("D1", "acknowledged writes survive a crash")
def d1(trial):
    kills = trial.world.pick(6, 50)
    top = Topology(trial)
    server = top.serve()
    port, base = server.port, server.base
    users = [server.client.user(f"d1-{n}") for n in range(16)]
    sent_log = open(top.folder / "sent", "a", buffering=1)
    acked_log = open(top.folder / "acked", "a", buffering=1)
    going = threading.Event()
    going.set()
    odd = {}
    lock = threading.Lock()

    def write(number):
        """One write with an idempotency key, repeated until it is answered: also over a crash."""
        going.wait()
        client = users[number]
        name = f"d1-{number}-{next(serial[number])}"
        sent_log.write(name + "\n")
        while True:
            try:
                reply = client.upload([(name, content(name, 200))], key=name)
            except Gone:
                time.sleep(0.05)
                continue
            if reply.status == 201:
                acked_log.write(name + "\n")
                break
            with lock:
                odd[reply.status] = odd.get(reply.status, 0) + 1
            # The claim of the crashed request is still held; it is taken over when it ends.
            if reply.status == 409:
                held.append(name)
                break
        time.sleep(0.01)

    serial = [iter(range(10_000_000)) for _ in users]
    held = []
    background = Background(write, len(users))
    slowest, busy = 0.0, 0.5
    for _ in range(kills):
        pause = trial.random.uniform(0.3, 1.2)
        busy += pause
        time.sleep(pause)
        server.kill()
        began = time.monotonic()
        server = top.serve(port, wait=False)
        slowest = max(slowest, top.wait_up(server) - began)
    time.sleep(0.5)
    background.stop()
    for client in users:
        client.close()
    acked = open(acked_log.name).read().split()
    top.settled(len(acked), 60)
    server.kill()
    whole, foreign = integrity(top.sql.url)
    counts = dict(top.sql.run("SELECT name, COUNT(*) FROM files GROUP BY name"))
    lost = [name for name in acked if name not in counts]
    twice = [name for name, n in counts.items() if int(n) != 1]
    strange = [name for name in counts if name not in set(open(sent_log.name).read().split())]
    trial.check(f"{kills} kill -9 under load: integrity_check ok, foreign_key_check empty", f"{whole}, {foreign}",
                whole and foreign)
    trial.check("every write answered 2xx is there", f"{len(lost)} of {len(acked)} lost", not lost)
    trial.note(f"{len(acked) / busy:.0f} acknowledged writes a second between the kills")
    trial.check("none twice, although each was repeated until answered", f"{len(twice)} twice, {len(strange)} unknown",
                not twice and not strange)
    trial.check("restart to the first answer <= 3 s", f"at most {slowest:.2f} s", slowest <= 3)
    trial.check("no answer but 201, and 409 for a claim of the crashed request", odd or "only 201", set(odd) <= {409})
    drift = top.sql.run("SELECT u.username FROM users u WHERE used_space <> (SELECT COALESCE(SUM(size), 0) FROM files f "
                        "WHERE f.user_id = u.id AND f.deleted_at IS NULL)")
    trial.check("used space equals the files", f"{len(drift)} users drifted", not drift)


def consistent(path):
    """What every commit keeps true: each job has its file, each file its owner, space is the sum."""
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return conn.execute(
            "SELECT (SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file' AND CAST(json_extract(payload, '$.file_id') "
            "AS INTEGER) NOT IN (SELECT id FROM files)), (SELECT COUNT(*) FROM files WHERE user_id NOT IN "
            "(SELECT id FROM users)), (SELECT COUNT(*) FROM users u WHERE used_space <> (SELECT COALESCE(SUM(size), 0) "
            "FROM files f WHERE f.user_id = u.id AND f.deleted_at IS NULL)), (SELECT COUNT(*) FROM files)"
        ).fetchone()
    finally:
        conn.close()


@promise("D2", "backup while running")
def d2(trial):
    backups, span = trial.world.pick((20, 8), (20, 30))
    top = Topology(trial)
    server = top.serve()
    client = server.client.user("d2")
    times = []
    serial = iter(range(10_000_000))

    def write(_):
        name = f"d2-{next(serial)}"
        began = time.monotonic()
        client.upload([(name, content(name, 500))]).expect(201)
        times.append(time.monotonic() - began)
        time.sleep(0.01)

    background = Background(write, 4)
    time.sleep(1)
    times.clear()
    time.sleep(span)
    baseline, plain = quantile(times, 0.99), len(times)
    times.clear()
    bad, counts = [], []
    began = time.monotonic()
    for n in range(backups):
        copy = str(top.folder / f"backup-{n}.db")
        # An operator's own means: the online backup of SQLite, or VACUUM INTO.
        source = sqlite3.connect(f"file:{top.sql.url}?mode=ro", uri=True, timeout=30)
        if n % 2:
            source.execute("VACUUM INTO ?", (copy,))
        else:
            target = sqlite3.connect(copy)
            source.backup(target)
            target.close()
        source.close()
        time.sleep(max(0.0, began + (n + 1) * span / backups - time.monotonic()))
        whole, foreign = integrity(copy)
        *faults, files = consistent(copy)
        counts.append(files)
        if not whole or not foreign or any(faults):
            bad.append((n, whole, foreign, faults))
        os.unlink(copy)
    during, busy = quantile(times, 0.99), len(times)
    background.stop()
    trial.check(f"{backups} backups under load open, are whole and a consistent prefix", f"{len(bad)} bad {bad[:2]}", not bad)
    trial.check("they grow", f"{counts[0]} to {counts[-1]} files", counts == sorted(counts))
    trial.check("p99 of writers <= 2 x baseline", f"{during * 1000:.0f} ms, baseline {baseline * 1000:.0f} ms",
                during <= 2 * baseline)
    trial.note(f"{plain} writes before, {busy} during the backups")


@promise("D3", "no \"database is locked\" to users")
def d3(trial):
    seconds = trial.world.pick(10, 60)
    top = Topology(trial)
    server = top.serve()
    users = [server.client.user(f"d3-{n}") for n in range(8)]
    statuses, lock = {}, threading.Lock()
    serial = [iter(range(10_000_000)) for _ in range(64)]

    def write(number):
        name = f"d3-{number}-{next(serial[number])}"
        client = users[number % 8]
        if number % 3 == 0:
            reply = client.post("/file/new-folder/", {"folder_name": name})
        elif number % 3 == 1:
            reply = client.post("/user/update-display-name/", {"display_name": name})
        else:
            reply = client.upload([(name, content(name, 300))])
        with lock:
            statuses[reply.status] = statuses.get(reply.status, 0) + 1

    background = Background(write, 64)
    time.sleep(seconds)
    background.stop()
    wal = os.path.getsize(top.sql.url + "-wal") / (1 << 20)
    trial.check(f"64 concurrent writers for {seconds} s: 0 answers of 5xx", dict(sorted(statuses.items())),
                not [s for s in statuses if s >= 500])
    trial.check("WAL <= 64 MiB afterwards", f"{wal:.1f} MiB", wal <= 64)
    locked = server.text().count("database is locked")
    trial.check("nothing of it in the log", f"{locked} lines", locked == 0)
