"""H2 and H3: clients that stall, and bodies that are too large."""

import base64
import gzip
import socket
import threading
import time

from harness.client import Client
from harness.report import promise
from harness.topology import Topology
from harness.world import parallel, quantile


def closed_after(sock, began, seconds, feed=None, pause=1.0):
    """Seconds until the server closes; what it said before. None: it never did."""
    said = b""
    sock.settimeout(pause)
    while time.monotonic() - began < seconds:
        try:
            data = sock.recv(65536)
            if not data:
                return time.monotonic() - began, said
            said += data
        except TimeoutError:
            pass
        except OSError:
            return time.monotonic() - began, said
        if feed:
            try:
                sock.sendall(feed)
            except OSError:
                return time.monotonic() - began, said
    return None, said


@promise("H2", "stalled clients are dropped")
def h2(trial):
    top = Topology(trial)
    server = top.serve()
    user = server.client.user("h2")
    token = user.token.encode()
    address = ("127.0.0.1", server.port)
    held, health, failed = [], [], []
    done = threading.Event()

    def probe():
        while not done.is_set():
            try:
                reply = Client(server.base, timeout=10).get("/healthz")
                health.append(reply.took)
                if reply.status != 200:
                    failed.append(reply.status)
            except Exception as error:
                failed.append(str(error))
            time.sleep(0.05)

    head = b"POST /file/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n"
    json_head = head + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    part = (b'------b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: a/b\r\n\r\n')
    form_head = head.replace(b"/file/", b"/file/upload/") + (
        b"Content-Type: multipart/form-data; boundary=----b\r\nContent-Length: 100000\r\n\r\n" + part)
    chunked = head + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    cases = [
        ("head: silent", 15, b"GET / HTTP/1.1\r\nHost: x\r\n", None),
        ("head: nothing at all", 15, b"", None),
        ("head: a byte a second", 15, b"GET / HTTP/1.1\r\nX: ", b"a"),
        ("head: a header a second", 15, b"GET / HTTP/1.1\r\n", b"X: a\r\n"),
        ("JSON body: silent", 30, json_head + b'{"name": "', None),
        ("JSON body: a byte a second", 30, json_head + b'{"name": "', b"a"),
        ("JSON body: 500 bytes a second", 30, json_head + b'{"name": "', b"a" * 500),
        ("multipart body: silent", 30, form_head, None),
        ("multipart body: 500 bytes a second", 30, form_head, b"a" * 500),
        ("chunked body: a byte a second", 30, chunked, b"1\r\n \r\n"),
    ]
    results = {}

    def stall(name, seconds, first, feed):
        sock = socket.create_connection(address)
        began = time.monotonic()
        if first:
            sock.sendall(first)
        results[name] = (seconds, *closed_after(sock, began, seconds + 5, feed))
        sock.close()

    threads = [threading.Thread(target=stall, args=case) for case in cases]
    for n in range(1000):
        sock = socket.create_connection(address)
        # Half of them with half a head, half with half a body.
        sock.sendall(cases[0][2] if n % 2 else json_head)
        held.append(sock)
    prober = threading.Thread(target=probe)
    for thread in [*threads, prober]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    prober.join()
    for name, seconds, _, _ in cases:
        _, took, _ = results[name]
        trial.check(f"{name}: closed within {seconds} s in all", "still open" if took is None else f"{took:.1f} s",
                    took is not None and took <= seconds + 0.5)
    p99 = quantile(health, 0.99) * 1000
    trial.check("1,000 held connections: /healthz p99 < 500 ms, 0 failures", f"{p99:.0f} ms, {len(failed)} failures of {len(health)}",
                p99 < 500 and not failed)
    for sock in held:
        sock.close()

    # A stop does not wait for them.
    stuck = [socket.create_connection(address) for _ in range(20)]
    for sock in stuck:
        sock.sendall(json_head)
    began = time.monotonic()
    server.terminate()
    code = server.wait(20)
    trial.check("SIGTERM with half-sent requests open: gone within 10 s", f"exit {code} after {time.monotonic() - began:.1f} s",
                code == 0 and time.monotonic() - began <= 10)


class Endless:
    """Sends a head and then so many bytes, until somebody stops it; returns status and bytes sent."""

    def __init__(self, port, head, body, total, tail=b""):
        self.sent = 0
        self.status = None
        sock = socket.create_connection(("127.0.0.1", port))
        sock.settimeout(60)
        try:
            sock.sendall(head)
            while self.sent < total:
                sock.sendall(body)
                self.sent += len(body)
                if self.answered(sock):
                    break
            else:
                sock.sendall(tail)
        except OSError:
            pass
        self.read(sock)
        sock.close()

    @staticmethod
    def answered(sock):
        sock.setblocking(False)
        try:
            return bool(sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            sock.setblocking(True)
            sock.settimeout(60)

    def read(self, sock):
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more:
                    break
                data += more
        except OSError:
            pass
        if data.startswith(b"HTTP/1.1 "):
            self.status = int(data.split()[1])


@promise("H3", "memory is bounded by the limits")
def h3(trial):
    total = trial.world.pick(300 << 20, 1100 << 20)
    # The stream limit is the largest; a short run lowers it so that less has to be sent.
    top = Topology(trial, env=trial.world.pick({"UPLOAD_STREAM_MAX_BYTES": "200MiB"}, {}))
    server = top.serve()
    user = server.client.user("h3")
    head = f"Host: x\r\nAuthorization: Bearer {user.token}\r\n".encode()
    json_type = b"Content-Type: application/json\r\n"
    form_type = b"Content-Type: multipart/form-data; boundary=----b\r\n"
    part = b'------b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: a/b\r\n\r\n'
    field = b'------b\r\nContent-Disposition: form-data; name="path"\r\n\r\n'
    length = f"Content-Length: {total + 1000}\r\n\r\n".encode()
    plenty = b"A" * (1 << 18)
    piece = b"%x\r\n" % len(plenty) + plenty + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    opening = b'{"name":"x","content_type":"a/b","size":1,"file_content":"'
    cases = {
        "JSON with length": (b"POST /file/new-folder/ HTTP/1.1\r\n" + head + json_type + length, plenty),
        "JSON chunked": (b"POST /file/new-folder/ HTTP/1.1\r\n" + head + json_type + chunked + b"1\r\n{\r\n", piece),
        "login chunked": (b"POST /user/login/ HTTP/1.1\r\nHost: x\r\n" + json_type + chunked + b"1\r\n{\r\n", piece),
        "base64 with length": (b"POST /file/ HTTP/1.1\r\n" + head + json_type + length + opening, plenty),
        "base64 chunked": (b"POST /file/ HTTP/1.1\r\n" + head + json_type + chunked + b"%x\r\n%s\r\n" % (len(opening), opening), piece),
        "multipart with length": (b"POST /file/upload/ HTTP/1.1\r\n" + head + form_type + length + part, plenty),
        "multipart chunked": (b"POST /file/upload/ HTTP/1.1\r\n" + head + form_type + chunked + b"%x\r\n%s\r\n" % (len(part), part), piece),
        "multipart plain field": (b"POST /file/upload/ HTTP/1.1\r\n" + head + form_type + chunked
                                  + b"%x\r\n%s\r\n" % (len(field), field), piece),
        "gzip bomb": (b"POST /file/ HTTP/1.1\r\n" + head + json_type + b"Content-Encoding: gzip\r\n" + length, gzip_bomb()),
        "PATCH chunked": (b"PATCH /user/1/ HTTP/1.1\r\n" + head + json_type + chunked + b"1\r\n{\r\n", piece),
    }
    time.sleep(1)
    idle = server.memory()
    worst = 0
    for name, (start, body) in cases.items():
        server.reset_peak()
        sender = Endless(server.port, start, body, total)
        grown = server.memory("VmHWM") - idle
        worst = max(worst, grown)
        # A server that closes on a client that goes on sending may lose its answer on the way.
        trial.check(f"{total >> 20} MiB, {name}: 413, 400 or 415; memory <= idle + 100 MB",
                    f"{sender.status} after {sender.sent >> 20} MiB, + {grown >> 10} MiB",
                    sender.status in (413, 400, 415) and grown <= 100 << 10)
    left = [p.name for p in (top.data / "staging").iterdir() if not p.name.startswith(".")]
    trial.check("nothing of it stays in the staging folder", f"{len(left)} files", not left)
    time.sleep(1)
    idle = min(idle, server.memory())
    server.reset_peak()
    data = base64.b64encode(b"\0" * 10_000_000).decode()
    body = ('{"name":"x","content_type":"a/b","size":10000000,"file_content":"' + data + '"}').encode()
    statuses = parallel(16, [lambda: user.request("POST", "/file/", body, {"Content-Type": "application/json"}).status for _ in range(16)])
    grown = server.memory("VmHWM") - idle
    trial.check("16 parallel legal uploads of 10 MB: all accepted, memory <= idle + 400 MB",
                f"+ {grown >> 10} MiB, {statuses.count(201)} x 201, {statuses.count(503)} x 503",
                grown <= 400 << 10 and set(statuses) == {201})
    alive = server.client.get("/healthz").status
    trial.check("the server lives", alive, alive == 200)


def gzip_bomb():
    return gzip.compress(b"\0" * (64 << 20))
