"""WebSocket clients that read when there is something to read: frames as bytes, and one connection that can be cut in
the three ways in which connections end: by RST, by FIN, and without a word."""

import base64
import json
import os
import socket
import struct
from urllib.parse import urlsplit

from .client import Gone
from .proxy import RESET
from .websocket import CLOSE, PING, PONG, TEXT, Refused
from .world import Miss

CUTS = ("rst", "fin", "silent")


def upgrade(base, path, headers=None):
    """The request for a socket."""
    lines = {"Host": urlsplit(base).netloc, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()} | (headers or {})
    return (f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode()


def masked(opcode, data, final=True):
    """A client's frame of any size."""
    size = len(data)
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += struct.pack("!B", 0x80 | size)
    else:
        head += struct.pack("!BH", 0x80 | 126, size) if size < 65536 else struct.pack("!BQ", 0x80 | 127, size)
    mask = os.urandom(4)
    long_mask = (mask * (size // 4 + 1))[:size]
    body = int.from_bytes(data, "big") ^ int.from_bytes(long_mask, "big")
    return head + mask + body.to_bytes(size, "big")


def text(value):
    return masked(TEXT, json.dumps(value).encode())


def closing(data):
    """The code in a close frame."""
    return struct.unpack("!H", data[:2])[0] if data else 1005


class Frames:
    """Takes a server's bytes as they come, gives whole frames."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        data = self.rest + data if self.rest else data
        at, end, found = 0, len(data), []
        while end - at >= 2:
            size, start = data[at + 1] & 127, at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if end < start:
                    break
                size = int.from_bytes(data[at + 2:start], "big")
            if end < start + size:
                break
            if not data[at] & 0x80:
                raise Miss("the server sent a frame in pieces")
            found.append((data[at] & 15, data[start:start + size]))
            at = start + size
        self.rest = data[at:]
        return found


class Ended(Exception):
    """The server's end of a connection: the close code, 1006 without one."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


def connect(base, source=None, receive=None, timeout=20):
    """A TCP connection; `receive`: bytes of its receive buffer."""
    at = urlsplit(base)
    sock = socket.socket()
    try:
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((at.hostname, at.port))
    except OSError as error:
        sock.close()
        raise Gone(f"{base}: {error}") from error
    return sock


class Wire:
    """One open socket."""

    def __init__(self, base, path, headers=None, receive=None, timeout=20):
        self.frames, self.code = Frames(), None
        self.socket = connect(base, receive=receive, timeout=timeout)
        try:
            self.socket.sendall(upgrade(base, path, headers))
            said = b""
            while b"\r\n\r\n" not in said:
                more = self.socket.recv(65536)
                if not more:
                    raise Gone("the connection ended in the handshake")
                said += more
        except (OSError, Gone) as error:
            self.socket.close()
            raise Gone(f"handshake: {error}") from error
        head, rest = said.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        if status != 101:
            self.socket.close()
            raise Refused(status, rest)
        self.ready = self.frames.feed(rest)

    def read(self, seconds):
        """What was said, as objects; waits for the first bytes at most so long."""
        if not self.ready:
            self.socket.settimeout(max(seconds, 0.0005))
            try:
                data = self.socket.recv(262144)
            except TimeoutError:
                return []
            except OSError:
                data = b""
            if not data:
                raise Ended(self.code or 1006)
            self.ready = self.frames.feed(data)
        ready, self.ready = self.ready, []
        said = []
        for opcode, payload in ready:
            if opcode == TEXT:
                said.append(json.loads(payload))
            elif opcode == PING:
                self.put(masked(PONG, payload))
            elif opcode == CLOSE:
                self.code = closing(payload)
        if self.code and not said:
            raise Ended(self.code)
        return said

    def send(self, value):
        self.put(text(value))

    def put(self, data):
        self.socket.settimeout(20)
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Ended(self.code or 1006) from error

    def cut(self, kind):
        """Ends the connection. A silent one goes on existing until `close`."""
        if kind == "rst":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.socket.close()
        elif kind == "fin":
            # Closing with unread bytes would be a reset.
            try:
                self.socket.shutdown(socket.SHUT_WR)
                self.socket.settimeout(0.2)
                while self.socket.recv(262144):
                    pass
            except OSError:
                pass
            self.socket.close()

    def close(self):
        self.socket.close()
