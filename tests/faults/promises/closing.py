"""The sockets of A6: whatever ends a session, an account, a key or a right closes the sockets that stood on it."""

import base64
import json
import secrets
import time

from harness.mail import Mails, ask_code
from harness.tree import Tree, admin
from harness.websocket import Socket, knock
from harness.world import Miss, parallel

# Longer than promised, so that a late close is measured instead of guessed.
PATIENCE = 12
TOKEN, RIGHT = (4401, "token_invalid"), 4403


class Ending:
    """`whose`: the person. `act` ends something; `all_too`: other sessions of his end with it. `undo` makes it as before."""

    def __init__(self, what, whose, act, all_too=True, code=TOKEN, undo=None):
        self.what, self.whose, self.act, self.all_too, self.code, self.undo = what, whose, act, all_too, code, undo


class Session:
    """One login of a person, at a server."""

    def __init__(self, person, server):
        self.client, self.refresh = person.client.at(server.base), person.refresh


def sid(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sid"]


def endings(top, one, tree, root, second):
    """`first` and `kept` are sessions of the same person."""
    agent, customer, boss = tree.agent, tree.customer, tree.boss
    session = f"/api/chat/sessions/{tree.ids['session']}/"

    def change(first, kept):
        old, customer.password = customer.password, "turned-" + secrets.token_hex(6)
        kept.client.post("/api/users/change_password/", {"old_password": old, "new_password": customer.password}).expect(200)

    def set_by_agent(first, kept):
        customer.password = "set-" + secrets.token_hex(6)
        agent.client.post(f"/api/users/{customer.id}/set_password/", {"new_password": customer.password}).expect(200)

    def set_by_command(first, kept):
        agent.password = "set-" + secrets.token_hex(6)
        top.command("user", "set-password", agent.name, "--password-stdin", given=agent.password + "\n")

    def reset(first, kept):
        mails = Mails(top)
        seen = len(mails.codes(customer.mail))
        ask_code(one.client, customer.mail).expect(200)
        customer.password = "reset-" + secrets.token_hex(6)
        body = {"email": customer.mail, "code": mails.next_code(customer.mail, seen), "new_password": customer.password}
        one.client.post("/api/users/reset_password/", body).expect(200)

    def used_twice(first, kept):
        """The rest of its family goes, the socket's access token with it."""
        for status in (200, 401):
            first.client.post("/user/refresh-token/", {"refresh": first.refresh}).expect(status)

    def rank(kind):
        return lambda *_: root.client.request("PATCH", f"/api/users/{second.id}/", {"user_type": kind}).expect(200)

    def hand_to(person, by):
        return lambda *_: by.client.post(f"{session}assign/", {"agent_id": person.id}).expect(200)

    def hang_below(person):
        return lambda *_: root.client.request("PATCH", f"/api/users/{customer.id}/", {"parent_id": person.id}).expect(200)

    def enable(person):
        return lambda: root.client.post(f"/api/users/{person.id}/start_user/", {}).expect(200)

    return [
        Ending("logout", customer, lambda first, _: first.client.post("/user/logout/", {}).expect(200), all_too=False),
        Ending("logout-all", customer, lambda _, kept: kept.client.post("/user/logout-all/", {}).expect(200)),
        Ending("one session", agent, lambda first, kept: kept.client.request(
            "DELETE", f"/user/sessions/{sid(first.client.token)}/").expect(204), all_too=False),
        Ending("password change", customer, change, all_too=False),
        Ending("password set by the agent", customer, set_by_agent),
        Ending("password set on the command line", agent, set_by_command),
        Ending("password reset", customer, reset),
        Ending("disabled by the agent above", agent,
               lambda *_: boss.client.post(f"/api/users/{agent.id}/disable_user/", {}).expect(200), undo=enable(agent)),
        Ending("disabled by an admin", customer,
               lambda *_: root.client.request("PATCH", f"/user/{customer.id}/", {"is_active": False}).expect(200), undo=enable(customer)),
        Ending("disabled on the command line", agent, lambda *_: top.command("user", "disable", agent.name), undo=enable(agent)),
        Ending("sessions ended on the command line", customer, lambda *_: top.command("user", "revoke-sessions", customer.name)),
        Ending("refresh token used twice", customer, used_twice, all_too=False),
        Ending("role lost", second, rank("customer"), undo=rank("admin")),
        Ending("session given away", agent, hand_to(boss, boss), code=RIGHT, undo=hand_to(agent, boss)),
        Ending("customer given away", agent, hang_below(boss), code=RIGHT, undo=hang_below(agent)),
    ]


def deletion(tree):
    delete = lambda *_: tree.agent.client.request("DELETE", f"/api/users/{tree.customer.id}/").expect(204)
    return Ending("deleted by the agent", tree.customer, delete)


def sockets_close(trial, label, top, servers):
    one, two = servers
    root, second = admin(top, one, "chief"), admin(top, one, "second")
    tree = Tree(one, root).converse()
    worst, wrong, lost, closed = {}, [], [], 0
    rounds = trial.world.pick(2, 10)
    for n in range(rounds):
        for ending in endings(top, one, tree, root, second) + ([deletion(tree)] if n == rounds - 1 else []):
            took, count = ended(ending, tree, servers, wrong, lost)
            worst[ending.what] = max(took, worst.get(ending.what, 0))
            closed += count
    slowest = max(worst, key=worst.get)
    trial.check(f"{label}: {len(worst)} ways to end a session or a right: open sockets closed within 5 s",
                f"{closed} closed, at most {worst[slowest]:.2f} s ({slowest})", max(worst.values()) <= 5)
    trial.check(f"{label}: with the contract's code (4401, 4403), and never opened again by the same token",
                f"{len(wrong)} others {wrong[:3] or ''}", not wrong)
    trial.check(f"{label}: those of other sessions and people stay open", f"{len(lost)} closed {lost[:3] or ''}", not lost)
    tree = Tree(one, root).converse()
    races(trial, label, servers, tree)
    keys_close(trial, label, top, servers, tree)


def ended(ending, tree, servers, wrong, lost):
    """Two sessions with a socket on each server, and somebody else's; one ending. Returns the slowest close, and how many."""
    one, two = servers
    person, session = ending.whose, tree.ids["session"]
    # Those who ended before have new tokens to be witnesses with.
    other = (tree.agent if person is tree.customer else tree.customer).login(one)
    # On the surface whose endpoints the endings call.
    person.login(one, "/user/login/")
    gone = Session(person, one)
    first = [person.socket(server, session) for server in servers]
    person.login(two)
    kept = [person.socket(server, session) for server in servers]
    witness = [other.socket(server, session) for server in servers]
    went = first + (kept if ending.all_too else [])
    ending.act(gone, Session(person, one))
    began = time.monotonic()
    codes = parallel(len(went), [lambda s=s: s.end(PATIENCE) for s in went])
    took = max((s.ended or time.monotonic()) - began for s in went)
    for found in codes:
        if not found or (found != ending.code if isinstance(ending.code, tuple) else found[0] != ending.code):
            wrong.append((ending.what, found))
    for socket in witness + ([] if ending.all_too else kept):
        if not answers(socket):
            lost.append((ending.what, socket.code))
        socket.close()
    for server in servers:
        code = refusal(server, session, gone.client.token)
        if code != (ending.code if isinstance(ending.code, int) else ending.code[0]):
            wrong.append((ending.what, "opened again", code))
    if ending.undo:
        ending.undo()
    return took, len(went)


def races(trial, label, servers, tree):
    """Handshakes while the session, or the right to be there, ends at another server: whoever came in just before must be
    found as well. The rooms are empty before, so that they are opened by those who race."""
    session, handed = tree.ids["session"], [tree.boss.id, tree.agent.id]

    def logout(client):
        client.post("/user/logout/", {}).expect(200)

    def hand_over(_):
        tree.boss.client.post(f"/api/chat/sessions/{session}/assign/", {"agent_id": handed[0]}).expect(200)

    for what, whose, leave, code in (("session", tree.customer, logout, 4401), ("right", tree.agent, hand_over, 4403)):
        rounds, attempts = trial.world.pick(12, 150), 8
        entered, alive = 0, []
        for _ in range(rounds):
            client = whose.login(servers[0]).client
            span = trial.random.uniform(0.0, 0.02)
            come = lambda i: late(i * span / attempts, lambda: enter(servers[i % 2], session, client))
            found = parallel(attempts + 1, [lambda i=i: come(i) for i in range(attempts)] + [
                lambda: late(span / 2, lambda: leave(client))])
            inside = [socket for socket in found if socket]
            entered += len(inside)
            codes = parallel(max(1, len(inside)), [lambda s=s: s.end(5) for s in inside])
            alive += [ended_with for ended_with in codes if not ended_with or ended_with[0] != code]
            for socket in inside:
                socket.close()
            if leave is hand_over:
                tree.boss.client.post(f"/api/chat/sessions/{session}/assign/", {"agent_id": handed[1]}).expect(200)
        trial.check(f"{label}: handshakes while the {what} ends: none outlives it by 5 s",
                    f"{entered} of {rounds * attempts} came in, {len(alive)} stayed {alive[:3] or ''}", entered and not alive)


def late(seconds, work):
    time.sleep(seconds)
    return work()


def enter(server, session, client):
    """A socket, if it was let in."""
    socket = Socket(server.base, f"/ws/chat/sessions/{session}/", client.token)
    return socket if (socket.frame() or {}).get("type") == "connection_established" else None


def keys_close(trial, label, top, servers, tree):
    """A socket that was opened with an API key ends with the key, or with its owner."""
    session, took = tree.ids["session"], {}
    customer = tree.customer
    for what in ("key revoked", "owner disabled"):
        key = top.command("apikey", "create", customer.name, "--name", what, "--scope", "agents:write").strip()
        listed = json.loads(top.command("apikey", "list", "--user", customer.name, "--json"))
        number = next(str(one["id"]) for one in listed if one["name"] == what)
        opened = [Socket(server.base, f"/ws/chat/sessions/{session}/", headers={"X-API-Key": key}) for server in servers]
        for socket in opened:
            socket.of("connection_established")
        top.command(*(("apikey", "revoke", number) if what == "key revoked" else ("user", "disable", customer.name)))
        began = time.monotonic()
        codes = parallel(2, [lambda s=s: s.end(3 * PATIENCE) for s in opened])
        took[what] = (max((s.ended or time.monotonic()) - began for s in opened), codes)
    shown = ", ".join(f"{what} {seconds:.2f} s {codes[0]}" for what, (seconds, codes) in took.items())
    trial.check(f"{label}: sockets opened with an API key: closed within 5 s", shown,
                all(seconds <= 5 and {code and code[0] for code in codes} == {4401} for seconds, codes in took.values()))


def answers(socket):
    """Whether an open socket still works."""
    try:
        socket.send({"type": "ping"})
        return socket.of("pong") is not None
    except (OSError, Miss):
        return False


def refusal(server, session, token):
    return knock(server.base, f"/ws/chat/sessions/{session}/", token)[0]
