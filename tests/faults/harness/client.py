"""A client of the API that keeps what it learns: status, headers, bytes, seconds."""

import base64
import http.client
import json
import random
import struct
import threading
import time
import zlib
from urllib.parse import urlsplit

from .world import Miss

PASSWORD = "correct-horse-7"


class Gone(Exception):
    """No answer: the connection was refused, cut, or silent for too long."""


class Reply:
    def __init__(self, status, headers, body, took):
        self.status = status
        self.headers = headers
        self.body = body
        self.took = took

    def json(self):
        return json.loads(self.body)

    def expect(self, *statuses):
        if self.status not in statuses:
            raise Miss(f"answered {self.status}, expected {statuses}: {self.body[:300]!r}")
        return self.json() if self.body else None


class Client:
    """One keep-alive connection for each thread."""

    def __init__(self, base, token=None, source=None, timeout=60, headers=None):
        at = urlsplit(base)
        self.base = base
        self.host, self.port = at.hostname, at.port
        self.token = token
        self.source = source
        self.timeout = timeout
        self.headers = headers or {}
        self.local = threading.local()
        # What it asked before, for messages about a connection that closed unannounced.
        self.last = None

    def with_token(self, token):
        return Client(self.base, token, self.source, self.timeout, self.headers)

    def at(self, base):
        return Client(base, self.token, self.source, self.timeout, self.headers)

    def connection(self):
        if getattr(self.local, "connection", None) is None:
            source = (self.source, 0) if self.source else None
            self.local.connection = http.client.HTTPConnection(
                self.host, self.port, timeout=self.timeout, source_address=source
            )
        return self.local.connection

    def close(self):
        if getattr(self.local, "connection", None) is not None:
            self.local.connection.close()
            self.local.connection = None

    def request(self, method, path, body=None, headers=None):
        all_headers = dict(self.headers)
        if self.token:
            all_headers["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        began = time.monotonic()
        # Servers close idle connections, by right.
        if began - getattr(self.local, "used", began) > 20:
            self.close()
        self.local.used = began
        try:
            connection = self.connection()
            connection.request(method, path, body=body, headers=all_headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Gone(f"{method} {path}: {type(error).__name__} {error}") from error
        if answer.will_close:
            self.close()
        return Reply(answer.status, answer.headers, data, time.monotonic() - began)

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, **headers):
        return self.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    # --- the usual moves ---

    def register(self, name, password=PASSWORD):
        body = {"username": name, "email": f"{name}@example.com", "password": password}
        return self.post("/user/register/", body)

    def login(self, name, password=PASSWORD):
        return self.post("/user/login/", {"username": name, "password": password})

    def user(self, name, password=PASSWORD):
        """Registers and logs in; returns a client with the token, which knows its account."""
        self.register(name, password).expect(201)
        answer = self.login(name, password).expect(200)
        client = self.with_token(answer["access"])
        client.id, client.name, client.refresh = answer["user"]["id"], name, answer["refresh"]
        return client

    def upload(self, files, key=None):
        """A batch of (name, bytes)."""
        body = [file_object(name, data) for name, data in files]
        return self.post("/file/", body, **({"Idempotency_Key": key} if key else {}))

    def multipart(self, name, data, path="/file/upload/"):
        return self.form(path, {"file": (name, data)})

    def form(self, path, parts):
        """Sends `multipart/form-data`. A part is a text, or a file as (name, bytes)."""
        boundary = "----------faults"
        body = b""
        for field, value in parts.items():
            is_file = isinstance(value, tuple)
            name = f'; filename="{value[0]}"\r\nContent-Type: application/octet-stream' if is_file else ""
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'
            body += head.encode() + (value[1] if is_file else value.encode()) + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        return self.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def download(self, file_id):
        """The bytes of a completed file, through its signed link."""
        url = self.get(f"/file/{file_id}/download/").expect(200)["download_url"]
        at = urlsplit(url)
        plain = Client(f"{at.scheme}://{at.netloc}")
        reply = plain.get(f"{at.path}?{at.query}")
        plain.close()
        if reply.status != 200:
            raise Miss(f"download answered {reply.status}")
        return reply.body


def file_object(name, data):
    return {
        "name": name,
        "content_type": "application/octet-stream",
        "size": len(data),
        "file_content": base64.b64encode(data).decode(),
    }


def png(width=2, height=2):
    """A picture, every one another."""

    def chunk(kind, data):
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + random.SystemRandom().randbytes(3 * width) for _ in range(height))
    head = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def content(name, size):
    """The same bytes for the same name, in every process."""
    return random.Random(f"content/{name}/{size}").randbytes(size)
