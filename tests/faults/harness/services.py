"""The private databases and Redis, through `tests/services` and their own command-line clients."""

import os
import re
import sqlite3
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from .world import ROOT, Miss

SCRIPT = str(ROOT / "tests" / "services")


class Services:
    """Those of `TEST_SERVICES`, or own ones that end with this process."""

    def __init__(self, folder):
        given = os.environ.get("TEST_SERVICES")
        self.folder = Path(given or folder)
        self.own = not given
        self.started = bool(given)

    def env(self):
        if not self.started:
            self.run("start", "--while", str(os.getpid()), "mariadb", "postgres", "redis")
            self.started = True
        lines = (self.folder / "env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def run(self, command, *args):
        done = subprocess.run(
            [SCRIPT, command, str(self.folder), *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180,
        )
        if done.returncode != 0:
            raise Miss(f"tests/services {command} {' '.join(args)}: {done.stdout.strip()[-400:]}")

    def url(self, kind):
        return self.env()[f"TEST_{kind.upper()}_URL"]

    def start(self, name):
        self.run("start", name)

    def kill(self, name):
        self.run("kill", name)

    def stop(self, name):
        self.run("stop", name)

    def close(self):
        if self.own and self.started:
            self.run("stop")

    # --- Redis ---

    def redis(self, *command):
        at = urlsplit(self.url("redis"))
        argv = ["redis-cli", "-h", at.hostname, "-p", str(at.port), *map(str, command)]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout

    # --- databases ---

    def create(self, kind, name):
        """A new empty database; returns its URL."""
        url = self.url(kind)
        if kind == "mariadb":
            Sql(kind, url).run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        else:
            Sql(kind, url).run(f"CREATE DATABASE {name}")
        return url.rsplit("/", 1)[0] + "/" + name

    def drop(self, kind, name):
        force = " WITH (FORCE)" if kind == "postgres" else ""
        Sql(kind, self.url(kind)).run(f"DROP DATABASE IF EXISTS {name}{force}")


class Sql:
    """Asks one database. Rows are lists of texts; NULL is None."""

    def __init__(self, kind, url):
        self.kind = kind
        self.url = url

    def run(self, sql):
        if self.kind == "sqlite":
            return self.sqlite(sql)
        at = urlsplit(self.url)
        env = dict(os.environ)
        if self.kind == "mariadb":
            env["MYSQL_PWD"] = at.password
            argv = ["mariadb", "--no-defaults", f"--host={at.hostname}", f"--port={at.port}", f"--user={at.username}",
                    "--connect-timeout=5", "--batch", "--raw", "--skip-column-names", at.path[1:]]
        else:
            env |= {"PGPASSWORD": at.password, "PGCONNECT_TIMEOUT": "5", "PGOPTIONS": "-c timezone=UTC"}
            argv = ["psql", "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align",
                    "--field-separator=\t", "--pset=null=NULL", "--set=ON_ERROR_STOP=1",
                    f"--host={at.hostname}", f"--port={at.port}", f"--username={at.username}", f"--dbname={at.path[1:]}"]
        done = subprocess.run(argv, input=sql, env=env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or [done.stderr.strip()[:200]]
            raise Miss(f"{self.kind}: {errors[0]}")
        rows = [line.split("\t") for line in done.stdout.splitlines() if line]
        return [[None if cell == "NULL" else cell for cell in row] for row in rows]

    def sqlite(self, sql):
        writes = not re.match(r"\s*(select|pragma)", sql, re.I)
        conn = sqlite3.connect(f"file:{self.url}?mode={'rw' if writes else 'ro'}", uri=True, timeout=30)
        try:
            rows = conn.execute(sql).fetchall()
            conn.commit()
        finally:
            conn.close()
        return [[None if cell is None else str(cell) for cell in row] for row in rows]

    def number(self, sql):
        rows = self.run(sql)
        return int(rows[0][0] or 0) if rows else 0
