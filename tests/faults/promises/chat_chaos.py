"""RX: everything at once, judged by what the clients wrote down."""

import json
import time

from harness.chat import CROWDED, Reader, RestWriter, Room, SocketWriter, sites
from harness.report import promise
from harness.world import say
from promises.chat_resume import gather, judged, plan, start, verdict, wait_in


class Event:
    """At a moment: a service or a server goes, and comes back after so many seconds."""

    def __init__(self, at, what, which, away):
        self.at, self.what, self.which, self.away = at, what, which, away

    def __repr__(self):
        return f"{self.at:.2f} s: {self.what} {self.which} for {self.away:.2f} s"


def schedule(random, seconds, servers, redis):
    """Everything that will happen to the services, drawn beforehand. Redis and servers go at the same time, too."""
    events, at = [], random.uniform(0.5, 1.5)
    turn = 0
    while at < seconds - 2:
        # Each kind once, whatever is drawn.
        what = ("kill", "redis")[turn % 2] if redis and turn < 2 else random.choice(("kill", "redis") if redis else ("kill",))
        which = random.randrange(servers) if what == "kill" else random.choice(("kill", "stop"))
        away = random.uniform(0, 1.5) if what == "kill" else random.uniform(0.5, 3.0)
        events.append(Event(at, what, which, away))
        at += random.uniform(0.5, 3.0)
        turn += 1
    return events


def play(trial, top, servers, events):
    """Starts what is due to come back while the next one goes already."""
    services, back, began = trial.world.services, [], time.monotonic()
    if top.kind != "sqlite":
        trial.defer(lambda: services.start("redis"))
    down, kills = set(), [0, 0]

    def due(until):
        """Brings back what is due before `until`."""
        while back and min(back)[0] <= until:
            entry = min(back)
            back.remove(entry)
            moment, what, which = entry
            time.sleep(max(0.0, began + moment - time.monotonic()))
            if what == "redis":
                services.start("redis")
            else:
                servers[which] = top.serve(servers[which].port, name=servers[which].log.stem, wait=False)
                top.wait_up(servers[which])
            down.discard((what, which if what == "kill" else ""))

    for event in events:
        due(event.at)
        time.sleep(max(0.0, began + event.at - time.monotonic()))
        mark = (event.what, event.which if event.what == "kill" else "")
        # One server stays, so that somebody is there to be wrong.
        others = sum(1 for what, _ in down if what == "kill")
        if mark in down or event.what == "kill" and len(servers) > 1 and others:
            continue
        down.add(mark)
        if event.what == "kill":
            servers[event.which].kill()
            kills[0] += 1
        else:
            (services.kill if event.which == "kill" else services.stop)("redis")
            kills[1] += 1
        back.append((event.at + event.away, event.what, event.which))
    due(float("inf"))
    return kills


@promise("RX", "everything at once: cuts, Redis gone, servers killed")
def rx(trial):
    seconds = trial.world.pick(12, 120)
    most = 100
    for label, top, servers in sites(trial, env=CROWDED | {"CHAT_RESUME_MAX": str(most)}):
        servers, redis = list(servers), top.kind != "sqlite"
        bases = [server.base for server in servers]
        room = Room(trial, top, servers[0])
        random = trial.world.random(f"RX/{label}")
        events = schedule(random, seconds, len(servers), redis)
        cuts = [plan(random, int(seconds * 0.8), seconds * 0.8, 1 + seconds // 60, int(1.5 * most)) for _ in range(3)]
        (top.folder / "schedule.json").write_text(json.dumps({"events": list(map(repr, events)),
                                                              "cuts": [list(map(repr, some)) for some in cuts]}, indent=1))
        say("  " + ", ".join(map(repr, events)))
        writers = [RestWriter(room, f"rest{n}", bases, turn=n, rate=40) for n in range(3)]
        writers += [SocketWriter(room, f"socket{n}", bases, turn=n, rate=40) for n in range(2)]
        readers = [Reader(room, f"cut{n}", bases, turn=n, cuts=some, writers=writers) for n, some in enumerate(cuts)]
        # Nobody cuts these but what happens to their servers.
        steady = [Reader(room, f"steady{n}", [base]) for n, base in enumerate(bases)]
        start(*readers, *steady)
        wait_in(readers + steady)
        start(*writers)
        kills = play(trial, top, servers, events)
        time.sleep(max(1.0, seconds / 10))
        for writer in writers:
            writer.stopping = True
        for writer in writers:
            writer.end(60)
        gather(room, readers + steady)
        judge = judged(room, readers + steady, writers, most)
        made = sum(reader.made for reader in readers)
        trial.check(f"{label}: {seconds} s with {kills[0]} kill -9, {kills[1]} stops of Redis, {made} cuts",
                    f"{judge.connections} connections, {judge.truncated} truncated replays",
                    kills[0] and made == sum(map(len, cuts)) and (kills[1] or not redis))
        verdict(trial, label, judge)
        late = judge.delays(reader.log.entries() for reader in steady)
        trial.check(f"{label}: an open socket gets an acknowledged message within 5 s, also without Redis",
                    f"at most {max(late, default=0):.2f} s of {len(late)}", late and max(late) <= 5.5)
        odd = {writer.label: writer.odd for writer in writers if writer.odd}
        trial.check(f"{label}: no answer but 2xx and 503, no error frames", odd or "none", not odd)
        found = judge.faults()
        if found:
            (top.folder / "faults.txt").write_text("\n".join(found))
