"""A WebSocket client for the terminal, of the standard library alone.

Usage: websocket.py URL [COUNT]

Each line of standard input is sent as a text frame; each text frame that comes is printed as a line. Ends when the
server closes (the code and reason go to standard error) or, with COUNT, after so many frames. `ws://` only.
"""

import base64
import hashlib
import os
import socket
import struct
import sys
import threading
from urllib.parse import urlsplit

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def connect(url):
    parts = urlsplit(url)
    if parts.scheme != "ws":
        sys.exit("only ws:// addresses")
    link = socket.create_connection((parts.hostname, parts.port or 80), timeout=10)
    key = base64.b64encode(os.urandom(16))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key.decode()}",
    ]
    link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    stream = link.makefile("rb")
    status = stream.readline().decode().strip()
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    if status.split(" ")[1:2] != ["101"]:
        sys.exit(f"refused: {status}")
    if headers.get("sec-websocket-accept") != base64.b64encode(hashlib.sha1(key + GUID).digest()).decode():
        sys.exit("refused: wrong answer to the key")
    link.settimeout(None)
    return link, stream


def send(link, kind, payload):
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | kind, 0x80 | size])
    else:
        head = bytes([0x80 | kind, 0x80 | 126]) + struct.pack(">H", size)
    link.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))


def receive(stream):
    """One frame, or none when the connection ended. The server sends every message as one frame."""
    head = stream.read(2)
    if len(head) < 2:
        return CLOSE, b""
    size = head[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
    return head[0] & 0x0F, stream.read(size)


def send_lines(link):
    for line in sys.stdin:
        if line.strip():
            send(link, TEXT, line.strip().encode())


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    left = int(sys.argv[2]) if len(sys.argv) == 3 else -1
    link, stream = connect(sys.argv[1])
    threading.Thread(target=send_lines, args=(link,), daemon=True).start()
    while left != 0:
        kind, payload = receive(stream)
        if kind == TEXT:
            print(payload.decode(), flush=True)
            left -= 1
        elif kind == PING:
            send(link, PONG, payload)
        elif kind == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            print(f"closed: {code} {payload[2:].decode()}".rstrip() if code else "closed", file=sys.stderr)
            return
    send(link, CLOSE, struct.pack(">H", 1000))


main()
