"""D5 and D6: a database server that restarts, and the same answers on all three databases."""

import re
import threading
import time

from harness.client import Gone, content
from harness.report import promise
from harness.topology import Background, Topology
from harness.world import eventually


@promise("D5", "restart of the database")
def d5(trial):
    restarts = trial.world.pick(2, 10)
    for kind in ("mariadb", "postgres"):
        services = trial.world.services
        top = Topology(trial, kind, oss=True, env={"DATABASE_ACQUIRE_TIMEOUT": "3s"})
        client = top.serve().client.user("d5")
        worker = top.worker()
        odd, slow, acked, lock = {}, [], [], threading.Lock()
        serial = iter(range(10_000_000))
        success = [0.0]

        def write(_):
            """Three files, their jobs and the space: several rows of one transaction."""
            name = f"d5-{next(serial)}"
            try:
                reply = client.upload([(f"{name}-{i}", content(name, 300)) for i in range(3)])
            except Gone as error:
                reply = None
                key = str(error)
            with lock:
                if reply is not None and reply.status == 201:
                    acked.append(name)
                    success[0] = time.monotonic()
                else:
                    key = reply.status if reply is not None else key
                    odd[key] = odd.get(key, 0) + 1
                    if reply is not None:
                        slow.append(reply.took)
            time.sleep(0.02)

        background = Background(write, 8)
        trial.defer(lambda kind=kind: services.start(kind))
        waits = []
        for n in range(restarts):
            time.sleep(1.5)
            # In turns: told to stop, and killed.
            (services.stop if n % 2 == 0 else services.kill)(kind)
            time.sleep(trial.random.uniform(0.5, 2.0))
            services.start(kind)
            back = time.monotonic()
            eventually("a write succeeds again", 30, lambda: success[0] > back, pause=0.01)
            waits.append(success[0] - back)
        time.sleep(1)
        background.stop()
        trial.check(f"{kind} restarted {restarts} times under load: only 503", odd or "none", set(odd) <= {503})
        trial.check(f"{kind}: each within 5 s", f"at most {max(slow, default=0):.1f} s of {len(slow)}", max(slow, default=0) <= 5)
        trial.check(f"{kind}: first success <= 3 s after it is back", f"at most {max(waits):.2f} s", max(waits) <= 3)
        torn = top.sql.run("SELECT MIN(name), COUNT(*) FROM files GROUP BY SUBSTRING(name, 1, LENGTH(name) - 2) "
                           "HAVING COUNT(*) <> 3")
        missing = top.sql.number(
            "SELECT COUNT(*) FROM files f WHERE (SELECT COUNT(*) FROM jobs j WHERE j.kind = 'upload_file' AND "
            "j.subject = CONCAT('file:', f.id, ':1')) <> 1"
        )
        used = top.sql.number("SELECT used_space FROM users WHERE username = 'd5'")
        total = top.sql.number("SELECT SUM(size) FROM files")
        trial.check(f"{kind}: 0 half-done multi-row writes",
                    f"{len(torn)} torn batches, {missing} files without their job, {used - total} bytes of drift",
                    not torn and missing == 0 and used == total)
        files = top.sql.number("SELECT COUNT(*) FROM files")
        top.settled(files, 60)
        trial.check(f"{kind}: everything accepted completed", f"{files} files, {len(acked)} batches acknowledged",
                    files >= 3 * len(acked))
        answers = {}

        def ask(_):
            reply = client.get("/file/?page_size=1")
            with lock:
                answers[reply.status] = answers.get(reply.status, 0) + 1

        check = Background(ask, 32)
        time.sleep(2)
        check.stop()
        trial.check(f"{kind}: no lasting loss of connections (32 readers)", answers, set(answers) == {200})
        trial.check(f"{kind}: the worker lives", worker.alive(), worker.alive())
    outlasted(trial)


def outlasted(trial):
    """The database is away for longer than the expiry while jobs run: they come back, once it does."""
    top = Topology(trial, "mariadb", oss=True, through=("database",))
    client = top.serve(env=top.direct("database")).client.user("d5")
    worker = top.worker()
    top.oss.command("stall?on=true")
    client.upload([(f"long-{n}", content(str(n), 300)) for n in range(6)]).expect(201)
    eventually("6 jobs run", 15, lambda: top.leased(worker.pid) == 6)
    top.proxies["database"].refuse()
    time.sleep(7)
    top.oss.command("recover")
    top.proxies["database"].release()
    began = time.monotonic()
    try:
        top.settled(6, 30)
        took = time.monotonic() - began
    except Exception:
        took = None
    trial.check("away for longer than the expiry while 6 jobs ran: they run again within expiry + 5 s",
                f"{took:.1f} s" if took is not None else f"{top.statuses()}, {top.leased(worker.pid)} leased for ever",
                took is not None and took <= 9)


MASK = [
    (re.compile(r'"(id|file_id|task_id|user_id|sid)": ?"?\d+"?'), r'"\1":0'),
    (re.compile(r'\d{4}-\d\d-\d\dT[\d:.]+Z'), "TIME"),
    (re.compile(r'eyJ[\w.-]+'), "TOKEN"),
    (re.compile(r'files/\d+/[0-9a-f]{32}'), "KEY"),
    (re.compile(r'127\.0\.0\.1:\d+'), "HOST"),
    (re.compile(r'(signature|Signature|OSSAccessKeyId|expires|Expires|e|s)=[^&"]+'), "SIGNED"),
    (re.compile(r'"request_id":"[^"]+"'), "RID"),
]


def script(client, steps, random):
    """The same calls, as far as the seed goes, whatever the database."""
    out, files = [], []
    names = ["a.txt", "文件.png", "Ünï.bin", "emoji 😀.txt", "x" * 255, "a/b/../c.tar.gz", "", "\u0000", "..", "CON", "a%b_c"]
    users = ["alice", "Alice", "ALICE", "ａｌｉｃｅ", "bob", "straße", "STRASSE", "ss@", "", "x" * 151]

    def note(reply):
        text = reply.body.decode(errors="replace")
        for pattern, to in MASK:
            text = pattern.sub(to, text)
        out.append((reply.status, text))
        return reply

    note(client.register("script"))
    answer = client.login("script").json()
    me = client.with_token(answer["access"])
    for n in range(steps):
        kind = random.randrange(12)
        if kind == 0:
            note(client.post("/user/register/", {
                "username": random.choice(users), "email": f"{random.choice(users)}@Example.com", "password": "correct-horse-7",
            }))
        elif kind == 1:
            note(client.login(random.choice(users)))
        elif kind in (2, 3):
            name = random.choice(names)
            data = content(f"{n}", random.choice([0, 1, 500, 70_000]))
            reply = note(me.upload([(name, data)]))
            if reply.status == 201:
                files += [f["id"] for f in reply.json()]
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    state = me.get(f"/file/upload_status/?file_ids={files[-1]}").json()
                    if state and state[0]["upload_status"] in ("completed", "failed"):
                        break
                    time.sleep(0.01)
        elif kind == 4:
            note(me.post("/file/new-folder/", {"folder_name": random.choice(names), "path": random.choice(["/", "/a", "x"])}))
        elif kind == 5:
            order = random.choice(["id", "-id", "name", "-name", "size", "-created_at", "wrong"])
            query = f"ordering={order}&page={random.randrange(0, 4)}&page_size={random.choice([1, 5, 100, 101])}"
            note(me.get(f"/file/?{query}"))
        elif kind == 6:
            note(me.get("/file/?search=" + random.choice(["a", "%25", "_", "X", "%E6%96%87", "%F0%9F%98%80", "%C3%BC"])))
        elif kind == 7 and files:
            file_id = random.choice(files)
            note(me.request("PATCH", f"/file/{file_id}/", {"name": random.choice(names), "path": random.choice(["/", "/b"])}))
        elif kind == 8 and files:
            note(me.request("DELETE", f"/file/{random.choice(files)}/"))
        elif kind == 9:
            note(me.post("/user/update-display-name/", {"display_name": random.choice([*names, None])}))
        elif kind == 10:
            note(me.get(random.choice(["/user/profile/", "/file/storage-info/", "/user/99999/", "/user/sessions/x/"])))
        else:
            note(me.post("/user/update-email/", {"email": random.choice(["a@b.c", "SCRIPT@example.com", "Bob@Example.com", "x"])}))
    return out


@promise("D6", "the same answers on all three databases")
def d6(trial):
    steps = trial.world.pick(150, 500)
    results = {}
    for kind in ("sqlite", "mariadb", "postgres"):
        top = Topology(trial, kind, redis=False)
        results[kind] = script(top.serve().client, steps, trial.world.random("D6"))
    for kind in ("mariadb", "postgres"):
        pairs = [(n, a, b) for n, (a, b) in enumerate(zip(results["sqlite"], results[kind])) if a != b]
        for n, a, b in pairs[:3]:
            trial.note(f"call {n}: sqlite {a[0]} {a[1][:150]} | {kind} {b[0]} {b[1][:150]}")
        trial.check(f"{len(results[kind])} recorded calls: SQLite and {kind} answer alike", f"{len(pairs)} differ",
                    not pairs and len(results["sqlite"]) == len(results[kind]))
    trial.note("the whole functional suite on each database: stages sqlite, mariadb and postgres of tests/run")
