"""S1 and S2: secrets that stay inside, and known faults of dependencies."""

import re
import secrets
import shutil
import sqlite3
import subprocess
import tomllib

from harness.client import PASSWORD, Client, content
from harness.mail import Mails
from harness.report import promise
from harness.topology import Topology
from harness.websocket import Socket, knock
from harness.world import ROOT, eventually


def text_of(cell):
    return cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)


def dump_sqlite(path):
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        # Not the virtual ones, which an older library cannot open; what they hold is in tables of their own.
        tables = conn.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND COALESCE(sql, '') NOT LIKE 'CREATE VIRTUAL TABLE%'"
        ).fetchall()
        rows = (row for (table,) in tables for row in conn.execute(f'SELECT * FROM "{table}"'))
        return "\n".join("\t".join(text_of(cell) for cell in row) for row in rows)
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
        env = dict(words) | {"LOG_LEVEL": "trace", "LOG_FORMAT": "json" if kind == "mariadb" else "text", "MAIL_BACKEND": "file",
                             "RUST_BACKTRACE": "1", "RATE_LIMIT_RESET_MAIL": "100/h", "RATE_LIMIT_RESET_MAIL_IP": "100/h"}
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
        said = canary("message")
        converse(me, said)
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
        reset = Reset(top, server, keep)
        words |= reset.words
        body_words |= reset.words
        shown = top.command("config", "show") + top.command("doctor", "--json", ok=False).stdout
        database = dump_sqlite(top.sql.url) if kind == "sqlite" else dump_server(top)
        for proc in top.procs:
            proc.stop()
        logs = "\n".join(path.read_text(errors="replace") for path in top.folder.glob("*.log"))
        places = {"logs at TRACE and stdout": logs, "answers": "\n".join(bodies), "config show, doctor": shown, "database": database}
        if kind != "sqlite":
            places["Redis"] = dump_redis(trial.world.services)
        for place, text_ in places.items():
            reset.look(trial, label, place, text_)
            # The login hands its owner the tokens; the staged content of small files is a row until it is stored.
            looked = body_words if place == "answers" else words
            if place not in ("answers", "database"):
                looked = looked | {"message": said}
            hits = sorted(name for name, word in looked.items() if word in text_)
            trial.check(f"{label}: {len(looked)} canaries in {place}: 0", f"{len(hits)} {', '.join(hits)} in {len(text_)} characters",
                        not hits)
        reset.look_at_waiting(trial, label)
    trial.note("TOTP seeds: with their endpoints")


def converse(me, said):
    """A message over REST and over sockets, whose tokens stand wherever they may, and the same in error."""
    session = me.post("/api/chat/sessions/", {}).expect(201)["id"]
    me.post(f"/api/chat/sessions/{session}/messages/", {"content_type": "text", "content": said}).expect(201)
    path = f"/ws/chat/sessions/{session}/"
    for query, headers in ((f"?token={me.token}", {}), ("", {"Sec-WebSocket-Protocol": f"bearer, {me.token}"}),
                           ("", {"Authorization": f"Bearer {me.token}"})):
        socket = Socket(me.base, path + query, headers=headers)
        socket.of("connection_established")
        for frame in ({"type": "chat_message", "content": said}, {"type": "chat_message", "content": [said]}, {"type": said},
                      {"type": "auth", "token": me.token + "x"}, {"type": "auth", "token": me.token}):
            socket.send(frame)
        socket.of("auth_ok")
        socket.close()
    for wrong in (f"{path}?token={me.token}x", f"{path}?token={me.token}&since={said}", f"/ws/chat/sessions/0/?token={me.token}"):
        knock(me.base, wrong)
        me.get(wrong)


class Reset:
    """Codes and tokens of forgotten passwords: used ones, and ones that are still good when everything is looked at."""

    def __init__(self, top, server, keep):
        self.mails, self.client, self.keep = Mails(top), server.client, keep
        self.words, self.used, self.good = {}, [], []
        for n in range(3):
            address = self.person(f"forgot-{n}")
            code = self.code(address, n)
            self.used.append(code)
            # Where a code must not be: in an address, in broken JSON, as a number, with another's address.
            self.post(f"/api/users/verify_code/?code={code}", {"email": f"forgot-{n}", "code": code})
            keep(self.client.request("POST", "/api/users/verify_code/", f'{{"email": "{address}", "code": "{code}"'.encode(),
                                     {"Content-Type": "application/json"}))
            self.post("/api/users/verify_code/", {"email": address, "code": int(code)})
            self.post("/user/reset-password/", {"email": "nobody@example.com", "code": code, "new_password": PASSWORD})
            self.post("/api/users/reset_password/", {"email": address, "code": code, "new_password": "short"})
            token = self.token(address, code, f"reset token {n}")
            self.post(f"/user/reset-password/?reset_token={token}", {"reset_token": token, "new_password": "short"})
            self.post("/api/users/reset_password/", {"reset_token": token + "x", "new_password": PASSWORD})
            self.post(("/user/reset-password/", "/api/users/reset_password/")[n % 2],
                      {"reset_token": token, "new_password": PASSWORD}).expect(200)
            self.post("/user/reset-password/", {"reset_token": token, "new_password": PASSWORD})
        guess = self.words["wrong reset code"] = "guess-" + secrets.token_hex(8)
        self.post("/api/users/verify_code/", {"email": address, "code": guess})
        self.good = [self.code(self.person(f"good-{n}"), n) for n in range(3)]
        address = self.person("good-token")
        self.token(address, self.code(address, 0), "good reset token")
        self.wait(top)

    def person(self, name):
        self.client.register(name).expect(201)
        return f"{name}@example.com"

    def code(self, address, n):
        path = ("/api/users/forgot_password/", "/user/forgot-password/", "/user/reset-password/")[n % 3]
        self.post(path, {"email": address}).expect(200)
        return self.mails.next_code(address, 0)

    def post(self, path, body):
        return self.keep(self.client.post(path, body))

    def token(self, address, code, name):
        # Its answer is the one place for it.
        found = self.client.post("/api/users/verify_code/", {"email": address, "code": code}).expect(200)["reset_token"]
        self.words[name] = found
        return found

    def wait(self, top):
        """A mail that cannot be delivered: its code waits in the database."""
        address = self.person("waiting")
        self.mails.folder.rename(self.mails.folder.with_name("mail-before"))
        self.mails.folder.touch()
        self.post("/api/users/forgot_password/", {"email": address}).expect(200)
        ask = f"SELECT params FROM outgoing_mails WHERE to_address = '{address}' AND sent_at IS NULL AND attempts > 0"
        self.waiting = eventually("a mail that waits", 20, lambda: top.sql.run(ask))[0][0]

    def look(self, trial, label, place, text):
        """Other numbers have six digits as well; a place that keeps codes keeps more than one of a kind."""
        numbers = set(re.findall(r"(?<![\w.])\d{6}(?!\w)", text))
        hits = [sum(code in numbers for code in codes) for codes in (self.used, self.good)]
        trial.check(f"{label}: reset codes in {place}: 0", f"{hits[0]} of {len(self.used)} used, {hits[1]} of {len(self.good)} good ones "
                    f"among {len(numbers)} numbers of six digits", max(hits) < 2)

    def look_at_waiting(self, trial, label):
        digits = re.findall(r"(?<!\w)\d{6}(?!\w)", self.waiting or "")
        trial.check(f"{label}: the values of a mail that waits are sealed", f"{len(self.waiting or '')} characters, {digits}",
                    self.waiting and not digits and "code" not in self.waiting and "127.0.0.1" not in self.waiting)


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
