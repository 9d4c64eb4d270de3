"""A1 and A6: refresh tokens that are used twice, sessions and accounts that end."""

import time
from concurrent.futures import ThreadPoolExecutor

from harness.client import PASSWORD, Client
from harness.report import promise
from harness.topology import Topology
from harness.tree import Tree, admin
from harness.world import eventually
from promises.closing import PATIENCE, sockets_close


def sites(trial, env=None):
    """One process on SQLite; two of them on MariaDB and Redis: (label, topology, two servers)."""
    embedded = Topology(trial, env=env)
    server = embedded.serve()
    yield "embedded", embedded, (server, server)
    top = Topology(trial, "mariadb", env=env)
    yield "2 servers", top, (top.serve(name="first"), top.serve(name="second"))


def refresh(server, token):
    return Client(server.base).post("/user/refresh-token/", {"refresh": token})


def profile(server, access):
    return Client(server.base, access).get("/user/profile/").status


@promise("A1", "reuse of a refresh token ends the family")
def a1(trial):
    rounds, storms = trial.world.pick((5, 3), (25, 20))
    for label, top, (one, two) in sites(trial):
        one.client.register("a1").expect(201)
        bad = []
        for n in range(rounds):
            chain = [one.client.login("a1").expect(200)]
            for i in range(3):
                chain.append(refresh((one, two)[i % 2], chain[-1]["refresh"]).expect(200))
            alive = profile(two, chain[-1]["access"])
            replayed = refresh(one, trial.random.choice(chain[:-1])["refresh"])
            dead = [profile(server, link["access"]) for server in (two, one) for link in chain]
            newest = refresh(two, chain[-1]["refresh"]).status
            if alive != 200 or replayed.status != 401 or set(dead) != {401} or newest != 401:
                bad.append((alive, replayed.status, dead, newest))
            if replayed.json().get("code") != "token_reused":
                bad.append(replayed.json())
        trial.check(f"{label}: replay of any rotated token: 401, the newest dead on the next request",
                    f"{rounds} replays, {len(bad)} bad {bad[:1] if bad else ''}", not bad)
        wins, branches, others = [], [], set()
        for n in range(storms):
            token = one.client.login("a1").expect(200)["refresh"]
            with ThreadPoolExecutor(50) as pool:
                replies = list(pool.map(lambda i: refresh((one, two)[i % 2], token), range(50)))
            good = [reply.json() for reply in replies if reply.status == 200]
            others |= {reply.status for reply in replies if reply.status != 200}
            wins.append(len(good))
            branches.append(sum(profile(two, pair["access"]) == 200 for pair in good))
        trial.check(f"{label}: 50 parallel refreshes of one token: exactly 1 success", f"successes {wins}, others {others}",
                    set(wins) == {1} and others == {401})
        trial.check(f"{label}: never 2 live branches", f"live {branches}", max(branches) <= 1)


@promise("A6", "logout and disabling are immediate")
def a6(trial):
    rounds = trial.world.pick(5, 50)
    for label, top, (one, two) in sites(trial, env={"RATE_LIMIT_RESET_MAIL": "1000/h", "RATE_LIMIT_RESET_MAIL_IP": "1000/h"}):
        if one is not two:
            # For the mails.
            top.worker()
        one.client.register("a6").expect(201)
        top.command("createsuperuser", "--username", "boss", "--email", "boss@example.com", "--password-stdin",
                    given=PASSWORD + "\n")
        boss = Client(one.base, one.client.login("boss").expect(200)["access"])
        late = {}

        def watch(what, access, act, expected=401):
            """Both servers know the session, then it ends at the first; the next request decides."""
            for server in (one, two):
                assert profile(server, access) == 200
            act()
            for server in (two, one):
                if profile(server, access) != expected:
                    late[what] = late.get(what, 0) + 1

        for n in range(rounds):
            pair = one.client.login("a6").expect(200)
            watch("logout", pair["access"], lambda: Client(one.base, pair["access"]).post("/user/logout/", {}).expect(200))
            mine, other = one.client.login("a6").expect(200), two.client.login("a6").expect(200)
            watch("password change", other["access"], lambda: Client(one.base, mine["access"]).post(
                "/user/change-password/", {"old_password": PASSWORD, "new_password": PASSWORD + "x"}).expect(200))
            if profile(two, mine["access"]) != 200:
                late["own session after a password change"] = late.get("own session after a password change", 0) + 1
            Client(one.base, mine["access"]).post(
                "/user/change-password/", {"old_password": PASSWORD + "x", "new_password": PASSWORD}).expect(200)
            pair = one.client.login("a6").expect(200)
            user = pair["user"]["id"]
            watch("logout-all", pair["access"], lambda: Client(one.base, pair["access"]).post("/user/logout-all/", {}).expect(200))
            pair = one.client.login("a6").expect(200)
            watch("disable by an admin", pair["access"],
                  lambda: boss.request("PATCH", f"/user/{user}/", {"is_active": False}).expect(200))
            boss.request("PATCH", f"/user/{user}/", {"is_active": True}).expect(200)
        trial.check(f"{label}: {rounds} x logout, logout-all, password change, disable: refused on the next request",
                    late or "0 late", not late)

        key = top.command("apikey", "create", "a6", "--name", "k", "--scope", "cloud:read").strip()
        ask = lambda server: Client(server.base, headers={"X-API-Key": key}).get("/file/").status
        before = [ask(one), ask(two)]
        pair = one.client.login("a6").expect(200)
        known = [profile(one, pair["access"]), profile(two, pair["access"])]
        top.command("user", "disable", "a6")
        began = time.monotonic()
        eventually("a session disabled on the command line is refused", 10,
                   lambda: {profile(one, pair["access"]), profile(two, pair["access"])} == {401}, pause=0.01)
        took = time.monotonic() - began
        after = [ask(one), ask(two)]
        trial.check(f"{label}: `yunque user disable`: refused within 5 s", f"{took:.2f} s", set(known) == {200} and took <= 5)
        trial.check(f"{label}: API keys of a disabled user refused", f"{before} -> {after}",
                    set(before) == {200} and set(after) == {401})
        sockets_close(trial, label, top, (one, two))
    without_redis(trial)


def without_redis(trial):
    """A server that lost Redis reads the database, or forgets within five seconds."""
    top = Topology(trial, "mariadb", through=("redis",))
    cut = top.serve(name="cut")
    whole = top.serve(name="whole", env=top.direct("redis"))
    tree = Tree(whole, admin(top, whole, "boss")).converse()
    worst, latest, codes = 0.0, 0.0, set()
    for n in range(trial.world.pick(2, 10)):
        client = tree.customer.login(whole).client
        assert profile(cut, client.token) == 200
        socket = tree.customer.socket(cut, tree.ids["session"])
        top.proxies["redis"].hold() if n % 2 else top.proxies["redis"].refuse()
        client.post("/user/logout/", {}).expect(200)
        began = time.monotonic()
        eventually("a server without Redis refuses it", 15, lambda: profile(cut, client.token) == 401, pause=0.02)
        worst = max(worst, time.monotonic() - began)
        codes.add((socket.end(PATIENCE) or [None])[0])
        # When the client saw it; a close before the refusal was looked at counts from its own reading.
        latest = max(latest, (socket.ended or time.monotonic()) - began)
        top.proxies["redis"].release()
        top.proxies["redis"].cut()
        time.sleep(1)
    trial.check("Redis away from one of two servers: refused within 5 s", f"at most {worst:.2f} s", worst <= 5)
    trial.check("Redis away from one of two servers: open sockets closed within 5 s", f"at most {latest:.2f} s, {codes}",
                latest <= 5 and codes == {4401})
