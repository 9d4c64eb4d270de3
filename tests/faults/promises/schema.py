"""D4: a migration that is killed is finished by the next one, and two at once do not hurt each other."""

import re
import threading
import time

from harness.report import promise
from harness.topology import Topology


def dump(top):
    """The whole schema as sorted lines, and what the migrations put into it."""
    if top.kind == "sqlite":
        lines = top.sql.run("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    elif top.kind == "mariadb":
        lines = []
        for (table,) in top.sql.run("SHOW TABLES"):
            text = "\n".join("\t".join(map(str, row)) for row in top.sql.run(f"SHOW CREATE TABLE `{table}`"))
            lines.append([re.sub(r" AUTO_INCREMENT=\d+", "", text)])
    else:
        lines = top.sql.run(
            "SELECT 'column', table_name, column_name, data_type, character_maximum_length, is_nullable, column_default "
            "FROM information_schema.columns WHERE table_schema = 'public'"
        ) + top.sql.run("SELECT 'index', tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'") + top.sql.run(
            "SELECT 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace"
        )
    quote = "`" if top.kind == "mariadb" else '"'
    lines += top.sql.run("SELECT 'applied', version FROM seaql_migrations")
    lines += top.sql.run(f"SELECT 'group', name FROM {quote}groups{quote}")
    return sorted("\t".join(str(cell) for cell in line) for line in lines)


class Target:
    """A database that is made anew for each attempt."""

    def __init__(self, trial, kind):
        self.trial, self.kind = trial, kind
        through = () if kind == "sqlite" else ("database",)
        self.top = Topology(trial, kind, redis=False, through=through, migrate=False)

    def renew(self):
        if self.kind == "sqlite":
            for file in self.top.data.glob("yunque.db*"):
                file.unlink()
            return
        self.trial.world.services.drop(self.kind, self.top.name)
        self.trial.world.services.create(self.kind, self.top.name)

    def migrate(self):
        return self.top.command("migrate", "up", ok=False)

    def killed_at(self, piece, passed):
        """Runs a migration that is killed at its n-th message to the database, passed on or not."""
        proxy = self.top.proxies["database"]
        counted = 0
        struck = threading.Event()
        lock = threading.Lock()

        def look(_, __):
            nonlocal counted
            with lock:
                counted += 1
                hit = counted == piece
            if hit:
                if not passed:
                    proxy.hold_up()
                else:
                    # On its way, and with luck carried out.
                    threading.Timer(0.02, struck.set).start()
                    return
                struck.set()

        proxy.on_up = look
        proc = self.top.start(["migrate", "up"], "migrate", None)
        while proc.alive() and not struck.is_set():
            struck.wait(0.005)
        proc.kill()
        proxy.on_up = None
        proxy.release()
        proxy.cut()
        return counted

    def killed_after(self, seconds):
        proc = self.top.start(["migrate", "up"], "migrate", None)
        time.sleep(seconds)
        alive = proc.alive()
        proc.kill()
        return alive


@promise("D4", "migration is all or nothing")
def d4(trial):
    for kind in ("mariadb", "postgres", "sqlite"):
        target = Target(trial, kind)
        top = target.top
        target.renew()
        began = time.monotonic()
        if kind == "sqlite":
            target.migrate()
            span = time.monotonic() - began
            pieces = [n / trial.world.pick(8, 60) * span * 1.2 for n in range(trial.world.pick(8, 60))]
        else:
            total = target.killed_at(10**9, True)
            every = list(range(1, total + 1))
            pieces = every if trial.world.long else trial.random.sample(every, 8 if kind == "mariadb" else 5)
        clean = dump(top)
        bad = []
        for n, piece in enumerate(pieces):
            target.renew()
            if kind == "sqlite":
                target.killed_after(piece)
            else:
                target.killed_at(piece, passed=n % 2 == 1)
            second = target.migrate()
            if second.returncode != 0:
                bad.append((piece, second.stderr.strip()[-200:]))
            elif dump(top) != clean:
                bad.append((piece, "another schema"))
        how = "moments" if kind == "sqlite" else f"messages of {total}"
        trial.check(f"{kind}: killed at {len(pieces)} {how}, second run succeeds, schema equal to a clean one",
                    f"{len(bad)} differ {bad[:2] if bad else ''}", not bad)
        again = target.migrate()
        trial.check(f"{kind}: migrating again changes nothing", again.stdout.strip(),
                    again.returncode == 0 and dump(top) == clean)
        target.renew()
        procs = [top.start(["migrate", "up"], f"both-{i}", None) for i in range(2)]
        codes = [proc.wait(120) for proc in procs]
        trial.check(f"{kind}: two at once: one wins, the other waits", f"exits {codes}",
                    codes == [0, 0] and dump(top) == clean)
