"""What A2 and A3 ask of a forgotten password: nothing told, few mails, few guesses, one use."""

import time

from harness.client import Client
from harness.mail import Mails
from harness.topology import Topology
from harness.world import parallel

FIRST = ["/api/users/forgot_password/", "/api/users/reset_password/", "/user/forgot-password/", "/user/reset-password/"]
SECOND = ["/api/users/reset_password/", "/user/reset-password/"]
VERIFY = "/api/users/verify_code/"
NEW = "reset-horse-7"


def guess(client, path, address, code):
    return client.post(path, {"email": address, "code": code} | ({} if path == VERIFY else {"new_password": NEW}))


def other(code):
    return f"{(int(code) + 1) % 10**6:06}"


class Site:
    """Two servers, or one, that can be started again, and everybody from an address of his own."""

    def __init__(self, trial, kind, env=None):
        self.top = Topology(trial, kind, env=env)
        self.servers, self.starts = [], 0
        self.restart()
        if kind != "sqlite":
            self.top.worker()
        self.mails = Mails(self.top)

    def restart(self):
        for server in self.servers:
            server.stop()
        self.starts += 1
        count = 1 if self.top.kind == "sqlite" else 2
        self.servers = [self.top.serve(name=f"start-{self.starts}-{n}") for n in range(count)]

    def client(self, number, source=None, headers=None):
        source = source or f"127.0.{number // 200 + 1}.{number % 200 + 1}"
        return Client(self.servers[number % len(self.servers)].base, source=source, headers=headers)

    def register(self, name):
        self.servers[0].client.register(name).expect(201)
        return f"{name}@example.com"

    def queued(self, address):
        """Mails to an address that were written into the database, delivered or not."""
        return self.top.sql.number(f"SELECT COUNT(*) FROM outgoing_mails WHERE to_address = '{address}'")

    def code(self, address):
        seen = len(self.mails.codes(address))
        self.client(0).post(FIRST[0], {"email": address}).expect(200)
        return self.mails.next_code(address, seen)


def limits(trial, label, kind):
    site = Site(trial, kind)
    address = site.register("a3-mails")
    spelled = [address, address.upper(), f" {address} ", address.title()]
    ask = lambda n: site.client(n).post(FIRST[n % 4], {"email": spelled[n // 4 % 4]})
    replies = parallel(16, [lambda n=n: ask(n) for n in range(32)])
    kinds = {(reply.status, reply.body) for reply in replies}
    site.restart()
    kinds |= {(reply.status, reply.body) for reply in (ask(n) for n in range(4))}
    trial.check(f"{label}: 32 reset mails asked for at once, 4 after a restart, over both surfaces: 1 sent, all answered alike",
                f"{site.queued(address)} mails, {len(kinds)} kinds of answer, {[status for status, _ in kinds]}",
                site.queued(address) == 1 and {status for status, _ in kinds} == {200} and len(kinds) == 1)
    login = site.client(0).login("a3-mails").status
    trial.check(f"{label}: whose password still works", login, login == 200)

    crowd = "127.9.9.9"
    near = lambda n, **more: site.client(n, source=crowd, **more).post(FIRST[n % 4], {"email": f"nobody-{n}@example.org"})
    replies = [near(n) for n in range(26)]
    wait = int(replies[-1].headers.get("Retry-After", 0))
    forged = [near(n, headers={name: value}).status for n, (name, value) in enumerate(
        (("X-Forwarded-For", "10.1.2.3"), ("X-Real-IP", "10.1.2.4"), ("Forwarded", "for=10.1.2.5")))]
    site.restart()
    after, elsewhere = near(0).status, site.client(7).post(FIRST[0], {"email": "nobody@example.org"}).status
    statuses = [reply.status for reply in replies]
    trial.check(f"{label}: 20 an hour for one client, then 429 with Retry-After, forged headers or a restart or not",
                f"{statuses.count(200)} x 200, {set(statuses[20:])}, {wait} s, forged {set(forged)}, restarted {after}, "
                f"another client {elsewhere}",
                statuses == [200] * 20 + [429] * 6 and 0 < wait <= 3600 and set(forged) == {429} and (after, elsewhere) == (429, 200))
    shown = site.top.command("config", "show")
    rates = next((line for line in shown.splitlines() if "RATE_LIMIT_RESET_MAIL" in line and "_IP" not in line), "missing")
    trial.check(f"{label}: the default is 1 a minute and 5 an hour", rates, "1/min,5/h" in rates.replace(" ", ""))


def guesses(trial, label, kind):
    # The minute left out: nobody waits for it here. The hour is as it is by default.
    site = Site(trial, kind, env={"RATE_LIMIT_RESET_MAIL": "5/h", "RATE_LIMIT_RESET_MAIL_IP": "100000/h"})
    address = site.register("a3-hour")
    statuses = {site.client(n).post(FIRST[n % 4], {"email": address}).status for n in range(12)}
    trial.check(f"{label}: 12 reset mails asked for in an hour: 5 sent", f"{site.queued(address)} mails, {statuses}",
                site.queued(address) == 5 and statuses == {200})

    address = site.register("a3-guesses")
    code = site.code(address)
    paths = [*SECOND, VERIFY]
    try_ = lambda n, text: guess(site.client(n), paths[n % 3], address, text)
    found = parallel(20, [lambda n=n: try_(n, other(code)).json()["code"] for n in range(40)])
    late = [try_(n, code).json().get("code") for n in range(3)]
    trial.check(f"{label}: 40 guesses of a code at once: 5 are looked at, then the right one is void as well",
                f"{found.count('code_invalid')} of {len(found)}, {set(late)}",
                found.count("code_invalid") == 5 and set(found) == {"code_invalid", "code_expired"} and set(late) == {"code_expired"})
    code = site.code(address)
    first = [try_(n, other(code)).json()["code"] for n in range(3)]
    site.restart()
    then = [try_(n, other(code)).json()["code"] for n in range(2)] + [try_(2, code).json().get("code")]
    trial.check(f"{label}: guesses are counted across a restart", f"{first} {then}",
                first == ["code_invalid"] * 3 and then == ["code_invalid"] * 2 + ["code_expired"])

    code = site.code(address)
    uses = parallel(20, [lambda n=n: guess(site.client(n), SECOND[n % 2], address, code).status for n in range(20)])
    trial.check(f"{label}: one code used 20 times at once: one reset", f"{uses.count(200)} x 200, {set(uses)}",
                uses.count(200) == 1 and set(uses) == {200, 400})
    code = site.code(address)
    replies = parallel(20, [lambda n=n: guess(site.client(n), VERIFY, address, code) for n in range(20)])
    tokens = [reply.json()["reset_token"] for reply in replies if reply.status == 200]
    body = {"reset_token": tokens[0], "new_password": NEW + "x"}
    uses = parallel(20, [lambda n=n: site.client(n).post(SECOND[n % 2], body).status for n in range(20)])
    trial.check(f"{label}: one code exchanged 20 times at once: one token, of at least 128 bits; used 20 times at once: one reset",
                f"{len(tokens)} of {len(tokens[0])} characters, {uses.count(200)} x 200, {set(uses)}",
                len(tokens) == 1 and len(tokens[0]) >= 32 and uses.count(200) == 1 and set(uses) == {200, 400})
    login = [site.client(n).login("a3-guesses", word).status for n, word in enumerate((NEW, NEW + "x"))]
    trial.check(f"{label}: and the last password is in force", login, login == [401, 200])


def sequences(client, shape, addresses):
    """What each address is answered from the first step to the sixth wrong guess, on every path; a list per address."""
    found = []
    for address in addresses:
        said = []
        for n, path in enumerate(FIRST):
            said.append(shape(client.post(path, {"email": address})))
            time.sleep(0.05)
            said += [shape(guess(client, [*SECOND, VERIFY][(n + i) % 3], address, "not-it")) for i in range(6)]
        found.append(said)
    return found
