"""H1: never a 5xx, a hang, a dropped connection or a leak on bad input."""

import base64
import hashlib
import hmac
import json
import re
import socket
import time
from urllib.parse import quote

from harness.client import Gone
from harness.report import promise
from harness.schema import Document
from harness.topology import SECRET, Topology
from harness.world import parallel

LEAKS = re.compile(
    rb"(?i)\bSELECT\b.*\bFROM\b|sqlx|sea_orm|sea-orm|poem|panicked|src/[a-z_/]+\.rs|/root/|/home/|/tmp/|stack backtrace|"
    rb"rust|no such table|SQLSTATE|syntax error|param0|occurred while parsing"
)
SLOWEST = 5.0


class Judge:
    """Collects what is wrong with answers. `cases` counts all."""

    def __init__(self):
        self.cases = 0
        self.faults = {"server errors": [], "hangs or dropped connections": [], "leaked internals": [], "undocumented or misshapen": []}

    def see(self, what, reply, document=None, operation=None):
        self.cases += 1
        if reply.status >= 500:
            self.faults["server errors"].append((what, reply.status, reply.body[:200]))
        if reply.took > SLOWEST:
            self.faults["hangs or dropped connections"].append((what, f"{reply.took:.1f} s"))
        if reply.status >= 400 and (found := LEAKS.search(reply.body)):
            self.faults["leaked internals"].append((what, found.group(0)))
        if operation is not None and (wrong := document.fault(operation, reply)):
            self.faults["undocumented or misshapen"].append((what, wrong))
        if operation is None and 400 <= reply.status < 500 and reply.body and reply.headers.get("Content-Type"):
            try:
                body = json.loads(reply.body)
                fine = isinstance(body, dict) and "error" in body and "code" in body
            except ValueError:
                fine = False
            if not fine:
                self.faults["undocumented or misshapen"].append((what, reply.status, reply.body[:100]))

    def gone(self, what, error):
        self.cases += 1
        self.faults["hangs or dropped connections"].append((what[:2], str(error)[:300]))

    def rows(self, trial, label):
        for name, found in self.faults.items():
            for one in found[:3]:
                trial.note(f"{name}: {one}")
            trial.check(f"{label}, {self.cases} cases: 0 {name}", len(found), not found)


@promise("H1", "never a 5xx on bad input")
def h1(trial):
    cases, seeds = trial.world.pick((2400, 1), (21_000, 3))
    for kind in trial.world.pick(("sqlite",), ("sqlite", "mariadb", "postgres")):
        top = Topology(trial, kind, redis=False, env={"MAIL_BACKEND": "log", "AUTH_IP_MAX_FAILURES": "100000000", "AUTH_LOGIN_MAX_FAILURES": "100000000"})
        server = top.serve()
        server.client.timeout = 20
        document = Document(server.client.get("/openapi.json").body)
        judge = Judge()
        for seed in range(seeds):
            generated(trial, server, document, judge, cases // seeds // (1 if kind == "sqlite" else 3), seed)
        judge.rows(trial, f"{kind}: made from the document")
        judge = Judge()
        bodies(server, judge)
        paths(server, judge)
        credentials(trial, server, judge)
        uploads(server, judge)
        judge.rows(trial, f"{kind}: families of section 3")
        wire(trial, server, kind)
        alive = server.client.get("/healthz").status
        panics = len(re.findall(r"panicked at", server.text()))
        trial.check(f"{kind}: the server lives, 0 panics in its log", f"{alive}, {panics}", alive == 200 and panics == 0)


def generated(trial, server, document, judge, count, seed):
    random = trial.world.random(f"H1/{seed}")
    operations = [(p, m, o) for p, m, o in document.operations() if not p.startswith(("/openapi", "/docs"))]
    # Calls that end their own session or account come with a fresh one.
    serial = iter(range(10**9))
    users = []

    def user():
        if not users or random.random() < 0.03:
            users.append(server.client.user(f"h1-{seed}-{next(serial)}-{random.randrange(10**9)}"))
        return users[-1]

    file_ids = []
    for _ in range(count):
        path, method, operation = random.choice(operations)
        caller = server.client if document.is_public(operation) or random.random() < 0.05 else user()
        if random.random() < 0.02 and caller is not server.client:
            try:
                created = caller.upload([("x", b"abc")])
                if created.status == 201:
                    file_ids.append(created.json()[0]["id"])
            except Gone as error:
                judge.gone(("POST", "/file/"), f"{error}, after {caller.last}")
        ids = [str(i) for i in file_ids[-5:]] + [str(getattr(caller, "id", 1))]
        url = re.sub(r"\{\w+\}", lambda _: random.choice(ids * 4 + ODD_IDS), path)
        query = []
        for parameter in operation.get("parameters", []):
            parameter = document.resolve(parameter)
            if parameter["in"] == "query" and random.random() < 0.7:
                good = document.value(parameter["schema"], random)
                query.append((parameter["name"], good if random.random() < 0.5 else random.choice(ODD_QUERY)))
        if query:
            url += "?" + "&".join(f"{k}={quote(str(v), safe='')}" for k, v in query)
        schema = document.body_schema(operation)
        body, headers = None, {}
        if schema is not None:
            made = document.value(schema, random) if random.random() < 0.45 else document.broken(schema, random)
            body = json.dumps(made).encode()
            headers = {"Content-Type": "application/json"}
        if random.random() < 0.1:
            headers["Accept-Language"] = random.choice(["en", "zh", "en;q=x", "*", ""])
        if random.random() < 0.05:
            headers["Idempotency-Key"] = random.choice(["k1", "k2", "x" * 255, "x" * 256])
        what = (method, url[:120], (body or b"")[:200])
        try:
            reply = caller.request(method, url, body, headers)
        except Gone as error:
            judge.gone(what, f"{error}, after {caller.last}")
            continue
        caller.last = (*what, reply.status)
        judge.see(what, reply, document, operation)
        if reply.status in (401, 403) and caller is not server.client and users:
            users.pop()


ODD_IDS = ["0", "-1", "1", "999999999", "9223372036854775807", "9223372036854775808", "18446744073709551616", "abc", "%00", "%ff",
           "%0d%0aX:", "..%2f..%2fetc%2fpasswd", "%252e", "%EF%BC%91", "+1", "1.0", "1e3", "0x1", "%20", "1%20", "x" * 4000, "null", "%7B%7D"]
ODD_QUERY = ["", "-1", "0", "abc", "9223372036854775808", "1000000", "\u0000", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
             "\r\nX: y", "１", "+1", "1,,2", "1,1,1", ",".join(map(str, range(10_000)))[:6000], "[]", "x" * 3000, "%", "'", "true"]


def bodies(server, judge):
    raw = [
        b"", b"{", b"{]", b'{"a":1,}', b"NaN", b"Infinity", b'{"size": NaN}', b'{"size": 1e400}', b'{"size": ' + b"9" * 400 + b"}",
        b'{"size": 9223372036854775808}', b'{"size": -0}', b'{"size": 1.0}', b'{"name":"a","name":"b"}', b"\xef\xbb\xbf{}",
        '{"name":"a"}'.encode("utf-16"), b'{"name":"\xff"}', b'{"name":"\\ud800"}', b'{"name":"\\u0000"}', b"[" * 100_000,
        b'{"a":' * 100_000, b'{"a":' * 31 + b"1" + b"}" * 31, b"{" + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}",
        b"null", b"[]", b"[[]]", b"[null]", b"1", b'"x"', b"true", b'{"name":"' + b"x" * (1 << 20) + b'"}',
        b"[" + b",".join([b'{"name":"x"}'] * 10_000) + b"]", b"\x00" * 100, b"{}{}", b"{} x", b"'a'", b"<xml/>", b"a=b&c=d",
    ]
    user = server.client.user("h1-bodies")
    paths_ = ["/file/", "/file/new-folder/", "/file/batch_delete/", "/user/change-password/", "/user/update-email/", "/user/login/",
              "/user/register/", "/user/refresh-token/", "/file/presign/", "/file/1/retry_upload/", "/file/upload/"]
    types = ["application/json", "application/json; charset=utf-16", "application/json;charset=utf-8", "text/plain", "", "a/b/c",
             "multipart/form-data", "application/x-www-form-urlencoded", "application/xml"]
    for path in paths_:
        for n, body in enumerate(raw):
            kind = "application/json" if n % 3 else types[n // 3 % len(types)]
            attempt(judge, user, "POST", path, body, {"Content-Type": kind} if kind else {})
    for encoding in ("gzip", "deflate", "br", "identity", "x", "gzip, gzip"):
        attempt(judge, user, "POST", "/file/new-folder/", b'{"folder_name":"x"}', {"Content-Type": "application/json", "Content-Encoding": encoding})


def attempt(judge, client, method, path, body=None, headers=None):
    what = (method, path[:150], (body or b"")[:80], headers)
    try:
        reply = client.request(method, path, body, headers)
    except Gone as error:
        return judge.gone(what, f"{error}, after {client.last}")
    except (ValueError, UnicodeEncodeError):
        return None
    client.last = (*what[:2], reply.status)
    judge.see(what, reply)
    return reply


def paths(server, judge):
    user = server.client.user("h1-paths")
    for odd in ODD_IDS:
        for path in (f"/file/{odd}/", f"/file/{odd}/download/", f"/user/{odd}/", f"/user/sessions/{odd}/", f"/oss/{odd}", f"/docs/{odd}", f"/{odd}"):
            for method in ("GET", "DELETE", "PATCH"):
                if method != "GET" and path.startswith("/user/"):
                    continue
                attempt(judge, user, method, path)
    for odd in ODD_QUERY:
        value = quote(odd, safe="")
        for path in (f"/file/?page={value}", f"/file/?page_size={value}", f"/file/?status={value}", f"/file/?search={value}",
                     f"/file/?ordering={value}", f"/file/?path={value}", f"/file/upload_status/?file_ids={value}",
                     f"/user/?search={value}", f"/file/1/download/?expires={value}", f"/file/?page=1&page={value}",
                     f"/file/?page[]={value}", f"/file/?{value}"):
            attempt(judge, user, "GET", path)
    for path in ("//", "///user/profile", "/user//profile/", "/USER/PROFILE/", "/user/%70rofile/", "/user/./profile/", "/user/../user/profile/",
                 "/%2e%2e/%2e%2e/etc/passwd", "/docs/..%2f..%2fCargo.toml", "/docs/%2e%2e/%2e%2e/etc/passwd", "/.git/config", "/static/.env",
                 "/" + "a" * 7000, "/" + "a/" * 3000, "/file/?" + "a" * 7000, "/" + "a" * 20_000):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            attempt(judge, user, method, path)


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def forged(token, head=None, claims=None, key=b"", digest=hashlib.sha256, sign=True):
    parts = token.split(".")
    own_head = json.loads(base64.urlsafe_b64decode(parts[0] + "==")) | (head or {})
    own_claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    for name, value in (claims or {}).items():
        if value is ...:
            own_claims.pop(name, None)
        else:
            own_claims[name] = value
    signed = f"{b64(own_head)}.{b64(own_claims)}"
    mac = b64(hmac.new(key, signed.encode(), digest).digest()) if sign else ""
    return f"{signed}.{mac}"


def credentials(trial, server, judge):
    user = server.client.user("h1-tokens")
    access, refresh = user.token, user.refresh
    head, claims, mac = access.split(".")
    weak = [b"", b"secret", b"changeme", SECRET.encode(), bytes.fromhex(SECRET), b"yunque"]
    tokens = [forged(access, key=key) for key in weak]
    tokens += [forged(access, {"alg": alg}, sign=sign, key=SECRET.encode()) for alg in
               ("none", "None", "nOnE", "", None, "HS257", "HS384", "HS512", "RS256", "ES256", "EdDSA") for sign in (False, True)]
    tokens += [forged(access, extra, key=b"") for extra in (
        {"kid": "../../dev/null"}, {"kid": "' OR 1=1"}, {"jku": "http://127.0.0.1/x"}, {"x5u": "http://x"}, {"crit": ["exp"]}, {"b64": False},
        {"jwk": {"kty": "oct", "k": b64(b"")}}, {"kid": None}, {"kid": ["a"]}, {"typ": 1})]
    tokens += [forged(access, claims=extra, key=SECRET.encode()) for extra in (
        {"exp": "9999999999"}, {"exp": "never"}, {"exp": None}, {"exp": []}, {"exp": -1}, {"exp": 2**63}, {"exp": ...}, {"exp": 1e300},
        {"nbf": 9999999999}, {"user_id": 1}, {"sub": "1"}, {"sid": 1}, {"iss": "other"}, {"tv": 99})]
    tokens += [f"{head}.{claims}.", f"{head}.{claims}", f"{head}.{claims}.{mac[:-1]}", f"{head}.{claims}.{mac}x", f"{head}.{claims}.{mac}.a.b",
               f"{head}.{b64({'a': 1})}.{mac}", "a.b.c", "..", ".", "x" * 5000, refresh, f"{claims}.{head}.{mac}", access.upper(),
               "ak_" + "a" * 48, "ak_", "ak_" + "x" * 3000, mac[::-1].join([head + ".", "."])]
    accepted = []
    for token in tokens:
        for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
            reply = attempt(judge, server.client, "GET", "/user/profile/", None, headers)
            if reply is not None and reply.status == 200:
                accepted.append((headers, reply.status))
        reply = attempt(judge, server.client, "POST", "/user/refresh-token/", json.dumps({"refresh": token}).encode(),
                        {"Content-Type": "application/json"}) if token != refresh else None
        if reply is not None and reply.status == 200:
            accepted.append(("refresh", token[:40]))
    for value in ("bearer " + access, "BEARER " + access):
        reply = attempt(judge, server.client, "GET", "/user/profile/", None, {"Authorization": value})
        if reply.status != 200:
            judge.faults["undocumented or misshapen"].append(("scheme in another case", reply.status))
    for value in ("Basic YTpi", "Bearer", "Bearer  ", access, f"Bearer {access} x", f"Token {access}", "Bearer \x80"):
        reply = attempt(judge, server.client, "GET", "/user/profile/", None, {"Authorization": value})
        if reply is not None and reply.status == 200:
            accepted.append((value[:20], 200))
    reply = attempt(judge, server.client, "GET", f"/user/profile/?token={access}&access_token={access}")
    if reply.status == 200:
        accepted.append(("token in the URL", 200))
    trial.check(f"{len(tokens)} forged or misplaced tokens: 0 accepted", f"{len(accepted)} {accepted[:2] or ''}", not accepted)
    for name in ("a@b.c\r\nBcc: v@x", "' OR 1=1 --", "x" * 5000, "\u0000", "ａｄｍｉｎ", " h1-tokens ", "H1-TOKENS"):
        for password in ("x" * 1_000_000, "\u0000" * 20, "correct-horse-7", "", " "):
            attempt(judge, server.client, "POST", "/user/login/", json.dumps({"username": name, "password": password}).encode(),
                    {"Content-Type": "application/json"})


def uploads(server, judge):
    user = server.client.user("h1-uploads")
    names = ["../../x", "..\\x", "/etc/x", "a\u0000b", "a\r\nX: y", "x" * 5000, "\u202egpj.exe", 'a"b', "<img onerror=x>", ".htaccess", "a.png::$DATA",
             "?", "#", "+", " ", "中", "%2e", "a;b", "CON", "a\ud800"]
    kinds = ["text/html", "image/svg+xml", "a/b\r\nX: y", "", "x", "a/", "/b", "a/b; charset=x", "é/é", "a/b" * 100]
    good = base64.b64encode(b"abc").decode()
    contents = [good, "abc!", "ab\ncd==", "YWJj-_", "YWJj=", "YWJj====", "data:a/b;base64,YWJj", "data:,YWJj", "", None, 5, "\u0000", "é"]
    for name in names:
        for kind in ("a/b", kinds[len(name) % len(kinds)]):
            body = {"name": name, "content_type": kind, "size": 3, "file_content": good}
            attempt(judge, user, "POST", "/file/", json.dumps(body).encode(), {"Content-Type": "application/json"})
    for kind in kinds:
        attempt(judge, user, "POST", "/file/", json.dumps({"name": "x", "content_type": kind, "size": 3, "file_content": good}).encode(),
                {"Content-Type": "application/json"})
    for content in contents:
        for size in (3, 1, -1, 2**62, 0):
            body = {"name": "x", "content_type": "a/b", "size": size, "file_content": content}
            attempt(judge, user, "POST", "/file/", json.dumps(body).encode(), {"Content-Type": "application/json"})
    one = {"name": "x", "content_type": "a/b", "size": 3, "file_content": good}
    for many in (0, 1, 20, 21, 10_000):
        attempt(judge, user, "POST", "/file/", json.dumps([one] * many).encode(), {"Content-Type": "application/json"})
    part = b'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: a/b\r\n\r\nabc'
    edge = b"--b\r\n"
    forms = [
        ("b", b""), ("b", edge), ("b", edge + part), ("b", edge + part + b"\r\n--b--\r\n"), ("", edge + part + b"\r\n--b--\r\n"), ("x" * 5000, edge + part),
        ("b", (edge + b'Content-Disposition: form-data; name="a"\r\n\r\nx\r\n') * 10_000 + edge + part + b"\r\n--b--\r\n"),
        ("b", edge + b"X: " + b"y" * (1 << 20) + b"\r\n" + part), ("b", edge + b"\r\nabc\r\n--b--\r\n"),
        ("b", edge + b'Content-Disposition: form-data; name="path"\r\n\r\n\xff\xfe\r\n--b--\r\n'), ("b", b"--b" * 100_000),
        ("b", edge + part + b"\r\n" + edge + part + b"\r\n--b--\r\n"), ("b", edge + b'Content-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n'
        b"abc\r\n--b--\r\n"), ("b", edge + b'Content-Disposition: form-data; name="file"\r\n\r\nabc\r\n--b--\r\n'),
        ("b", edge + b'Content-Disposition: form-data; name="size"\r\n\r\n' + b"9" * 400 + b"\r\n" + edge + part + b"\r\n--b--\r\n"),
        ("b", edge + b'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n'),
    ]
    for boundary, body in forms:
        kind = f"multipart/form-data; boundary={boundary}" if boundary else "multipart/form-data"
        attempt(judge, user, "POST", "/file/upload/", body, {"Content-Type": kind})


def exchange(port, data, seconds=SLOWEST):
    """Sends bytes; returns what came back and whether the server closed or fell silent after an answer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    began = time.monotonic()
    out = b""
    try:
        sock.sendall(data)
        sock.settimeout(0.7)
        while time.monotonic() - began < seconds:
            try:
                more = sock.recv(65536)
            except TimeoutError:
                if out:
                    break
                continue
            if not more:
                break
            out += more
    except OSError:
        pass
    sock.close()
    return out, time.monotonic() - began


def wire(trial, server, kind):
    """Requests that no library sends."""
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    post = b"POST /user/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    # What may follow: an answer of this class, or a closed connection without one.
    refused, any_ = (400, 499), (200, 499)
    cases = {
        "two Content-Length": (post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", refused),
        "Content-Length and chunked": (post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", any_),
        "smuggled request": (post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /user/profile/ HTTP/1.1\r\nHost: x\r\n\r\n", any_),
        "negative length": (post + b"Content-Length: -1\r\n\r\n", refused), "signed length": (post + b"Content-Length: +3\r\n\r\n{} ", refused),
        "length 2^64": (post + b"Content-Length: 18446744073709551616\r\n\r\n", refused),
        "xchunked": (post + b"Transfer-Encoding: xchunked\r\n\r\n", refused), "huge chunk": (post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", refused),
        "chunk extension": (post + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", any_),
        "bad chunk": (post + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", refused), "obs-fold": (get + b"X: a\r\n b\r\n\r\n", any_),
        "bare LF": (b"GET /healthz HTTP/1.1\nHost: x\n\n", any_), "bare CR": (get + b"X: a\rb\r\n\r\n", any_), "NUL in a header": (get + b"X: a\0b\r\n\r\n", refused),
        "URL of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", refused), "header of 100 kB": (get + b"X: " + b"a" * 100_000 + b"\r\n\r\n", refused),
        "10,000 headers": (get + b"X: a\r\n" * 10_000 + b"\r\n", refused), "HTTP/0.9": (b"GET /healthz\r\n\r\n", refused), "HTTP/9.9": (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", refused),
        "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, refused), "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", any_),
        "TRACE": (b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", refused), "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", refused),
        "FOO": (b"FOO /healthz HTTP/1.1\r\nHost: x\r\n\r\n", refused), "absolute URI": (b"GET http://evil.example/healthz HTTP/1.1\r\nHost: x\r\n\r\n", any_),
        "two Hosts": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", any_), "no Host": (b"GET /healthz HTTP/1.1\r\n\r\n", any_),
        "1,000 ranges": (get + b"Range: bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(1000)) + b"\r\n\r\n", any_),
        "Expect without body": (post + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n", any_), "odd Expect": (post + b"Content-Length: 2\r\nExpect: x\r\n\r\n{}", any_),
        "gzip that is none": (post + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", refused), "random bytes": (bytes(range(256)) * 20, refused),
        "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", any_), "space in the path": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", refused),
        "upgrade": (get + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", any_), "100 pipelined": (get * 1 + b"\r\n" + (get + b"\r\n") * 99, any_),
    }
    odd, slow, double, leaks = [], [], [], []
    results = parallel(8, [lambda data=data: exchange(server.port, data) for data, _ in cases.values()])
    for (name, (_, (least, most))), (out, took) in zip(cases.items(), results):
        statuses = [int(s) for s in re.findall(rb"HTTP/1\.[01] (\d{3}) ", out)]
        finals = [s for s in statuses if s != 100]
        if any(not least <= s <= most for s in finals):
            odd.append((name, finals[:5]))
        if not out and took >= SLOWEST - 0.1:
            slow.append((name, f"{took:.1f} s"))
        if len(finals) > 1 and name != "100 pipelined":
            double.append((name, finals))
        if name == "100 pipelined" and len(finals) != 100:
            odd.append((name, len(finals)))
        if LEAKS.search(out):
            leaks.append((name, LEAKS.search(out).group(0)))
    trial.check(f"{kind}: {len(cases)} malformed requests: refused or harmless, 0 x 5xx", f"{len(odd)} {odd[:3] or ''}", not odd)
    trial.check(f"{kind}: 0 hangs, 0 double answers, 0 leaks", f"{len(slow)} {slow[:2] or ''}, {len(double)} {double[:2] or ''}, {len(leaks)} {leaks[:2] or ''}",
                not slow and not double and not leaks)
