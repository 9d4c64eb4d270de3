"""A WebSocket client that keeps everything it is told: frames in their order, the close code, and when it came."""

import base64
import hashlib
import json
import os
import socket
import struct
import time
from urllib.parse import urlsplit

from .client import Gone
from .world import Miss

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
# RFC 6455, 1.3.
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """An HTTP answer instead of the upgrade."""

    def __init__(self, status, body):
        super().__init__(f"HTTP {status}")
        self.status, self.body = status, body


class Socket:
    def __init__(self, base, path, token=None, headers=None, timeout=20):
        at = urlsplit(base)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": at.netloc, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": key} | ({"Authorization": f"Bearer {token}"} if token else {}) | (headers or {})
        request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        self.frames, self.code, self.ended = [], None, None
        self.socket = socket.create_connection((at.hostname, at.port), timeout=timeout)
        self.file = self.socket.makefile("rb")
        self.socket.sendall(request.encode())
        status = int((self.file.readline().split() or [0, 0])[1])
        answered = {}
        while (line := self.file.readline().strip()):
            name, _, value = line.decode("latin-1").partition(":")
            answered[name.lower()] = value.strip()
        if status != 101:
            body = self.file.read(int(answered.get("content-length", 0)))
            self.close()
            raise Refused(status, body)
        if answered.get("sec-websocket-accept") != base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode():
            raise Miss("the handshake was answered with another key's hash")

    # --- out ---

    def send(self, value):
        self.put(TEXT, json.dumps(value).encode())

    def put(self, opcode, data):
        mask = os.urandom(4)
        size = struct.pack("!B", 0x80 | len(data)) if len(data) < 126 else struct.pack("!BH", 0x80 | 126, len(data))
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    # --- in ---

    def read(self, count):
        data = self.file.read(count)
        if len(data) < count:
            raise Gone("the connection ended in a frame")
        return data

    def frame(self):
        """The next frame as JSON, or None at the end; pings are answered on the way."""
        while self.code is None:
            try:
                first, second = self.read(2)
                size = second & 127
                if size >= 126:
                    size = struct.unpack("!H" if size == 126 else "!Q", self.read(2 if size == 126 else 8))[0]
                data = self.read(size)
            except TimeoutError:
                # The file is of no use after that.
                self.close()
                raise
            except (OSError, Gone):
                first, data = CLOSE, struct.pack("!H", 1006)
            if first & 15 == TEXT:
                self.frames.append(json.loads(data))
                return self.frames[-1]
            if first & 15 == PING:
                self.put(PONG, data)
            if first & 15 == CLOSE:
                self.code, self.ended = struct.unpack("!H", data[:2])[0] if data else 1005, time.monotonic()
                self.close()
        return None

    def of(self, kind):
        """The next frame of a type."""
        while (frame := self.frame()) is not None:
            if frame["type"] == kind:
                return frame
        raise Miss(f"the socket closed with {self.code}, {self.frames[-1:]}, instead of {kind}")

    def end(self, seconds):
        """Code of the close and of the error before it; None when it stays open for so long."""
        self.socket.settimeout(seconds)
        try:
            while self.frame() is not None:
                pass
        except TimeoutError:
            return None
        return self.code, next((f.get("code") for f in reversed(self.frames) if f["type"] == "error"), None)

    def close(self):
        self.file.close()
        self.socket.close()


def knock(base, path, token=None, headers=None):
    """What a handshake comes to: `(0, frames)` for an open socket, else the close code, or the HTTP status, and what
    was said. The socket is closed again."""
    try:
        socket_ = Socket(base, path, token, headers)
    except Refused as refused:
        return refused.status, refused.body.decode(errors="replace")
    first = socket_.frame()
    if first and first["type"] == "connection_established":
        socket_.close()
        return 0, json.dumps(socket_.frames)
    socket_.end(10)
    return socket_.code, json.dumps(socket_.frames)
