"""S1 and S2: secrets that stay inside, and known faults of dependencies."""

import re
import secrets
import shutil
import sqlite3
import subprocess
import tomllib

from harness.client import Client, content
from harness.report import promise
from harness.topology import Topology
from harness.world import ROOT


def dump_sqlite(path):
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return "\n".join(conn.iterdump())
    finally:
        conn.close()


def dump_server(top):
    tables = top.sql.run("SHOW TABLES") if top.kind == "mariadb" else top.sql.run(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    quote = "`" if top.kind == "mariadb" else '"'
    rows = [top.sql.run(f"SELECT * FROM {quote}{table}{quote}") for (table,) in tables]
    return "\n".join(str(row) for table in rows for row in table)


def dump_redis(services):
    out = []
    for key in services.redis("keys", "*").split():
        kind = services.redis("type", key).strip()
        ask = {"string": ["get", key], "hash": ["hgetall", key], "set": ["smembers", key], "list": ["lrange", key, 0, -1],
               "zset": ["zrange", key, 0, -1], "stream": ["xrange", key, "-", "+"]}.get(kind)
        out.append(f"{key} {services.redis(*ask) if ask else kind}")
    return "\n".join(out)


@promise("S1", "secrets never leave")
def s1(trial):
    for label, kind in (("embedded", "sqlite"), ("MariaDB + Redis + OSS", "mariadb")):
        canary = lambda what: f"{what}-canary-{secrets.token_hex(8)}"
        # The short words are looked for as they are; tokens by their signature.
        words = {"SECRET_KEY": secrets.token_hex(24), "METRICS_TOKEN": canary("metrics")}
        env = dict(words) | {"LOG_LEVEL": "trace", "LOG_FORMAT": "json" if kind == "mariadb" else "text", "MAIL_BACKEND": "log",
                             "RUST_BACKTRACE": "1"}
        top = Topology(trial, kind, oss=kind != "sqlite", env=env)
        if top.oss:
            words["OSS secret"] = top.env["ALIYUN_ACCESS_KEY_SECRET"]
        password, second, wrong = canary("Password1"), canary("Password2"), canary("Wrong")
        words |= {"password": password, "new password": second, "wrong password": wrong}
        server = top.serve()
        if kind != "sqlite":
            top.worker()
        bodies, body_words = [], dict(words)

        def keep(reply):
            bodies.append(reply.body.decode(errors="replace"))
            return reply

        client = server.client
        keep(client.register("s1", password)).expect(201)
        keep(client.register("s1", password))
        keep(client.post("/user/register/", {"username": "x", "email": "no", "password": password}))
        keep(client.post("/user/register/", {"username": 1, "password": [password], "email": {"password": password}}))
        keep(client.request("POST", "/user/login/", b'{"username": "s1", "password": "' + password.encode(), {"Content-Type": "application/json"}))
        keep(client.login("s1", wrong))
        keep(client.request("POST", "/user/login/?password=" + wrong, b"username=s1&password=" + wrong.encode(),
                            {"Content-Type": "application/x-www-form-urlencoded"}))
        issued = client.login("s1", password).expect(200)
        me = client.with_token(issued["access"])
        refreshed = client.post("/user/refresh-token/", {"refresh": issued["refresh"]}).expect(200)
        me = client.with_token(refreshed["access"])
        words |= {name: token.rsplit(".", 1)[1] for name, token in (
            ("access token", issued["access"]), ("refresh token", issued["refresh"]),
            ("new access token", refreshed["access"]), ("new refresh token", refreshed["refresh"]))}
        key = top.command("apikey", "create", "s1", "--name", "s1", "--scope", "cloud:read").strip()
        words["API key"] = key
        keep(Client(server.base, headers={"X-API-Key": key}).get("/file/")).expect(200)
        keep(Client(server.base, headers={"X-API-Key": key + "x"}).get("/file/"))
        keep(Client(server.base, key).get("/user/sessions/"))
        keep(client.get(f"/user/profile/?token={refreshed['access']}"))
        keep(client.get("/metrics", Authorization=f"Bearer {words['METRICS_TOKEN']}"))
        keep(me.get("/user/profile/")).expect(200)
        text = canary("file content")
        words["file content"] = text
        uploaded = me.upload([("s1", text.encode() * 3), ("large", content("s1", 90_000))]).expect(201)
        keep(me.upload([("s1", text.encode())], key="one"))
        keep(me.upload([("other", text.encode())], key="one"))
        keep(me.request("POST", "/file/", {"name": "x", "content_type": "a/b", "size": 3, "file_content": text + "!"}))
        keep(me.multipart("s1", text.encode()))
        top.settled(4, 30)
        link = me.get(f"/file/{uploaded[0]['id']}/download/").expect(200)["download_url"]
        signature = re.search(r"(?i)signature=([^&]+)", link)
        if signature:
            words["signature of a download"] = signature.group(1)
        me.download(uploaded[0]["id"])
        presigned = me.post("/file/presign/", {"name": "p", "content_type": "a/b", "size": 3}).expect(201)
        signature = re.search(r"(?i)signature=([^&]+)", presigned["upload_url"])
        if signature:
            words["signature of a presigned upload"] = signature.group(1)
        keep(me.post("/user/change-password/", {"old_password": wrong, "new_password": second}))
        keep(me.post("/user/change-password/", {"old_password": password, "new_password": second})).expect(200)
        keep(me.post("/user/update-email/", {"email": "s1-new@example.com"}))
        keep(client.login("s1-new@example.com", second))
        keep(client.post("/user/refresh-token/", {"refresh": issued["refresh"]}))
        keep(client.get("/user/profile/", Authorization=f"Bearer {issued['access']}x"))
        if top.oss:
            top.oss.command("fail_next?count=2&status=403")
            keep(me.upload([("refused", b"x" * 10)]))
            top.oss.command("fail_next?count=1&status=500")
        shown = top.command("config", "show") + top.command("doctor", "--json", ok=False).stdout
        database = dump_sqlite(top.sql.url) if kind == "sqlite" else dump_server(top)
        for proc in top.procs:
            proc.stop()
        logs = "\n".join(path.read_text(errors="replace") for path in top.folder.glob("*.log"))
        places = {"logs at TRACE and stdout": logs, "answers": "\n".join(bodies), "config show, doctor": shown, "database": database}
        if kind != "sqlite":
            places["Redis"] = dump_redis(trial.world.services)
        for place, text_ in places.items():
            # The login hands its owner the tokens; the staged content of small files is a row until it is stored.
            looked = body_words if place == "answers" else words
            hits = sorted(name for name, word in looked.items() if word in text_)
            trial.check(f"{label}: {len(looked)} canaries in {place}: 0", f"{len(hits)} {', '.join(hits)} in {len(text_)} characters",
                        not hits)
    trial.note("TOTP seeds and reset tokens: with their endpoints")


@promise("S2", "known-vulnerable crates")
def s2(trial):
    with open(ROOT / ".deny.toml", "rb") as file:
        deny = tomllib.load(file)
    ignored = deny.get("advisories", {}).get("ignore", [])
    bare = [one for one in ignored if not isinstance(one, dict) or len(one.get("reason", "")) < 20]
    trial.check("every ignored advisory has a reason in .deny.toml", f"{len(ignored)} listed, {len(bare)} without", not bare)
    text = (ROOT / "Cargo.lock").read_text()
    versions = {}
    for name, version in re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', text):
        versions.setdefault(name, []).append(tuple(int(n) for n in re.findall(r"\d+", version)[:3]))
    least = {"jsonwebtoken": (10, 3, 0), "lettre": (0, 11, 22)}
    old = {name: versions.get(name) for name, bar in least.items() if any(v < bar for v in versions.get(name, []))}
    trial.check("no crate below the versions of reliability.md 4", old or ", ".join(least), not old)
    listed = {one.get("id") for one in ignored if isinstance(one, dict)}
    if any(v < (0, 38) for v in versions.get("quick-xml", [])):
        wanted = {"RUSTSEC-2026-0194", "RUSTSEC-2026-0195"}
        trial.check("the advisories of quick-xml are explained", ", ".join(sorted(wanted & listed)) or "missing", wanted <= listed)
    if shutil.which("cargo-deny"):
        done = subprocess.run(["cargo", "deny", "--log-level", "error", "--workspace", "--locked", "--offline", "check",
                               "--hide-inclusion-graph", "licenses", "bans", "sources"],
                              cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
        trial.check("cargo deny: licences, bans, sources", f"exit {done.returncode}", done.returncode == 0)
    else:
        trial.note("cargo deny is not here; stage deny of tests/run runs it")
