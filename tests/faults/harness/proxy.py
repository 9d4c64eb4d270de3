"""A TCP proxy inside this process, put before Redis, a database or the object storage.

`hold_up()` and `hold_down()` stop one direction without closing anything (a black hole), `refuse()` turns new
connections away, `cut()` resets the open ones, `delay` slows each piece down. `on_up(number, data)` sees every
piece from a client before it is passed on: the piece's number since the start of its connection, and its bytes.
"""

import contextlib
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)


class Proxy:
    def __init__(self, host, port):
        self.upstream = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.open_up = threading.Event()
        self.open_down = threading.Event()
        self.refusing = False
        self.delay = 0.0
        self.on_up = None
        self.pairs = set()
        self.lock = threading.Lock()
        self.closed = False
        self.release()
        threading.Thread(target=self.accept, daemon=True).start()

    # --- commands ---

    def hold_up(self):
        self.open_up.clear()

    def hold_down(self):
        self.open_down.clear()

    def hold(self):
        self.hold_up()
        self.hold_down()

    def refuse(self):
        self.refusing = True
        self.cut()

    def release(self):
        self.refusing = False
        self.delay = 0.0
        self.open_up.set()
        self.open_down.set()

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for pair in pairs:
            for side in pair:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
                side.close()

    def close(self):
        self.closed = True
        self.listener.close()
        self.release()
        self.cut()

    # --- work ---

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        try:
            server = socket.create_connection(self.upstream, timeout=10)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        server.settimeout(None)
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.pairs.add((client, server))
        threading.Thread(target=self.pump, args=(server, client, self.open_down, None), daemon=True).start()
        self.pump(client, server, self.open_up, self.seen)
        with self.lock:
            self.pairs.discard((client, server))

    def seen(self, number, data):
        return self.on_up(number, data) if self.on_up else None

    def pump(self, source, target, gate, hook):
        number = 0
        try:
            while data := source.recv(256 * 1024):
                number += 1
                if hook:
                    hook(number, data)
                gate.wait()
                if self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
