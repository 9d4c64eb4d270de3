"""R1 to R3: readers that are cut off, many writers at once, servers that are killed while they broadcast."""

import time

from harness.chat import CROWDED, Cut, Reader, RestWriter, Room, SocketWriter, again, sites
from harness.judge import DIFFERENT, DISORDER, DOUBLED, GAP, LOST, NUMBERING, REPEATED, RESUME, UNSTORED, Judge
from harness.report import promise
from harness.wire import CUTS
from harness.world import Miss


def judged(room, readers, writers, resume_max=1000):
    judge = Judge(room.rows(), resume_max)
    for writer in writers:
        judge.writer(writer.log.entries())
    for reader in readers:
        judge.reader(reader.label, reader.log.entries())
    return judge


def verdict(trial, label, judge):
    """What every run with clients that keep logs promises."""

    def row(bar, measured, *kinds):
        faults = judge.faults(*kinds)
        trial.check(f"{label}: {bar}", f"{measured}, {len(faults)} otherwise {'; '.join(faults[:3])}", not faults)

    row("0 lost: everything stored reached every reader",
        f"{len(judge.rows)} stored, {judge.frames} frames, {judge.fetched} fetched", LOST, RESUME)
    row("0 doubled inside a connection, seq without gaps", f"{judge.connections} connections", DOUBLED, GAP)
    row("order equal to the database's", f"{len(judge.rows)} rows", DISORDER, DIFFERENT, NUMBERING)
    row("broadcast and acknowledged are stored, each once", f"{len(judge.acked)} of {judge.sent} acknowledged",
        UNSTORED, REPEATED)
    if len(judge.acked) < judge.sent:
        trial.note(f"{label}: {judge.sent - len(judge.acked)} messages were never acknowledged")


def start(*clients):
    for client in clients:
        client.start()


def wait_in(readers, seconds=20):
    """Until each has been greeted."""
    until = time.monotonic() + seconds
    while any(not reader.visits for reader in readers):
        broken = next((reader for reader in readers if reader.error), None)
        if broken or time.monotonic() > until:
            raise Miss(f"a reader did not get in: {broken and broken.error}, {[r.refused for r in readers]}")
        time.sleep(0.01)


def gather(room, readers, seconds=60):
    """Lets the readers go when they have everything; those that never get it are the judge's to name."""
    last = room.rows()[-1][0]
    for reader in readers:
        reader.finish(last)
    until = time.monotonic() + seconds
    for reader in readers:
        reader.join(max(0.1, until - time.monotonic()))
        if reader.error:
            raise Miss(f"{reader.label}: {type(reader.error).__name__}: {reader.error}")


def plan(random, count, seconds, long=0, messages=0):
    """So many cuts over so many seconds, of all kinds; some at once, within the replay, and some (`long`) with an absence
    of so many messages."""
    kinds = (list(CUTS) * count)[:count]
    random.shuffle(kinds)
    away = set(random.sample(range(1, count), long))
    weights = [random.random() for _ in kinds]
    share, cuts = seconds / sum(weights), []
    for n, (kind, weight) in enumerate(zip(kinds, weights)):
        if n in away:
            cuts.append(Cut(random.uniform(0, 0.2), kind, 0.0, messages))
        elif random.random() < 0.2:
            cuts.append(Cut(random.uniform(0, 0.01), kind, weight * share))
        else:
            absent = random.uniform(0, 0.4)
            cuts.append(Cut(weight * share * (1 - absent), kind, weight * share * absent))
    return cuts


@promise("R1", "a cut socket resumes without loss or doubles")
def r1(trial):
    seconds, count, most, rate = trial.world.pick((10, 10, 200, 200), (60, 50, 1000, 200))
    for label, top, servers in sites(trial, env=CROWDED | {"CHAT_RESUME_MAX": str(most)}):
        room = Room(trial, top, servers[0])
        bases = [server.base for server in servers]
        # Twice he is away for longer than is replayed.
        cuts = plan(trial.random, count, seconds - 3 * most / rate, 2, int(1.5 * most))
        writer = SocketWriter(room, "writer", bases, count=rate * seconds, rate=rate)
        reader = Reader(room, "cut", bases, cuts=cuts, writers=[writer])
        witness = Reader(room, "whole", bases[-1:])
        start(reader, witness)
        wait_in([reader, witness])
        began = time.monotonic()
        start(writer)
        writer.end(seconds * 4 + 60)
        took = time.monotonic() - began
        gather(room, [reader, witness])
        judge = judged(room, [reader, witness], [writer], most)
        trial.check(f"{label}: {rate * seconds} messages at {rate}/s, one reader cut {count} times (RST, FIN, silent)",
                    f"{len(judge.acked) / took:.0f}/s, {reader.made} cuts, {reader.visits} connections",
                    reader.made == count and len(judge.acked) == rate * seconds)
        verdict(trial, label, judge)
        trial.check(f"{label}: more than {most} missed: `truncated` says so, the rest comes by after_id",
                    f"{judge.truncated} times, {judge.fetched} fetched", judge.truncated and judge.fetched)
        others = {r.label: r.ends for r in (reader, witness, writer) if r.ends}
        trial.check(f"{label}: no connection ended but by the cuts", others or "none", not others)


@promise("R2", "one order for all in a room")
def r2(trial):
    each = trial.world.pick(100, 1000)
    for label, top, servers in sites(trial, ("postgres",)):
        room = Room(trial, top, servers[0])
        bases = [server.base for server in servers]
        readers = [Reader(room, f"reader{n}", bases, turn=n, since=None if n < 2 else 0) for n in range(4)]
        writers = [kind(room, f"{name}{n}", bases, turn=n, count=each)
                   for n in range(5) for name, kind in (("rest", RestWriter), ("socket", SocketWriter))]
        start(*readers)
        wait_in(readers)
        began = time.monotonic()
        start(*writers)
        for writer in writers:
            writer.end(each + 120)
        took = time.monotonic() - began
        gather(room, readers)
        judge = judged(room, readers, writers)
        orders = [[e[4] for e in reader.log.entries() if e[0] == "message" and e[4] in judge.acked] for reader in readers]
        stored = [row[2] for row in judge.rows if row[2] in judge.acked]
        equal = sum(order == stored for order in orders)
        trial.check(f"{label}: 4 readers x 10 writers x {10 * each} messages: all sequences equal ORDER BY id",
                    f"{equal} of 4 equal, {len(stored)} stored", equal == 4 and len(stored) == 10 * each)
        trial.note(f"{label}: {10 * each / took:.0f} messages a second, to 4 readers")
        verdict(trial, label, judge)
        paged = room.pages(readers[0].client)
        trial.check(f"{label}: the pages of REST are in the same order", f"{len(paged)} messages", paged == judge.rows)
        odd = {client.label: (client.ends, getattr(client, "odd", {})) for client in readers + writers
               if client.ends or getattr(client, "odd", {})}
        trial.check(f"{label}: every write acknowledged, no connection ended", odd or "none otherwise", not odd)


@promise("R3", "REST and socket agree")
def r3(trial):
    each, kills = trial.world.pick((50, 4), (500, 20))
    for label, top, servers in sites(trial):
        servers = list(servers)
        bases = [server.base for server in servers]
        room = Room(trial, top, servers[0])
        readers = [Reader(room, f"reader{n}", bases, turn=n) for n in range(4)]
        writers = [RestWriter(room, f"writer{n}", bases, turn=n, count=each) for n in range(8)]
        start(*readers)
        wait_in(readers)
        start(*writers)
        for writer in writers:
            writer.end(each + 60)
        gather(room, readers)
        judge = judged(room, readers, writers)
        times = {key: 0 for key in judge.acked}
        for reader in readers:
            for entry in reader.log.entries():
                if entry[0] == "message" and entry[4] in times:
                    times[entry[4]] += 1
        wrong = [key for key, count in times.items() if count != len(readers)]
        trial.check(f"{label}: {8 * each} POSTs answered 2xx: each broadcast exactly once to each of 4 readers",
                    f"{len(times)} answered, {len(wrong)} otherwise {wrong[:3] or ''} {judge.faults()[:3] or ''}",
                    len(times) == 8 * each and not wrong and not judge.faults())
        killed(trial, label, top, servers, bases, kills)


def killed(trial, label, top, servers, bases, kills):
    """Under load, at any moment: between the commit and the broadcast, and between the broadcast and the answer."""
    room = Room(trial, top, servers[0])
    readers = [Reader(room, f"reader{n}", bases, turn=n) for n in range(4)]
    writers = [kind(room, f"{name}{n}", bases, turn=n)
               for n in range(4) for name, kind in (("rest", RestWriter), ("socket", SocketWriter))]
    start(*readers)
    wait_in(readers)
    start(*writers)
    for _ in range(kills):
        time.sleep(trial.random.uniform(0.3, 1.0))
        n = trial.random.randrange(len(servers))
        servers[n] = again(top, servers[n])
    time.sleep(1)
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.end(60)
    gather(room, readers)
    judge = judged(room, readers, writers)
    stored = {row[2] for row in judge.rows}
    unstored = [key for key in judge.acked if key not in stored]
    trial.check(f"{label}: kill -9 x {kills} under load: acknowledged is stored",
                f"{len(unstored)} of {len(judge.acked)} lost {unstored[:3] or ''}", judge.acked and not unstored)
    cut = sum(sum(reader.ends.values()) for reader in readers)
    trial.check(f"{label}: the kills hit open connections", f"{cut} of readers", cut >= kills // 2)
    verdict(trial, label, judge)
    odd = {writer.label: writer.odd for writer in writers if writer.odd}
    trial.check(f"{label}: no answer but 2xx and 503, no error frames", odd or "none", not odd)
