"""Thousands of sockets on one thread: what they are told is only looked at by whoever asked for it."""

import json
import re
import select
import socket
import time
from urllib.parse import urlsplit

from .wire import Frames, closing, masked, text, upgrade
from .websocket import CLOSE, PING, PONG, TEXT
from .world import Miss, quantile

# The mark of a message of the meter, in every frame that carries it.
NUMBER = re.compile(rb'"content": ?"m(\d+) ')
HANDSHAKE = 20


class Peer:
    """One client. `status`: of the handshake, while there is none yet None; `code`: of the close."""

    __slots__ = ("base", "path", "socket", "fd", "frames", "out", "said", "status", "greeted", "code", "ended", "stalled",
                 "errors", "polite")

    def __init__(self, base, path):
        self.base, self.path = base, path
        self.frames, self.out, self.said = Frames(), b"", b""
        self.status = self.code = self.ended = None
        self.greeted = self.stalled = False
        self.errors, self.polite = {}, True


class Swarm:
    def __init__(self):
        self.epoll = select.epoll()
        self.by_fd = {}
        self.on_text = None

    # --- coming ---

    def connect(self, base, path, source=None, receive=None):
        """A client on its way in. `receive`: bytes of its receive buffer."""
        peer, at = Peer(base, path), urlsplit(base)
        sock = peer.socket = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        if source:
            sock.bind((source, 0))
        sock.connect_ex((at.hostname, at.port))
        peer.fd, peer.out = sock.fileno(), upgrade(base, path)
        self.by_fd[peer.fd] = peer
        self.epoll.register(peer.fd, select.EPOLLIN | select.EPOLLOUT)
        return peer

    def enter(self, targets, at_once=24, seconds=120, receive=None):
        """Opens a socket for each (base, path), from changing addresses, and waits for the greetings. A full house (503)
        is knocked at again."""
        waiting, coming, inside = list(reversed(targets)), [], []
        until, n = time.monotonic() + seconds, 0
        while waiting or coming:
            while waiting and len(coming) < at_once:
                n += 1
                coming.append(self.connect(*waiting.pop(), source=f"127.0.0.{2 + n % 20}", receive=receive))
            self.turn(0.5)
            for peer in [peer for peer in coming if peer.greeted or peer.ended]:
                coming.remove(peer)
                if peer.greeted:
                    inside.append(peer)
                elif peer.status == 503:
                    waiting.append((peer.base, peer.path))
                else:
                    raise Miss(f"a socket was not let in: HTTP {peer.status}, close {peer.code}, {peer.errors}")
            if time.monotonic() > until:
                raise Miss(f"{len(inside)} of {len(targets)} sockets were let in within {seconds} s")
        return inside

    # --- being ---

    def send(self, peer, value):
        self.put(peer, text(value))

    def put(self, peer, data):
        peer.out += data
        self.flush(peer)

    def flush(self, peer):
        try:
            while peer.out:
                peer.out = peer.out[peer.socket.send(peer.out[:262144]):]
        except BlockingIOError:
            pass
        except OSError:
            return self.gone(peer)
        if not peer.stalled and not peer.ended:
            self.epoll.modify(peer.fd, select.EPOLLIN | (select.EPOLLOUT if peer.out else 0))

    def stall(self, peer):
        """It never reads again, and tells nobody."""
        peer.stalled = True
        self.epoll.unregister(peer.fd)

    def wake(self, peer):
        peer.stalled = False
        self.epoll.register(peer.fd, select.EPOLLIN)

    def turn(self, seconds):
        """What happens until something happened, or so many seconds passed."""
        for fd, events in self.epoll.poll(max(0.0, seconds), 4096):
            peer = self.by_fd.get(fd)
            if peer is None:
                continue
            if events & select.EPOLLOUT and peer.out:
                self.flush(peer)
            if events & ~select.EPOLLOUT and not peer.ended:
                self.receive(peer)

    def run(self, seconds, until=None):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not (until and until()):
            self.turn(min(left, 0.05 if until else 1.0))

    def receive(self, peer):
        try:
            data = peer.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.gone(peer)
        if peer.status != 101:
            data = self.answered(peer, data)
        if data:
            for opcode, payload in peer.frames.feed(data):
                self.take(peer, opcode, payload)

    def answered(self, peer, data):
        """The answer to the handshake; returns what follows it."""
        peer.said += data
        head, found, rest = peer.said.partition(b"\r\n\r\n")
        if not found:
            return b""
        peer.status, peer.said = int(head.split()[1]), b""
        if peer.status != 101:
            self.gone(peer)
            return b""
        return rest

    def take(self, peer, opcode, payload):
        if opcode == TEXT:
            if not peer.greeted and b'"connection_established"' in payload:
                peer.greeted = True
            elif self.on_text:
                self.on_text(peer, payload)
            if b'"type":"error"' in payload:
                code = json.loads(payload).get("code")
                peer.errors[code] = peer.errors.get(code, 0) + 1
        elif opcode == PING:
            self.put(peer, masked(PONG, payload))
        elif opcode == CLOSE and peer.code is None:
            peer.code, peer.ended = closing(payload), time.monotonic()
            if peer.polite:
                self.put(peer, masked(CLOSE, payload[:2]))
                self.drop(peer)

    def gone(self, peer):
        if peer.code is None:
            peer.code, peer.ended = 1006 if peer.status == 101 else None, time.monotonic()
        self.drop(peer)

    def drop(self, peer):
        if self.by_fd.pop(peer.fd, None):
            peer.socket.close()

    def close(self):
        for peer in list(self.by_fd.values()):
            peer.socket.close()
        self.by_fd.clear()
        self.epoll.close()


class Meter:
    """Numbered messages at a rate, and how long each takes to each listener."""

    def __init__(self, swarm, writer, listeners, size=100):
        self.swarm, self.writer = swarm, writer
        self.listeners = {id(peer) for peer in listeners}
        self.padding = "x" * size
        self.sent, self.times, self.left, self.n = {}, [], {}, 0
        swarm.on_text = self.seen

    def seen(self, peer, payload):
        found = NUMBER.search(payload, 0, 400) or NUMBER.search(payload)
        if found and id(peer) in self.listeners:
            n = int(found.group(1))
            if n in self.sent:
                self.times.append(time.monotonic() - self.sent[n])
                self.left[n].discard(id(peer))

    def say(self):
        n = self.n
        self.n += 1
        self.left[n], self.sent[n] = set(self.listeners), time.monotonic()
        self.swarm.send(self.writer, {"type": "chat_message", "content": f"m{n} {self.padding}"})
        return n

    def measure(self, seconds, rate, meanwhile=None, until=None):
        """Latencies in seconds, and how many deliveries are missing 5 s later."""
        self.times, begin = [], time.monotonic()
        due, first = begin, self.n
        while (now := time.monotonic()) < begin + seconds and not (until and until()):
            if now >= due:
                self.say()
                due += 1 / rate
                if meanwhile:
                    meanwhile(now - begin)
            self.swarm.turn(min(due - time.monotonic(), 0.05))
        mine = range(first, self.n)
        self.swarm.run(5, until=lambda: not any(self.left[n] for n in mine))
        if self.writer.errors or self.writer.ended:
            raise Miss(f"the writer was told {self.writer.errors}, close {self.writer.code}")
        return self.times, sum(len(self.left[n]) for n in mine)


def p99(times):
    return quantile(times, 0.99)
