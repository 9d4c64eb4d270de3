"""R7 and R8: many idle sockets, and a server that is told to stop under them."""

import time

from harness.chat import CROWDED, Room, sites
from harness.report import promise
from harness.swarm import Meter, Swarm
from harness.wire import connect, upgrade
from harness.world import Miss


@promise("R7", "many idle sockets")
def r7(trial):
    count, quiet, rounds = trial.world.pick((500, 2, 5), (5000, 40, 10))
    for label, top, servers in sites(trial, ()):
        room = Room(trial, top, servers[0])
        people = room.people(count // 10)
        swarm = Swarm()
        trial.defer(swarm.close)
        targets = [(servers[n % len(servers)].base, room.path(person)) for n in range(10) for person in people]
        # Once before, so that what a first socket costs is not counted.
        for peer in swarm.enter(targets[:100]):
            swarm.drop(peer)
        time.sleep(2)
        writer = swarm.enter([(servers[0].base, room.path(room.owner))])[0]
        idle = sum(server.memory() for server in servers)
        began = time.monotonic()
        peers = swarm.enter(targets, seconds=300)
        came = time.monotonic() - began
        swarm.run(quiet)
        each = (sum(server.memory() for server in servers) - idle) * 1024 / count
        gone = [peer.code for peer in peers if peer.ended]
        trial.check(f"{label}: {count} idle sockets: RSS <= 25 KB each", f"{each / 1000:.1f} KB each", each <= 25_000)
        trial.check(f"{label}: all of them stay for {quiet} s", f"{len(gone)} closed {sorted(set(gone))}", not gone)
        meter = Meter(swarm, writer, peers)
        slowest, missing = [], 0
        for _ in range(rounds):
            times, lost = meter.measure(0.01, 1)
            slowest.append(max(times, default=0.0))
            missing += lost
            swarm.run(0.5)
        trial.check(f"{label}: a message to all {count}: received by all <= 1 s, 0 missing",
                    f"at most {max(slowest) * 1000:.0f} ms in {rounds} rounds, {missing} missing",
                    max(slowest) <= 1 and not missing)
        trial.note(f"{label}: {count / came:.0f} sockets a second came in; "
        f"best round {min(slowest) * 1000:.0f} ms")
        swarm.close()


# What clients have begun and never end.
def half_sent(server, room):
    head = (f"POST {room.messages} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {room.owner.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n").encode()
    pieces = [head + b'{"content": "', b"GET / HTTP/1.1\r\nHost: x\r\n", upgrade(server.base, room.path(room.owner))[:-2], b""]
    found = []
    for n in range(20):
        sock = connect(server.base)
        sock.sendall(pieces[n % len(pieces)])
        found.append(sock)
    return found


@promise("R8", "a stop tells the clients")
def r8(trial):
    count = trial.world.pick(300, 2000)
    for label, top, servers in sites(trial, env=CROWDED):
        server = servers[0]
        room = Room(trial, top, server)
        people = room.people(5)
        swarm = Swarm()
        trial.defer(swarm.close)
        peers = swarm.enter([(server.base, room.path(people[n % 5])) for n in range(count)])
        staying = [swarm.enter([(other.base, room.path(people[0]))])[0] for other in servers[1:]]
        # Some do not answer the close, one does not even read.
        for peer in peers[:10]:
            peer.polite = False
        deaf = swarm.enter([(server.base, room.path(people[1]))], receive=4096)[0]
        swarm.stall(deaf)
        stuck = half_sent(server, room)
        swarm.run(0.5)
        began = time.monotonic()
        server.terminate()
        swarm.run(15, until=lambda: not server.alive() and all(peer.ended for peer in peers))
        code = server.wait(10)
        gone = time.monotonic() - began
        if code is None:
            raise Miss(f"{label}: the server did not end within 25 s after SIGTERM")
        swarm.run(1, until=lambda: all(peer.ended for peer in peers))
        codes = {}
        for peer in peers:
            codes[peer.code] = codes.get(peer.code, 0) + 1
        ends = sorted(peer.ended - began for peer in peers if peer.ended)
        trial.check(f"{label}: SIGTERM with {count} sockets: each gets close 1001", codes, codes == {1001: count})
        trial.check(f"{label}: the first within 2 s, all within 8 s",
                    f"{ends[0]:.2f} s to {ends[-1]:.2f} s" if ends else "none", ends and ends[0] <= 2 and ends[-1] <= 8)
        trial.check(f"{label}: the process is gone <= 10 s, with 20 half-sent requests open", f"exit {code} after {gone:.1f} s",
                    code == 0 and gone <= 10)
        if staying:
            closed = [peer.code for peer in staying if peer.ended]
            trial.check(f"{label}: sockets of the other instance stay", closed or "all", not closed)
        for sock in stuck:
            sock.close()
        swarm.close()
