"""A2 to A4: what logins and resets tell a stranger, how often one may guess, how passwords are kept."""

import math
import os
import statistics
import threading
import time

from harness.client import PASSWORD, Client
from harness.report import promise
from harness.topology import Background, Topology
from harness.world import parallel, quantile
from promises import resets

REAL = {"ARGON2_MEMORY_KIB": "19456", "ARGON2_ITERATIONS": "2"}


def mann_whitney(a, b):
    """Two-sided p of the rank sum, by its normal approximation with ties."""
    ranked = sorted([(x, 0) for x in a] + [(x, 1) for x in b])
    total, ties, i, n = 0.0, 0.0, 0, len(ranked)
    while i < n:
        j = i
        while j < n and ranked[j][0] == ranked[i][0]:
            j += 1
        rank = (i + j + 1) / 2
        total += rank * sum(1 for k in range(i, j) if ranked[k][1] == 0)
        ties += (j - i) ** 3 - (j - i)
        i = j
    na, nb = len(a), len(b)
    u = total - na * (na + 1) / 2
    sigma = math.sqrt(na * nb / 12 * (n + 1 - ties / (n * (n - 1))))
    z = abs(u - na * nb / 2) / sigma if sigma else 0.0
    return math.erfc(z / math.sqrt(2))


def shape(reply):
    """Status, bytes, and headers without what differs between any two answers."""
    own = {"date", "x-request-id", "ratelimit-remaining", "ratelimit-reset", "retry-after"}
    headers = sorted((k.lower(), v) for k, v in reply.headers.items() if k.lower() not in own)
    return reply.status, reply.body, tuple(headers)


@promise("A2", "neither a login nor a forgotten password tells which accounts exist")
def a2(trial):
    pairs = trial.world.pick(100, 200)
    # One core for both sides: a scheduler that moves them would be measured as well.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    trial.defer(lambda: os.sched_setaffinity(0, cores))
    free = {"AUTH_LOGIN_MAX_FAILURES": "1000000", "AUTH_IP_MAX_FAILURES": "1000000"}
    client = accounts(Topology(trial, env=REAL | free))
    by_name = lambda name, password: client.login(name, password)
    by_address = lambda name, password: client.post("/api/token/", {"login": f"{name}@example.com", "password": password})
    for what, login in (("/user/login/", by_name), ("/api/token/ by address", by_address)):
        measure(trial, what, {
            "unknown": lambda n: login(f"nobody-{n}", "wrong-password-1"),
            "wrong password": lambda _: login("known", "wrong-password-1"),
            "inactive": lambda _: login("inactive", PASSWORD),
        }, pairs, 401)
    both = {shape(login(name, "wrong-password-1")) for login in (by_name, by_address) for name in ("known", "nobody")}
    trial.check("both logins answer alike", f"{len(both)} kinds", len(both) == 1)

    client = accounts(Topology(trial, env={"AUTH_LOGIN_MAX_FAILURES": "3", "AUTH_IP_MAX_FAILURES": "1000000"}))
    for name in ("known", "nobody"):
        for _ in range(3):
            client.login(name, "wrong-password-1")
    cases = {f"blocked, {word}": lambda _, name=name: client.login(name, "wrong-password-1")
             for word, name in (("unknown", "nobody"), ("known", "known"))}
    # These are short, so more of them are needed to see a difference of a twentieth.
    measure(trial, "blocked login", cases, 5 * pairs, 429)
    forgotten(trial, 2 * pairs)
    trial.note("resending of codes after registering: with its endpoint")


def accounts(top):
    """A server with `known` and `inactive`; nobody is called anything else."""
    server = top.serve()
    for name in ("known", "inactive"):
        server.client.register(name).expect(201)
    top.command("user", "disable", "inactive")
    return server.client


def forgotten(trial, pairs):
    """Both steps of the reset. Hits fall out of these limits after a second, so that their lists stay short."""
    client = accounts(Topology(trial, env={"RATE_LIMIT_RESET_MAIL": "100000/s", "RATE_LIMIT_RESET_MAIL_IP": "100000/s"}))
    address = {"unknown": "nobody@example.com", "known": "known@example.com", "inactive": "inactive@example.com"}
    said = resets.sequences(client, shape, address.values())
    trial.check("reset, on every path, from the mail to the sixth wrong code: the same sequence of answers",
                f"{len({tuple(one) for one in said})} kinds of {[answer[0] for answer in said[0][:7]]}",
                said[0] == said[1] == said[2])

    def ask(kind):
        reply = client.post(resets.FIRST[0], {"email": address[kind]})
        # The mail is sent behind the answer, and must not slow down the next request.
        time.sleep(0.03)
        return reply

    def refill(n):
        """A code is void after five guesses."""
        if n % 4 == 0:
            for kind in address:
                ask(kind).expect(200)

    wrong = lambda kind: resets.guess(client, resets.SECOND[0], address[kind], "not-it")
    measure(trial, "reset, step 1", {kind: lambda _, kind=kind: ask(kind) for kind in address}, pairs, 200)
    measure(trial, "reset, step 2", {kind: lambda _, kind=kind: wrong(kind) for kind in address}, pairs, 400, refill)
    # Now nobody has one.
    for kind in address:
        for _ in range(6):
            wrong(kind)
    measure(trial, "reset, step 2 without a code", {kind: lambda _, kind=kind: wrong(kind) for kind in address}, pairs, 400)


def measure(trial, what, cases, pairs, status, before=None):
    """`cases`: name → what makes a request. `before` each round something may be made ready."""
    for attempt in range(2):
        times, shapes = {case: [] for case in cases}, set()
        for n in range(pairs + 20):
            order = list(cases)
            trial.random.shuffle(order)
            if before:
                before(n)
            for case in order:
                reply = cases[case](n)
                shapes.add(shape(reply))
                if n >= 20:
                    times[case].append(reply.took * 1000)
        medians = {case: statistics.median(values) for case, values in times.items()}
        spread = max(medians.values()) - min(medians.values())
        share = spread / min(medians.values())
        names = list(cases)
        p = {f"{a} / {b}": mann_whitney(times[a], times[b]) for i, a in enumerate(names) for b in names[i + 1:]}
        # One in a hundred honest samples misses p > 0.01, and on a busy machine medians drift apart that p finds equal.
        # A real difference misses both; a miss of one alone is measured again, twice as long, and that decides.
        even, alike = share < 0.05 and spread < 3, min(p.values()) > 0.01
        if attempt == 0 and even != alike:
            trial.note(f"{what}: first sample {share:.1%}, {spread:.2f} ms, least p {min(p.values()):.3f}; measured again")
            pairs *= 2
            continue
        break
    answers = {answer[0] for answer in shapes}
    trial.check(f"{what}: same status, bytes and headers", f"{len(shapes)} kinds of answer, {answers}",
                len(shapes) == 1 and answers == {status})
    shown = ", ".join(f"{case} {value:.2f}" for case, value in medians.items())
    trial.check(f"{what}, {pairs} interleaved: medians differ < 5 % and < 3 ms",
                f"{share:.1%}, {spread:.2f} ms ({shown})", share < 0.05 and spread < 3)
    trial.check(f"{what}: Mann-Whitney p > 0.01", f"least p {min(p.values()):.3f}", min(p.values()) > 0.01)


@promise("A3", "guessing is throttled")
def a3(trial):
    for label, kind in (("embedded", "sqlite"), ("2 servers", "mariadb")):
        top = Topology(trial, kind)
        one = top.serve(name="one")
        two = top.serve(name="two") if kind != "sqlite" else one
        one.client.register("a3").expect(201)

        def guess(server, name="a3", password="wrong-password", source=None, headers=None):
            return Client(server.base, source=source, headers=headers).login(name, password)

        replies = [guess((one, two)[n % 2]) for n in range(14)]
        statuses = [reply.status for reply in replies]
        wait = int(replies[-1].headers.get("Retry-After", 0))
        trial.check(f"{label}: 10 failures, then 429 with Retry-After", f"{statuses.count(401)} x 401, {statuses[10:]}, {wait} s",
                    statuses == [401] * 10 + [429] * 4 and 0 < wait <= 300)
        blocked = guess(two, password="correct-horse-7").status
        elsewhere = guess(two, password="correct-horse-7", source="127.0.0.2").status
        trial.check(f"{label}: the right password is refused here, and works from another address",
                    f"{blocked}, {elsewhere}", blocked == 429 and elsewhere == 200)
        forged = [
            guess(one, headers={name: value}).status
            for name, value in (("X-Forwarded-For", "10.1.2.3"), ("X-Real-IP", "10.1.2.4"), ("Forwarded", "for=10.1.2.5"),
                                ("X-Forwarded-For", "127.0.0.9, 10.0.0.1"), ("True-Client-IP", "10.1.2.6"))
        ]
        trial.check(f"{label}: forged forwarding headers do not reset it", forged, set(forged) == {429})
        one.stop()
        if two is not one:
            two.stop()
        again = top.serve(name="again")
        trial.check(f"{label}: it survives a restart", guess(again).status, guess(again).status == 429)
        spelled = [guess(again, name=name).status for name in ("A3", " a3", "ａ3")]
        trial.check(f"{label}: nor does another spelling of the name", spelled, set(spelled) == {429})
        tokens = [again.client.post("/api/token/", {field: "a3", "password": word}).status
                  for field in ("login", "username") for word in ("wrong-password", PASSWORD)]
        trial.check(f"{label}: nor does the other login", tokens, set(tokens) == {429})
        again.client.register("a3-rush").expect(201)
        with_rush = parallel(40, [lambda: guess(again, name="a3-rush", source="127.0.0.3").status for _ in range(40)])
        trial.check(f"{label}: 40 guesses at once: 10 are looked at", f"{with_rush.count(401)} x 401, {with_rush.count(429)} x 429",
                    with_rush.count(401) <= 10 and set(with_rush) <= {401, 429})
        spray = [guess(again, name=f"spray-{n}", source="127.0.0.4").status for n in range(110)]
        trial.check(f"{label}: 100 failures of one address over many names, then 429", f"{spray.count(401)} x 401",
                    spray == [401] * 100 + [429] * 10)
        resets.limits(trial, label, kind)
        resets.guesses(trial, label, kind)
    trial.note("TOTP codes: with their endpoints")


@promise("A4", "how passwords are kept")
def a4(trial):
    rounds = trial.world.pick(3, 20)
    top = Topology(trial)
    top.env.pop("ARGON2_MEMORY_KIB"), top.env.pop("ARGON2_ITERATIONS")
    server = top.serve()
    users = [f"a4-{n}" for n in range(64)]
    for name in users:
        server.client.register(name).expect(201)
    phc = top.sql.run("SELECT password FROM users LIMIT 1")[0][0]
    cost = dict(part.split("=") for part in phc.split("$")[3].split(","))
    trial.check("argon2id, m >= 19456, t >= 2, p >= 1", phc.rsplit("$", 2)[0],
                phc.startswith("$argon2id$") and int(cost["m"]) >= 19456 and int(cost["t"]) >= 2 and int(cost["p"]) >= 1)
    for length in (73, 128):
        name, word = f"long-{length}", "p" * (length - 1)
        server.client.register(name, word + "a").expect(201)
        right, wrong, cut = (server.client.login(name, p).status for p in (word + "a", word + "b", word[:72]))
        trial.check(f"passwords of {length} characters that differ in the last one differ", f"{right}, {wrong}, {cut}",
                    (right, wrong, cut) == (200, 401, 401))
    refused = server.client.register("long-200", "p" * 200)
    trial.check("200 characters: refused, not cut", f"{refused.status}", refused.status == 400)
    time.sleep(1)
    idle = server.memory()
    server.reset_peak()
    statuses, health, lock = {}, [], threading.Lock()

    def probe(_):
        reply = Client(server.base).get("/healthz")
        health.append(reply.took)
        time.sleep(0.01)

    clients = [Client(server.base) for _ in users]
    watcher = Background(probe)

    def login(n):
        for _ in range(rounds):
            status = clients[n].login(users[n]).status
            with lock:
                statuses[status] = statuses.get(status, 0) + 1

    parallel(64, [lambda n=n: login(n) for n in range(64)])
    watcher.stop()
    peak = server.memory("VmHWM")
    bar = 8 * 19 * 1024 + 50 * 1024
    trial.check("64 concurrent logins: memory <= idle + 8 x 19 MiB + 50 MB", f"idle {idle >> 10} + {(peak - idle) >> 10} MiB",
                peak - idle <= bar)
    p99 = quantile(health, 0.99) * 1000
    trial.check("/healthz p99 < 250 ms meanwhile", f"{p99:.0f} ms of {len(health)}", p99 < 250)
    trial.check("every login answered", statuses, set(statuses) == {200})
