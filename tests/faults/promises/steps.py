"""KP: kill -9 at each step of an upload (`cloud.md` 3.5), with Redis flushed half of the time.

The commit is followed by the push: it cannot reach Redis (the proxy holds it) when the server is killed. The claim is
followed by the PUT: the storage takes no request when the worker is killed. The PUT is followed by the final update:
the object is stored, but the answer is held back by the proxy when the worker is killed.
"""

from harness.client import content
from harness.report import promise
from harness.topology import Topology
from harness.world import eventually


class Site:
    """Where the steps happen: separate processes, or everything in one."""

    def __init__(self, trial, embedded, kind):
        self.trial, self.embedded = trial, embedded
        through = ("oss",) if embedded else ("oss", "redis")
        self.top = Topology(trial, kind, oss=True, through=through)
        self.server = self.top.serve()
        self.client = self.server.client.user("kp")
        self.worker = None if embedded else self.top.worker(env=self.top.direct("redis"))

    def kill_server(self):
        self.server.kill()
        for proxy in self.top.proxies.values():
            proxy.release()
            proxy.cut()
        self.client.close()
        self.server = self.top.serve(self.server.port)

    def kill_worker(self):
        if self.embedded:
            return self.kill_server()
        self.worker.kill()
        for proxy in self.top.proxies.values():
            proxy.release()
            proxy.cut()
        self.worker = self.top.worker(env=self.top.direct("redis"))

    def flush(self):
        if not self.embedded:
            self.trial.world.services.redis("flushall")


def after_commit(site, send):
    """Between commit and push. Embedded, the push is in memory: the kill follows the 201 at once."""
    if not site.embedded:
        site.top.proxies["redis"].hold_up()
    file_id = send()
    site.kill_server()
    return file_id


def before_put(site, send):
    site.top.oss.command("stall?on=true")
    file_id = send()
    look = f"SELECT COUNT(*) FROM files WHERE id = {file_id} AND upload_status = 'uploading'"
    eventually("the worker is at the PUT", 20, lambda: site.top.sql.number(look))
    site.kill_worker()
    site.top.oss.command("recover")
    return file_id


def after_put(site, send):
    site.top.proxies["oss"].hold_down()
    file_id = send()
    key = site.top.sql.run(f"SELECT object_key FROM files WHERE id = {file_id}")[0][0]
    eventually("the object is stored", 20, lambda: site.top.oss.puts().get(key))
    site.kill_worker()
    return file_id


STEPS = {"commit and push": after_commit, "claim and PUT": before_put, "PUT and final update": after_put}


@promise("KP", "kill -9 at each step of an upload, Redis flushed (cloud.md 3.5)")
def kp(trial):
    rounds = trial.world.pick(2, 10)
    for label, embedded, kind in (("MariaDB + Redis", False, "mariadb"), ("embedded", True, "sqlite")):
        site = Site(trial, embedded, kind)
        for step, hold in STEPS.items():
            sent = {}
            for n in range(rounds):
                name = f"kp-{step[:3].strip()}-{n}"
                # Small bodies are staged as rows, large ones as files.
                data = content(name, 1500 if n % 2 else 100_000)
                file_id = hold(site, lambda: site.client.upload([(name, data)]).expect(201)[0]["id"])
                if n % 2 == 0:
                    site.flush()
                sent[file_id] = data

            def done():
                ids = ",".join(map(str, sent))
                look = f"SELECT COUNT(*) FROM files WHERE id IN ({ids}) AND upload_status = 'completed'"
                return site.top.sql.number(look) == len(sent)

            eventually(f"all files of {step} completed", 40, done, pause=0.2)
            bad = [i for i, data in sent.items() if site.client.download(i) != data]
            keys = {row[0] for row in site.top.sql.run("SELECT object_key FROM files")}
            objects = site.top.oss.objects()
            most = max(site.top.oss.puts().values())
            trial.check(f"{label}, between {step}: completed, bytes equal, one object",
                        f"{len(sent)} kills: {len(bad)} differ, {len(objects)} objects for {len(keys)} files, "
                        f"at most {most} PUTs",
                        not bad and set(objects) == keys)
