"""D7 and H5: what the machine runs out of: room on the disk, and file descriptors."""

import os
import resource
import socket
import threading
import time
from urllib.parse import urlsplit

from harness.client import Client, Gone, content
from harness.disk import small_disk
from harness.report import promise
from harness.topology import Background, Topology
from harness.world import eventually

from .data import integrity

FULL = (503, "service_unavailable")


def multipart(client, name, data):
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: a/b\r\n\r\n'
    body = head.encode() + data + b"\r\n--b--\r\n"
    return client.request("POST", "/file/upload/", body, {"Content-Type": "multipart/form-data; boundary=b"})


class Load:
    """Requests of every kind that needs the disk, each on a thread of its own, and what they were answered."""

    def __init__(self, server, user, stored):
        self.user, self.base, self.stored = user, server.client, stored
        self.lock = threading.Lock()
        self.answers = {}      # kind → {(status, code): count}, since `begin`
        self.success = {}      # kind → when the last one was fine
        self.acked, self.refused, self.odd = {}, set(), []
        self.serial = iter(range(10_000_000))
        kinds = [self.rows, self.batch, self.stream, self.account, self.folders, self.read]
        self.background = Background(lambda number: self.once(kinds[number]), len(kinds))

    def begin(self):
        with self.lock:
            self.answers = {}

    def stop(self):
        self.background.stop()

    def once(self, work):
        kind = work.__name__
        try:
            names, reply = work(f"d7-{kind}-{next(self.serial)}")
        except Gone as error:
            with self.lock:
                self.odd.append(f"{kind}: {error}")
            return
        code = None if reply.status < 300 else reply.json().get("code")
        with self.lock:
            found = self.answers.setdefault(kind, {})
            found[reply.status, code] = found.get((reply.status, code), 0) + 1
            if reply.status < 300:
                self.success[kind] = time.monotonic()
                self.acked |= names
            else:
                self.refused |= set(names)
                if (reply.status, code) != FULL:
                    self.odd.append(f"{kind}: {reply.status} {reply.body[:200]!r}")
        time.sleep(0.05)

    def rows(self, name):
        files = {name: content(name, 3000)}
        return files, self.user.upload(files.items())

    def batch(self, name):
        files = {f"{name}-{n}": content(f"{name}-{n}", 90_000) for n in range(3)}
        return files, self.user.upload(files.items())

    def stream(self, name):
        files = {name: content(name, 300_000)}
        return files, multipart(self.user, name, files[name])

    def account(self, name):
        # Registered or not: a login writes as well.
        self.base.register(name)
        return {}, self.base.login("d7")

    def folders(self, name):
        return {}, self.user.post("/file/new-folder/", {"folder_name": name, "path": "/"})

    def read(self, _):
        self.user.get("/file/?page_size=10").expect(200)
        url = urlsplit(self.user.get(f"/file/{self.stored}/download/").expect(200)["download_url"])
        return {}, self.base.get(f"{url.path}?{url.query}")

    def recovered(self, since):
        return len(self.success) == 6 and min(self.success.values()) > since


@promise("D7", "a full disk: 503, nothing half done, back without a restart")
def d7(trial):
    rounds = trial.world.pick(5, 30)
    disk = small_disk(trial, trial.world.folder / f"disk-{next(trial.world.numbers)}", trial.world.pick(160, 768) << 20)
    # So many attempts that no upload is given up while there is no room.
    top = Topology(trial, data=disk.folder, env={"UPLOAD_MAX_RETRIES": "20"})
    server = top.serve()
    user = server.client.user("d7")
    stored = user.upload([("before", content("before", 200_000))]).expect(201)[0]["id"]
    top.settled(1, 20)
    load = Load(server, user, stored)
    eventually("everything is answered", 20, lambda: load.recovered(0))
    full, waits, read_faults = {}, [], []
    for n in range(rounds):
        # Full to the last byte, and nearly full: then transactions break off at other places.
        leave = 0 if n % 2 == 0 else trial.random.randrange(4096, 600_000)
        disk.fill(leave, [server.pid])
        load.begin()
        time.sleep(trial.world.pick(1.2, 3))
        with load.lock:
            for kind, found in load.answers.items():
                for answer, count in found.items():
                    full.setdefault(kind, {})[answer] = full.get(kind, {}).get(answer, 0) + count
        disk.free([server.pid])
        freed = time.monotonic()
        eventually(lambda: f"everything works again: {load.odd[-1:]}", 15, lambda: load.recovered(freed), pause=0.01)
        waits.append(time.monotonic() - freed)
    time.sleep(0.3)
    load.stop()
    for one in load.odd[:5]:
        trial.note(one)
    for kind, found in sorted(full.items()):
        trial.note(f"full: {kind}: {', '.join(f'{n} x {status}' for (status, _), n in found.items())}")
    reading = full.pop("read", {})
    trial.check(f"full {rounds} times under load: answered as ever or with 503", f"{len(load.odd)} other answers", not load.odd)
    # Those that wait for the disk take their time, so only all kinds together are counted.
    refused = sum(n for found in full.values() for answer, n in found.items() if answer == FULL)
    trial.check("full: writes are refused", f"{refused} x 503", refused > 0)
    trial.check("full: reads go on", reading or "none", set(reading) == {(200, None)})
    trial.check("free again: everything works within 3 s, without a restart", f"at most {max(waits):.2f} s", max(waits) <= 3)
    judge(trial, top, user, load)
    restart(trial, top, disk, server)


def judge(trial, top, user, load):
    """Nothing is half done, once the jobs are over."""
    top.settled(len(load.acked) + 1, 60)
    files = top.files()
    lost = [name for name in load.acked if name not in files]
    half = [name for name in load.refused if name in files]
    twice = [name for name, rows in files.items() if len(rows) > 1]
    trial.check("every upload answered 201 is there, none that was refused, none twice",
                f"{len(load.acked)} accepted, {len(load.refused)} refused: {len(lost)} lost, {len(half)} half done, {len(twice)} twice",
                not lost and not half and not twice)
    differ = [name for name, data in load.acked.items() if user.download(files[name][0]["id"]) != data]
    trial.check("their bytes are whole", f"{len(differ)} differ", not differ)
    staged = [p.name for p in (top.data / "staging").iterdir() if p.name != ".staging-id"]
    temporary = [p.name for p in (top.data / "objects" / ".tmp").iterdir()]
    objects = {str(p.relative_to(top.data / "objects")) for p in (top.data / "objects").rglob("*")
               if p.is_file() and not any(part.startswith(".") for part in p.relative_to(top.data / "objects").parts)}
    keys = {rows[0]["key"] for rows in files.values() if rows[0]["key"]}
    trial.check("no object without its file, nothing left in staging",
                f"{len(objects ^ keys)} objects too many or too few, {len(staged)} staged, {len(temporary)} temporary",
                objects == keys and not staged and not temporary)
    drift = top.sql.run("SELECT u.username FROM users u WHERE used_space <> (SELECT COALESCE(SUM(size), 0) FROM files f "
                        "WHERE f.user_id = u.id AND f.deleted_at IS NULL)")
    whole, foreign = integrity(top.sql.url)
    trial.check("used space equals the files; integrity_check ok, foreign_key_check empty",
                f"{len(drift)} users drifted, {whole}, {foreign}", not drift and whole and foreign)
    text = "".join(proc.text() for proc in top.procs)
    trial.check("no panic", text.count("panicked"), "panicked" not in text)


def restart(trial, top, disk, server):
    """A start without room: it ends with a message, or serves what it can; with room it is as ever."""
    server.stop()
    port = server.port
    disk.fill(0)
    server = top.serve(port, wait=False) if disk.exact else None
    if server:
        deadline = time.monotonic() + 15
        answered = None
        while server.alive() and answered is None and time.monotonic() < deadline:
            try:
                answered = server.client.get("/healthz").status
            except Gone:
                time.sleep(0.05)
        code = server.popen.poll()
        said = server.text().strip().splitlines()[-1:] or ["nothing"]
        trial.check("a start without room: it serves, or ends with 1 and says why",
                    f"serves: {answered}" if answered else f"exit {code}: {said[0][-120:]}",
                    (answered == 200 or code == 1) and "panicked" not in server.text())
        server.stop()
    disk.free()
    server = top.serve(port)
    user = server.client.login("d7").expect(200)
    status = server.client.with_token(user["access"]).upload([("later", b"x")]).status
    trial.check("a start with room again", status, status == 201)


def seconds_of_cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def idle(server, count):
    """Connections that say nothing, as many as get in."""
    held = []
    for _ in range(count):
        sock = socket.socket()
        sock.settimeout(5)
        try:
            sock.connect(("127.0.0.1", server.port))
        except OSError:
            sock.close()
            break
        held.append(sock)
    return held


def answered(server):
    """A new connection."""
    try:
        return Client(server.base, timeout=3).get("/healthz").status
    except Gone:
        return None


@promise("H5", "out of file descriptors: no spinning, nothing lost, back by itself")
def h5(trial):
    # Started with few: connections leave enough of them for the work.
    top = Topology(trial, env={"UPLOAD_MAX_RETRIES": "20"})
    server = top.serve(files=128)
    user = server.client.user("h5")
    # Its connection is there before the others come.
    user.get("/user/profile/").expect(200)
    held = idle(server, 300)
    status = Work(trial, user, "capped", 3)
    # A client that is still sending may lose the answer to the close behind it.
    extra = [answered(server) for _ in range(5)]
    trial.check("128 descriptors, 300 idle connections: those who are in work as ever", status.answers, set(status.answers) == {201})
    trial.check("those for whom there is no room are told so", extra, 503 in extra and 200 not in extra)
    release(trial, server, held, "the connections end: new ones are served within 2 s")

    # The descriptors themselves run out while it runs.
    user.get("/user/profile/").expect(200)
    files = open_files(server.pid)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (files + 6, 128))
    held = idle(server, 300)
    began, cpu = time.monotonic(), seconds_of_cpu(server.pid)
    time.sleep(3)
    share = (seconds_of_cpu(server.pid) - cpu) / (time.monotonic() - began)
    trial.check("none left, 300 connections wait: CPU <= 20 % of a core", f"{share:.0%}", share <= 0.2)
    tired = Work(trial, user, "tired", 3)
    trial.check("those who are in are answered as ever or with 503", tired.answers, set(tired.answers) <= {201, 503})
    trial.check("the log is not flooded", f"{server.text().count('cannot be accepted')} lines",
                1 <= server.text().count("cannot be accepted") <= 3)
    release(trial, server, held, "the connections end: new ones are served within 2 s, with no more descriptors than before")
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (128, 128))
    later = Work(trial, user, "later", 1)
    trial.check("with descriptors everything works again", later.answers, set(later.answers) == {201})
    accepted = status.accepted | tired.accepted | later.accepted
    top.settled(len(accepted), 60)
    found = top.files()
    differ = [name for name, data in accepted.items() if name not in found or user.download(found[name][0]["id"]) != data]
    strange = set(found) - set(accepted)
    staged = [p.name for p in (top.data / "staging").iterdir() if p.name != ".staging-id"]
    trial.check("every upload answered 201 is whole, no other is there, nothing left in staging",
                f"{len(accepted)} accepted: {len(differ)} lost or damaged, {len(strange)} others, {len(staged)} staged",
                not differ and not strange and not staged)
    trial.check("the server lives, without a panic", server.alive(), server.alive() and "panicked" not in server.text())


class Work:
    """Uploads of the three sizes over a connection that exists, for so many seconds."""

    def __init__(self, trial, user, name, seconds):
        self.accepted, self.answers = {}, {}
        deadline, n = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            file = f"{name}-{n}"
            data = content(file, (2_000, 150_000, 400_000)[n % 3])
            reply = multipart(user, file, data) if n % 3 == 2 else user.upload([(file, data)])
            self.answers[reply.status] = self.answers.get(reply.status, 0) + 1
            if reply.status == 201:
                self.accepted[file] = data
            elif reply.status != 503 or reply.json().get("code") != "service_unavailable":
                trial.note(f"{name}: {reply.status} {reply.body[:200]!r}")
            n += 1
            if user.local.connection is None:
                # Closed behind an answer that came before the whole body: this client would have to queue again.
                break


def release(trial, server, held, bar):
    began = time.monotonic()
    for sock in held:
        sock.close()
    eventually("a new connection is served", 20, lambda: answered(server) == 200)
    took = time.monotonic() - began
    trial.check(bar, f"{took:.2f} s", took <= 2)
