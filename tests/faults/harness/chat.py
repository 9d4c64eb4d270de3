"""Rooms, and people who write in them and read them while everything around them breaks. Each keeps a log for the judge."""

import json
import threading
import time

from .client import Gone
from .judge import entries
from .topology import Topology
from .websocket import Refused
from .wire import Ended, Wire
from .world import Miss, parallel

PAGE = 100
# Silent connections count until the server has found out.
CROWDED = {"WS_MAX_PER_USER_AND_ROOM": "1000"}


def sites(trial, short=("mariadb",), env=None):
    """(label, topology, servers): one process on SQLite; two of them on a server database and Redis."""
    top = Topology(trial, env=env)
    yield "embedded", top, [top.serve()]
    for kind in trial.world.pick(short, ("mariadb", "postgres")):
        top = Topology(trial, kind, env=env)
        yield f"2 on {kind}", top, [top.serve(name="first"), top.serve(name="second")]


def again(top, server):
    """The same server, killed and started again; returns when it answers."""
    server.kill()
    started = top.serve(server.port, name=server.log.stem, wait=False)
    top.wait_up(started)
    return started


class Room:
    """A public room with its owner."""

    def __init__(self, trial, top, server, max_members=1000):
        self.trial, self.top, self.server = trial, top, server
        self.owner = server.client.user(f"owner-{next(trial.world.numbers)}")
        body = {"name": self.owner.name, "room_type": "public", "max_members": max_members}
        self.id = self.owner.post("/api/chat/rooms/", body).expect(201)["id"]
        self.messages = f"/api/chat/rooms/{self.id}/messages/"

    def person(self, name):
        """A new member."""
        client = self.server.client.user(f"{name}-{next(self.trial.world.numbers)}")
        client.post(f"/api/chat/rooms/{self.id}/join/", {}).expect(200)
        return client

    def people(self, count, name="p"):
        found = parallel(8, [lambda: self.person(name) for _ in range(count)])
        for client in found:
            client.close()
        return found

    def path(self, client, since=None):
        return f"/ws/chat/{self.id}/?token={client.token}" + (f"&since={since}" if since is not None else "")

    def wire(self, client, base, since=None, **more):
        """An open socket and its greeting."""
        wire = Wire(base, self.path(client, since), **more)
        said = wire.read(20)
        if not said or said[0]["type"] != "connection_established":
            wire.close()
            raise Refused(said[0].get("code") if said else 0, b"")
        # What came with it is read next.
        wire.early = said[1:]
        return wire, said[0]

    def online(self, client):
        return {user["id"] for user in client.get(f"/api/chat/rooms/{self.id}/online/").expect(200)}

    # --- what is stored ---

    def rows(self):
        """(id, seq, client_id, first word), as the database has it."""
        found = self.top.sql.run(f"SELECT id, seq, client_id, content FROM chat_messages WHERE room_id = {self.id} ORDER BY id")
        return [(int(id_), int(seq), key, word(content)) for id_, seq, key, content in found]

    def pages(self, client, after=0, before=None):
        """The same over REST, page by page."""
        found = []
        while True:
            reply = client.get(f"{self.messages}?after_id={after}&limit={PAGE}")
            if reply.status == 503:
                raise Gone("503")
            page = reply.expect(200)["messages"]
            found += [(m["id"], m["seq"], m["client_id"], word(m["content"])) for m in page]
            if not page or before is not None and page[-1]["id"] >= before:
                return [row for row in found if before is None or row[0] < before]
            after = page[-1]["id"]


def word(content):
    return content.split(" ", 1)[0]


class Log:
    """Lines that are only ever appended."""

    def __init__(self, room, name):
        self.path = room.top.folder / f"room{room.id}-{name}.log"
        self.file = open(self.path, "a", buffering=1)

    def add(self, *entry):
        self.file.write(json.dumps(entry) + "\n")

    def entries(self):
        return list(entries(self.path))


class Client(threading.Thread):
    """Somebody in a room, at one of the servers until that fails him, then at the next."""

    def __init__(self, room, name, bases, turn=0):
        super().__init__(daemon=True)
        self.room, self.label, self.bases, self.turn = room, name, bases, turn
        self.client = room.person(name)
        self.log = Log(room, name)
        self.error = None
        # How connections ended that he did not end, and what was said instead of a greeting.
        self.ends, self.refused = {}, {}

    def run(self):
        try:
            self.work()
        except Exception as error:
            self.error = error
        finally:
            self.leave()

    def leave(self):
        pass

    def base(self):
        return self.bases[self.turn % len(self.bases)]

    def at(self):
        """The REST client of the present server."""
        if self.client.base != self.base():
            self.client = self.client.at(self.base())
        return self.client

    def failed(self, why, of=None):
        of = self.refused if of is None else of
        of[why] = of.get(why, 0) + 1
        self.turn += 1
        time.sleep(0.05)

    def end(self, seconds):
        self.join(seconds)
        if self.error:
            raise Miss(f"{self.label}: {type(self.error).__name__}: {self.error}")
        if self.is_alive():
            raise Miss(f"{self.label} did not end within {seconds} s")


class Writer(Client):
    """Sends numbered messages until stopped or so many were sent. Each is repeated, under its `client_id`, until it is
    acknowledged."""

    def __init__(self, *args, count=None, rate=None, size=0, **more):
        super().__init__(*args, **more)
        self.count, self.rate, self.padding = count, rate, " " + "x" * size if size else ""
        self.stopping, self.odd, self.n, self.answered = False, {}, 0, 0
        # No message waits longer for its acknowledgement.
        self.patience = 40

    def due(self, began):
        """Seconds until the next message; None: there is none."""
        if self.stopping or self.n == self.count:
            return None
        return began + self.n / self.rate - time.monotonic() if self.rate else 0

    def next(self):
        # Not the name of anybody, which is the first word of a message as well.
        key = f"{self.label}_{self.n}"
        self.n += 1
        self.log.add("sent", key, time.monotonic())
        return key

    def acked(self, key, message):
        self.log.add("acked", key, message["id"], message.get("seq"), time.monotonic())
        self.answered += 1

    def strange(self, what):
        self.odd[what] = self.odd.get(what, 0) + 1


class RestWriter(Writer):
    def work(self):
        began = time.monotonic()
        while (wait := self.due(began)) is not None:
            if wait > 0:
                time.sleep(min(wait, 0.1))
                continue
            self.send(self.next())

    def send(self, key):
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            try:
                reply = self.at().post(self.room.messages, {"content": key + self.padding, "client_id": key})
            except Gone:
                self.failed("gone")
                continue
            if reply.status in (200, 201):
                return self.acked(key, reply.json())
            # A service is away: repeated as well.
            if reply.status != 503:
                return self.strange(reply.status)
            self.failed(503)
        self.strange("never answered")

    def leave(self):
        self.client.close()


class SocketWriter(Writer):
    """Sends ahead; the echo acknowledges."""

    def __init__(self, *args, window=32, **more):
        super().__init__(*args, **more)
        self.window, self.pending, self.quiet = window, {}, None

    def over(self, began):
        """Nothing is left to do, or nobody answers."""
        if self.due(began) is not None:
            return False
        self.quiet = self.quiet or time.monotonic() + self.patience
        return not self.pending or time.monotonic() > self.quiet

    def work(self):
        began = time.monotonic()
        while not self.over(began):
            try:
                self.wire, _ = self.room.wire(self.client, self.base())
            except (Gone, Ended, Refused) as error:
                self.failed(str(error))
                continue
            try:
                # Those that are stored already come back as they are.
                for key in list(self.pending):
                    self.put(key)
                self.converse(began)
            except Ended as ended:
                self.failed(ended.code, self.ends)
            finally:
                self.wire.close()
        if self.pending:
            self.strange("never echoed")

    def converse(self, began):
        while not self.over(began):
            wait = self.due(began)
            while wait is not None and wait <= 0 and len(self.pending) < self.window:
                key = self.next()
                self.pending[key] = True
                self.put(key)
                wait = self.due(began)
            full = wait is None or len(self.pending) >= self.window
            frames, self.wire.early = self.wire.early or self.wire.read(0.2 if full else min(wait, 0.2)), []
            for frame in frames:
                self.take(frame)

    def put(self, key):
        self.wire.send({"type": "chat_message", "content": key + self.padding, "client_id": key})

    def take(self, frame):
        if frame["type"] == "chat_message":
            message = frame["message"]
            if self.pending.pop(message.get("client_id"), None):
                self.acked(message["client_id"], message)
        elif frame["type"] == "error":
            key = frame.get("client_id")
            if frame.get("code") == "service_unavailable" and key in self.pending:
                time.sleep(0.1)
                self.put(key)
            else:
                self.pending.pop(key, None)
                self.strange(frame.get("code"))


class Cut:
    """`after` seconds of a connection, of the `kind`; he comes back after a `pause`, and after so many messages."""

    def __init__(self, after, kind, pause, messages=0):
        self.after, self.kind, self.pause, self.messages = after, kind, pause, messages

    def __repr__(self):
        return f"{self.kind} after {self.after:.3f} s, {self.pause:.3f} s and {self.messages} messages away"


class Reader(Client):
    """Reads everything from `since` on, over all cuts. What is known to be complete is the `since` of the next visit."""

    def __init__(self, *args, since=0, cuts=(), writers=(), **more):
        """`writers`: whose messages an absence counts."""
        super().__init__(*args, **more)
        self.since, self.seq, self.writers = since, None, writers
        self.cuts, self.made, self.visits = list(cuts), 0, 0
        self.holes, self.silent = [], []
        self.until = None

    def finish(self, last):
        """From now on he may go, as soon as he has what is stored."""
        self.until = last

    def done(self):
        return self.until is not None and not self.cuts and not self.holes and (self.since or 0) >= self.until

    def work(self):
        while not self.done():
            try:
                self.fill()
                self.visit()
            except Gone:
                self.failed("gone")
            except Refused as refused:
                self.failed(refused.status)

    def visit(self):
        """One connection, from the handshake to its end."""
        since = self.since
        try:
            wire, hello = self.room.wire(self.client, self.base(), since)
        except Ended as ended:
            return self.failed(ended.code)
        self.visits += 1
        number, began = self.visits, time.monotonic()
        self.log.add("open", number, since, hello.get("last_message_id"), began)
        if since is None:
            self.since = hello.get("last_message_id") or 0
        self.replaying, self.first, self.newest = since is not None, None, (self.since, self.seq)
        try:
            self.follow(wire, number, began)
        except (Ended, Gone) as error:
            why = error.code if isinstance(error, Ended) else "gone"
            self.log.add("end", number, why, time.monotonic())
            wire.close()
            self.failed(why, self.ends)

    def follow(self, wire, number, began):
        while True:
            now, cut = time.monotonic(), self.cuts[0] if self.cuts else None
            if cut and now >= began + cut.after:
                return self.cut(wire, number, self.cuts.pop(0))
            if self.done():
                self.log.add("end", number, "done", now)
                return wire.close()
            frames, wire.early = wire.early or wire.read(min(0.2, began + cut.after - now) if cut else 0.2), []
            for frame in frames:
                self.take(frame, number)
            if not self.replaying:
                self.fill()

    def cut(self, wire, number, cut):
        self.log.add("end", number, cut.kind, time.monotonic())
        wire.cut(cut.kind)
        if cut.kind == "silent":
            self.silent.append(wire)
        self.made += 1
        self.turn += 1
        enough = self.written() + cut.messages
        time.sleep(cut.pause)
        while self.written() < enough and any(writer.is_alive() for writer in self.writers):
            time.sleep(0.02)

    def written(self):
        return sum(writer.answered for writer in self.writers)

    def take(self, frame, number):
        if frame["type"] == "chat_message":
            message = frame["message"]
            id_, seq = message["id"], message["seq"]
            self.log.add("message", number, id_, seq, word(message["content"]), time.monotonic())
            self.first = self.first or id_
            if id_ > self.newest[0]:
                self.newest = (id_, seq)
            # In a replay, a position without all that is before it would hide that the replay was truncated.
            if not self.replaying or seq == (self.seq or 0) + 1 and (self.seq or self.since == 0):
                self.since, self.seq = self.newest
        elif frame["type"] == "resume_complete":
            self.log.add("resumed", number, *(frame[key] for key in ("from", "to", "count", "truncated")))
            if frame["truncated"]:
                self.holes.append((self.since, self.first))
            self.replaying = False
            self.since, self.seq = self.newest

    def fill(self):
        """Over REST, what a truncated replay left out."""
        while self.holes:
            after, before = self.holes[0]
            for id_, seq, _, said in self.room.pages(self.at(), after, before):
                self.log.add("fetched", id_, seq, said)
            self.holes.pop(0)

    def leave(self):
        for wire in self.silent:
            wire.close()
        self.client.close()
