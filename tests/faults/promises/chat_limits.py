"""R4 to R6: a client that reads too slowly, peers that vanish, clients that want too much."""

import json
import time
from socket import inet_ntoa

from harness.chat import CROWDED, Room, again, sites
from harness.client import Gone
from harness.report import promise
from harness.swarm import Meter, Swarm, p99
from harness.websocket import Refused, Socket, TEXT
from harness.wire import Ended, Frames, connect, masked, text, upgrade


def unaffected(before, during):
    """p99 of the others, against the same without the one who disturbs."""
    return during <= 1.5 * before + 0.005


def shown(before, during, missing):
    return f"p99 {during * 1000:.1f} ms, baseline {before * 1000:.1f} ms, {missing} missing"


def held(port, clients):
    """Which of these clients' ends (address, port) the server still has a socket for. One that it has closed with unsent
    bytes belongs to nobody. Clients come from several addresses, so that a port alone may be that of another."""
    found, want = set(), f"{port:04X}"
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            _, local, remote, state, *rest = line.split()
            if local.split(":")[1] == want and state in ("01", "08") and rest[5] != "0":
                address, _, end = remote.partition(":")
                found.add((inet_ntoa(bytes.fromhex(address)[::-1]), int(end, 16)))
    return found & clients


class Stalled:
    """Sockets with a receive buffer of 4 KiB that never read."""

    def __init__(self, swarm, room, base, people):
        self.peers = swarm.enter([(base, room.path(person)) for person in people], receive=4096)
        for peer in self.peers:
            swarm.stall(peer)
        self.began, self.closed = time.monotonic(), {}
        self.server = int(base.rsplit(":", 1)[1])
        self.ends = {peer.socket.getsockname() for peer in self.peers}

    def look(self):
        """Whether the server has closed all of them."""
        for end in self.ends - held(self.server, self.ends) - set(self.closed):
            self.closed[end] = time.monotonic() - self.began
        return len(self.closed) == len(self.ends)


@promise("R4", "a slow reader hurts nobody else")
def r4(trial):
    span, many = trial.world.pick((5, 10), (30, 20))
    for label, top, servers in sites(trial, env=CROWDED):
        server = servers[-1]
        room = Room(trial, top, servers[0])
        swarm = Swarm()
        trial.defer(swarm.close)
        people, slow = room.people(10), room.people(many, "slow")
        readers = swarm.enter([(server.base, room.path(people[n % 10])) for n in range(99)])
        # Half a megabyte a second: what the kernel keeps for a socket, over 2 MB on loopback, is full soon.
        meter = Meter(swarm, swarm.enter([(server.base, room.path(room.owner))])[0], readers, size=9000)
        meter.measure(2, 60)
        times, lost = meter.measure(span, 60)
        baseline, idle = p99(times), server.memory()
        server.reset_peak()
        one = Stalled(swarm, room, server.base, slow[:1])
        looked = [0.0]

        def over():
            if time.monotonic() - looked[0] > 0.25:
                looked[0] = time.monotonic()
                return one.look() and looked[0] - one.began > span
            return False

        times, missing = meter.measure(32, 60, until=over)
        grown = server.memory("VmHWM") - idle
        trial.check(f"{label}: 1 of 100 never reads: the others' p99 <= 1.5 x baseline + 5 ms, 0 missing",
                    shown(baseline, p99(times), lost + missing), unaffected(baseline, p99(times)) and not lost + missing)
        after = max(one.closed.values(), default=0)
        code, seen, wrong = told(swarm, one.peers[0])
        trial.check(f"{label}: the slow one is closed (1013, or cut) within 30 s", f"after {after:.1f} s with {code}, {seen} read",
                    len(one.closed) == 1 and after <= 30 and code in (1013, 1006))
        # What the database keeps of the messages meanwhile is in it; by many clients it is told apart, below.
        trial.note(f"{label}: memory with one slow reader + {grown} KiB")
        trial.check(f"{label}: it resumes without loss", *resumes(room, slow[0], server.base, seen, wrong))
        if not trial.world.long and top.kind != "sqlite":
            continue
        server.reset_peak()
        idle = server.memory()
        more = Stalled(swarm, room, server.base, slow)
        times, missing = meter.measure(32, 60, until=more.look)
        grown = server.memory("VmHWM") - idle
        trial.check(f"{label}: {many} at once: all closed within 30 s, memory <= 2 MB each",
                    f"{len(more.closed)} after {max(more.closed.values(), default=0):.1f} s, + {grown // many} KiB each",
                    len(more.closed) == many and max(more.closed.values()) <= 30 and grown * 1024 <= 2_000_000 * many)
        trial.check(f"{label}: {many} at once: nothing is missing for the others", f"{missing} missing", not missing)
        trial.note(f"{label}: p99 with {many} slow readers {p99(times) * 1000:.1f} ms")


def told(swarm, peer):
    """What a stalled client finds when it reads at last: close code, last id, and whether something was out of order."""
    ids, before = [], swarm.on_text
    swarm.on_text = lambda of, payload: ids.append(json.loads(payload)["message"]["id"]) if of is peer and (
        b'"type":"chat_message"' in payload) else None
    swarm.wake(peer)
    swarm.run(10, until=lambda: peer.ended)
    swarm.on_text = before
    return peer.code, ids[-1] if ids else None, ids != sorted(set(ids))


def resumes(room, person, base, seen, disorder):
    """From the last id that it read to the end of what is stored."""
    if seen is None:
        return "it read nothing", False
    rows = [row[0] for row in room.rows()]
    wire, _ = room.wire(person, base, seen)
    got, complete, until = [], None, time.monotonic() + 20
    while complete is None and time.monotonic() < until:
        for frame in wire.early or wire.read(1):
            if frame["type"] == "chat_message" and complete is None:
                got.append(frame["message"]["id"])
            elif frame["type"] == "resume_complete":
                complete = frame
        wire.early = []
    wire.close()
    want = rows[rows.index(seen) + 1:]
    if complete and complete["truncated"]:
        got = [row[0] for row in room.pages(person, seen, got[0])] + got
    return f"{len(want)} missed, {len(got)} resumed", complete and not disorder and got[:len(want)] == want


@promise("R5", "dead peers are found")
def r5(trial):
    """Everything waits at the same time."""
    places, cases = [], []
    for label, top, servers in sites(trial):
        servers = list(servers)
        room = Room(trial, top, servers[0])
        watcher = room.person("watcher")
        place = (label, room, watcher.at(servers[0].base))
        places.append((place, Held(room, room.person("alive"), servers[-1].base)))
        cases.append(Vanished(f"{label}: stops reading, no FIN", place, Held(room, room.person("silent"), servers[-1].base)))
        reset = Held(room, room.person("reset"), servers[-1].base)
        cases.append(Vanished(f"{label}: reset", place, reset, lambda reset=reset: reset.wire.cut("rst")))
        if len(servers) > 1:
            doomed = top.serve(name="doomed")
            # Its people are not the ones who open the room there.
            held = Held(room, room.person("orphan"), doomed.base)
            cases.append(Vanished(f"{label}: its instance is killed", place, held, doomed.kill))
        else:
            restarted = top, servers[0]
    strangers = [Stranger(*case) for case in unauthenticated(servers[0].base, room)]
    for (label, room, watcher), alive in places:
        here, there = room.online(watcher), {case.held.id for case in cases if case.place[1] is room} | {alive.id}
        trial.check(f"{label}: those who are there are present", f"{len(here & there)} of {len(there)}", there <= here)
    for case in cases:
        case.begin()
    began = time.monotonic()
    while time.monotonic() - began < 52 and not all(thing.over for thing in cases + strangers):
        for thing in cases + strangers:
            thing.look()
        for _, alive in places:
            alive.answer()
    for case in cases:
        took = f"gone after {case.took:.1f} s" if case.over else "still present"
        trial.check(f"{case.what}: gone from presence <= 45 s", took, case.over and case.took <= 45)
    for (label, room, watcher), alive in places:
        here = alive.id in room.online(watcher)
        trial.check(f"{label}: who answers pings stays", "present" if here else "gone", here and alive.open)
    for stranger in strangers:
        trial.check(f"never authenticates, {stranger.what}: closed <= 10 s",
                    f"{stranger.code or ''} after {stranger.took:.1f} s" if stranger.over else "still open",
                    stranger.over and stranger.took <= 10.5 and stranger.code in stranger.codes)
    top, server = restarted
    (label, room, watcher), _ = places[0]
    again(top, server)
    watcher.close()
    began = time.monotonic()
    while (left := room.online(watcher)) and time.monotonic() - began < 45:
        time.sleep(0.5)
    trial.check(f"{label}: killed and restarted: nobody is left present after 45 s",
                f"{len(left)} after {time.monotonic() - began:.1f} s", not left)


class Held:
    """Somebody's open socket."""

    def __init__(self, room, person, base):
        self.id, self.open = person.id, True
        self.wire, _ = room.wire(person, base)

    def answer(self):
        try:
            self.wire.read(0.05)
        except Ended:
            self.open = False


class Vanished:
    """Somebody whose socket ends, or does not, by `act`; until nobody is told of him any more."""

    def __init__(self, what, place, held, act=None):
        self.what, self.place, self.held, self.act = what, place, held, act
        self.over, self.took, self.looked = False, None, 0.0

    def begin(self):
        if self.act:
            self.act()
        self.began = time.monotonic()

    def look(self):
        now = time.monotonic()
        if self.over or now - self.looked < 0.5:
            return
        self.looked = now
        _, room, watcher = self.place
        try:
            self.over = self.held.id not in room.online(watcher)
        except Gone:
            return
        self.took = now - self.began


def unauthenticated(base, room):
    """(what, bytes to send, close codes): clients that never show a usable token, and never go by themselves."""
    path = f"/ws/chat/{room.id}/"
    whole = upgrade(base, path)
    return [
        ("no token", base, whole, (4401,)),
        ("a wrong token", base, upgrade(base, path + "?token=wrong"), (4401,)),
        ("a refresh token", base, upgrade(base, f"{path}?token={room.owner.refresh}"), (4401,)),
        ("half a handshake", base, whole[:-2], (None,)),
        ("nothing at all", base, b"", (None,)),
    ]


class Stranger:
    def __init__(self, what, base, data, codes):
        self.what, self.codes = what, codes
        self.socket = connect(base)
        self.socket.sendall(data)
        self.began, self.frames, self.said = time.monotonic(), Frames(), b""
        self.over, self.code, self.took = False, None, None

    def look(self):
        if self.over:
            return
        self.socket.settimeout(0.01)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        except OSError:
            data = b""
        self.said += data
        if not data:
            self.over, self.took = True, time.monotonic() - self.began
            head, _, rest = self.said.partition(b"\r\n\r\n")
            closes = [payload for opcode, payload in Frames().feed(rest) if opcode == 8] if b" 101 " in head else []
            self.code = int.from_bytes(closes[0][:2], "big") if closes else None
            self.socket.close()


@promise("R6", "limits of each client")
def r6(trial):
    span = trial.world.pick(2.5, 20)
    limits = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_CHAT_SEND": "20/s", "RATE_LIMIT_CHAT_BURST": "60", "WS_FRAME_RATE": "50/s",
              "RATE_LIMIT_USER": "100000/s", "RATE_LIMIT_ANONYMOUS": "100000/s", "RATE_LIMIT_REGISTER": "100000/s"}
    for label, top, servers in sites(trial, env=limits):
        server = servers[-1]
        room = Room(trial, top, servers[0])
        sizes(trial, label, room, room.person("large"), server.base)
        many(trial, label, room, server.base)
        flood(trial, label, room, server.base, span)


def sizes(trial, label, room, person, base):
    def say(*pieces):
        """The close code after frames, None when it goes on."""
        wire, _ = room.wire(person, base)
        try:
            for piece in pieces:
                wire.put(piece)
            wire.send({"type": "ping"})
            until = time.monotonic() + 5
            while time.monotonic() < until:
                if any(frame["type"] == "pong" for frame in wire.early + wire.read(1)):
                    return None
            return "silence"
        except Ended as ended:
            return ended.code
        finally:
            wire.close()

    def body(size):
        empty = len(json.dumps({"type": "chat_message", "content": ""}))
        return json.dumps({"type": "chat_message", "content": "x" * (size - empty)}).encode()

    half = 40_000
    cases = [
        ("64 KiB", None, [masked(TEXT, body(65536))]),
        ("64 KiB + 1", 1009, [masked(TEXT, body(65537))]),
        ("1 MiB", 1009, [masked(TEXT, body(1 << 20))]),
        ("80 kB in two pieces", 1009, [masked(TEXT, b"a" * half, final=False), masked(0, b"a" * half)]),
        ("a length of 2^62, nothing else", 1009, [b"\x81\xff" + (1 << 62).to_bytes(8, "big") + b"\0\0\0\0"]),
    ]
    found = {what: say(*pieces) for what, _, pieces in cases}
    wrong = [what for what, code, _ in cases if found[what] != code]
    trial.check(f"{label}: a frame over 64 KiB: close 1009, up to it none", found, not wrong)


def many(trial, label, room, base):
    person, other = room.person("many"), room.person("other")
    wires, code = [], None
    try:
        for _ in range(11):
            wires.append(room.wire(person, base)[0])
    except Refused as refused:
        code = refused.status
    late = Socket(base, room.path(person))
    late.end(5)
    room.wire(other, base)[0].close()
    alive = 0
    for wire in wires:
        wire.send({"type": "ping"})
        alive += any(frame["type"] == "pong" for frame in wire.read(5) + wire.read(0.1))
    trial.check(f"{label}: more than 10 sockets of a user in a room: refused with 4429, the ten stay",
                f"{len(wires)} in, {alive} stay, then {code} and close {late.code}",
                len(wires) == alive == 10 and late.code == 4429)
    wires.pop().close()
    until, entered = time.monotonic() + 3, False
    while not entered and time.monotonic() < until:
        try:
            wires.append(room.wire(person, base)[0])
            entered = True
        except (Refused, Ended, Gone):
            time.sleep(0.05)
    trial.check(f"{label}: the place of one who left is free", "entered" if entered else "refused", entered)
    for wire in wires:
        wire.close()


FLOODS = {
    "messages": lambda n: text({"type": "chat_message", "content": f"flood {n}"}),
    "typing": lambda n: text({"type": "typing", "is_typing": bool(n % 2)}),
    "nonsense": lambda n: masked(TEXT, b"{" * 50),
    "pings of the protocol": lambda n: masked(9, b"x" * 100),
}


def flood(trial, label, room, base, span):
    swarm = Swarm()
    trial.defer(swarm.close)
    readers = swarm.enter([(base, room.path(person)) for person in room.people(5) for _ in range(4)])
    meter = Meter(swarm, swarm.enter([(base, room.path(room.owner))])[0], readers)
    meter.measure(1, 15)
    before, lost = meter.measure(span, 15)
    for what, frame in FLOODS.items():
        person = room.person("flood")
        data = b"".join(frame(n) for n in range(2000))
        stored = len(room.rows())
        peers = []

        def begin(elapsed):
            if not peers and elapsed > 0.5:
                peers.extend(swarm.enter([(base, room.path(person))]))
                meter.swarm.put(peers[0], data)

        first = meter.n
        during, missing = meter.measure(span, 15, meanwhile=begin)
        peer = peers[0]
        new = sum(1 for row in room.rows()[stored:] if row[3] == "flood")
        others = (meter.n - first)
        trial.check(f"{label}: 2,000 {what} at once: error frames or close, at most what the rate allows is stored",
                    f"{peer.errors or 'no errors'}, close {peer.code}, {new} stored",
                    (peer.errors or peer.ended) and new <= 60 + 20 * (span + 6))
        trial.check(f"{label}: others meanwhile: p99 <= 1.5 x baseline + 5 ms, 0 missing",
                    shown(p99(before), p99(during), lost + missing) + f" of {others * len(readers)}",
                    unaffected(p99(before), p99(during)) and not lost + missing)
        if not peer.ended:
            swarm.drop(peer)
    swarm.close()
