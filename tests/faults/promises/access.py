"""A5: every non-public operation of the published document as anonymous, as strangers of every rank, and as those who may."""

import json
import re
from urllib.parse import urlsplit

from harness.client import Client
from harness.report import promise
from harness.schema import Document
from harness.tree import Person, Tree, admin, member
from harness.websocket import knock
from promises.rights import ALL, PRIVILEGED, rights
from promises.rights_chat import chat_rights
from promises.tokens import sites

# What closes of a socket mean, as the statuses they stand for (`chat.md` 4.2).
CLOSED = {0: 101, 4400: 400, 4401: 401, 4403: 403, 4404: 404, 4429: 429}
SCOPES = ("cloud", "agents", "chat")
# Answers that show nothing but numbers.
NUMBERS = {"get_support_unread_total", "get_storage_info", "get_chat_unread", "get_chat_notifications_unread_count"}


class Said:
    """An answer, whether over HTTP or over a socket."""

    def __init__(self, status, text):
        self.status, self.text = status, text


class Operation:
    def __init__(self, path, method, found):
        self.path, self.method, self.id = path, method, found["operationId"]
        self.is_socket = path.startswith("/ws/")
        self.takes_keys = any("ApiKeyAuth" in way for way in found["security"])

    def __str__(self):
        return f"{self.method} {self.path}"

    def url(self, row, tree, person=None):
        """The ids of a tree in the place of parameters."""
        path = re.sub(r"\{(\w+)\}", lambda found: str(tree.ids[row.also.get(found.group(1), row.target)]), self.path)
        query = getattr(row, "query_of_admin", row.query) if person and person.kind == "admin" else row.query
        return path + query.format(**tree.ids)

    def ask(self, client, row, tree, person, extra=None):
        """Sends it as somebody."""
        url = self.url(row, tree, person)
        if self.is_socket:
            code, text = knock(client.base, url, client.token, client.headers)
            return Said(CLOSED.get(code, code), text)
        if row.form:
            reply = client.form(url, row.form())
        else:
            body = row.body(tree, person) if row.body else None
            reply = client.request(self.method, url, (extra or {}) | body if isinstance(body, dict) else body)
        return Said(reply.status, reply.body.decode(errors="replace"))


class Stage:
    """Two trees of equal rank, brothers and sisters within the first, and everybody who is looked at."""

    def __init__(self, top, one, two):
        self.top, self.servers = top, (one, two)
        self.root = admin(top, one)
        self.home, self.next = self.tree(), self.tree()
        # So that there is somebody to be seen in the room.
        self.home.customer.stay(one, self.home.ids["room"])
        sub_agent, customer = self.home.sub_agent(), self.home.another_customer()
        customer.client.post("/api/chat/sessions/", {}).expect(201)
        customer.knows |= self.home.agent.public
        sub_agent.knows |= self.home.boss.public
        register = lambda body: one.client.post("/user/register/", body)
        plain, editor = member(one, "customer", register), member(one, "customer", register)
        self.root.client.request("PATCH", f"/api/users/{editor.id}/", {"user_type": "editor"}).expect(200)
        editor.kind = "editor"
        editor.login(one)
        self.strangers = {
            "a plain user": plain, "an editor": editor,
            "the next tree's customer": self.next.customer, "the next tree's sub-agent": self.next.agent,
            "the next tree's agent": self.next.boss,
            "another customer of the same agent": customer, "another sub-agent of the same agent": sub_agent,
        }
        self.spare = None

    def tree(self):
        return Tree(self.servers[0], self.root).stock()

    def fresh(self):
        """A tree to do things to."""
        self.spare = self.spare or self.tree()
        return self.spare

    def client(self, person, number):
        """The servers in turn."""
        return person.client.at(self.servers[number % 2].base)

    def standing(self):
        """What nobody can have made of himself. Whoever changes his address loses its verification; administrators do."""
        ids = ",".join(str(person.id) for person in self.strangers.values())
        columns = "id, user_type, parent_id, is_staff, is_verified AND NOT is_staff, quota"
        return self.top.sql.run(f"SELECT {columns} FROM users WHERE id IN ({ids}) OR is_staff ORDER BY id")


class Findings:
    """What was seen that must not be, by kind."""

    def __init__(self):
        self.found = {kind: [] for kind in ("anonymous", "refused", "leaks", "changed", "reached", "blind", "keys")}

    def add(self, kind, *what):
        self.found[kind].append(" ".join(map(str, what)))

    def check(self, trial, bar, kind, measured=""):
        found = self.found[kind]
        trial.check(bar, f"{measured}{len(found)} otherwise {'; '.join(found[:4])}", not found)


@promise("A5", "every operation as anonymous, as strangers of every rank, and as those who may")
def a5(trial):
    for label, top, (one, two) in sites(trial, env={"MAIL_BACKEND": "log"}):
        if one is not two:
            top.worker()
        matrix(trial, label, Stage(top, one, two))


def matrix(trial, label, stage):
    document = Document(stage.servers[0].client.get("/openapi.json").body)
    table, findings = rights() | chat_rights(), Findings()
    private = [Operation(path, method, found) for path, method, found in document.operations() if not document.is_public(found)]
    listed = [operation for operation in private if operation.id in table]
    missing = [str(operation) for operation in private if operation.id not in table]
    trial.check(f"{label}: every non-public operation has a row in the matrix", f"{len(listed)} of {len(private)} {missing[:3] or ''}",
                not missing)
    standing, before = stage.standing(), stage.home.state(stage.top.sql)
    tried = 0
    for operation in listed:
        for row in table[operation.id]:
            anonymous(stage, operation, row, findings)
            tried += strangers(stage, operation, row, findings)
            tried += relatives(stage, operation, row, findings)
        after = stage.home.state(stage.top.sql)
        if after != before:
            findings.add("changed", operation, difference(before, after))
            before = after
        seen = [entitled(stage, operation, row, findings) for row in table[operation.id]]
        if operation.method == "GET" and operation.id not in NUMBERS and not any(seen):
            # An answer in which the owner does not find his marks would not show a leak either.
            findings.add("blind", operation)
        # Those who may did it to a spare tree, but for reading.
        before = stage.home.state(stage.top.sql)
    keys(stage, listed, table, findings)
    crossings(stage, findings)
    if stage.home.state(stage.top.sql) != before:
        findings.add("changed", "ids of others in bodies", difference(before, stage.home.state(stage.top.sql)))
    if stage.standing() != standing:
        findings.add("changed", "a stranger's own rank", stage.standing())
    findings.check(trial, f"{label}: anonymous, empty, garbage, unknown, refresh token: 401", "anonymous")
    findings.check(trial, f"{label}: who may not is refused as the contract says", "refused", f"{tried} attempts, ")
    findings.check(trial, f"{label}: 0 leaks to them", "leaks")
    findings.check(trial, f"{label}: 0 writes by them, to others or to their own rank", "changed")
    findings.check(trial, f"{label}: who may reaches each of them", "reached")
    findings.check(trial, f"{label}: and sees there what strangers must not", "blind")
    findings.check(trial, f"{label}: API keys: no further than their scopes, never to credentials", "keys")
    pictures(trial, label, stage)


def difference(before, after):
    """The rows that went and the rows that came."""
    pairs = [([row for row in old if row not in new], [row for row in new if row not in old]) for old, new in zip(before, after)]
    return [pair for pair in pairs if any(pair)]


def anonymous(stage, operation, row, findings):
    tree, nobody = stage.home, Person("nobody")
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer garbage"}, {"X-API-Key": "ak_" + "x" * 48},
                    {"Authorization": f"Bearer {tree.customer.refresh}"}):
        bare = Client(stage.servers[0].base, headers=headers)
        said = [operation.ask(bare, row, tree, nobody)]
        if operation.is_socket:
            said.append(bare.request(operation.method, operation.url(row, tree)))
        findings.found["anonymous"] += [f"{operation} {headers} {one.status}" for one in said if one.status != 401]
    bare = stage.servers[0].client
    path, _, query = operation.url(row, tree).partition("?")
    if (status := bare.request(operation.method, path.rstrip("/")).status) != 401:
        findings.add("anonymous", operation, path.rstrip("/"), status)
    for spelled in spellings(path):
        reply = bare.request(operation.method, f"{spelled}?{query}")
        if reply.status < 400 or any(mark.encode() in reply.body for mark in tree.marks):
            findings.add("anonymous", operation, spelled, reply.status)


def spellings(path):
    """What somebody between might take for another path than the server does."""
    return (path.upper(), "/" + path, path.replace("/", "//"), f"/healthz/..{path}", f"/healthz/%2e%2e{path}", f"/.{path}",
            f"{path}.", f"{path}%20", f"{path};x=y", f"{path}%00", "/" + path.replace("/", "%2f")[3:])


def judge(stage, operation, row, name, person, said, may, findings):
    wanted = row.status if may else row.refusal
    if said.status not in wanted:
        kind = "reached" if may else "refused"
        findings.add(kind, operation, row.target or "", "as", name, said.status, said.text[:120])
    # Editors read all users.
    sees_all = person.kind == "admin" or person.kind == "editor" and operation.id in ("list_members", "get_member")
    hit = [] if sees_all else sorted(mark for mark in stage.home.marks - person.knows if mark in said.text)
    if hit:
        findings.add("leaks", operation, "to", name, hit[:2])


def strangers(stage, operation, row, findings):
    """Those who are not of the tree, all the way from a plain user to an agent of the same rank."""
    for number, (name, person) in enumerate(stage.strangers.items()):
        said = operation.ask(stage.client(person, number), row, stage.home, person, PRIVILEGED)
        # The kind decides what is one's own; over what others have it gives an editor something, and only to read.
        may = person.kind in row.who if row.target is None else person.kind == "editor" and "editor" in row.who
        judge(stage, operation, row, name, person, said, may, findings)
        if row.leaves and may:
            person.login(stage.servers[0])
    return len(stage.strangers)


def relatives(stage, operation, row, findings):
    """Those of the tree who have no right to this."""
    if row.target is None:
        return 0
    tried = 0
    for number, (name, person) in enumerate({**stage.home.people, "admin": stage.root}.items()):
        if name in row.who:
            continue
        tried += 1
        said = operation.ask(stage.client(person, number), row, stage.home, person)
        refused = row
        if name == row.target and hasattr(row, "self_refusal"):
            refused = type(row)(row.who, row.self_refusal, target=row.target)
        judge(stage, operation, refused, f"the {name} of the tree", person, said, False, findings)
    return tried


def entitled(stage, operation, row, findings):
    """Everybody who may, on a tree of his own if it does not survive that. Returns whether anybody saw a mark."""
    saw = False
    for name in sorted(row.who - {"editor"}):
        tree = stage.home if operation.method == "GET" else stage.fresh()
        person = stage.root if name == "admin" else tree.people[name]
        said = operation.ask(person.client, row, tree, person)
        if said.status not in row.status:
            findings.add("reached", operation, row.target or "", "as the", name, said.status, said.text[:120])
        saw = saw or any(mark in said.text for mark in tree.marks)
        if row.leaves:
            person.login(stage.servers[0])
        if row.spends:
            stage.spare = None
    return saw


def keys(stage, listed, table, findings):
    """API keys do not reach further than their scopes, whoever has them."""
    tree, one = stage.fresh(), stage.servers[0]

    def key(person, name, *scopes):
        given = [part for scope in scopes for part in ("--scope", scope)]
        text = stage.top.command("apikey", "create", person.name, "--name", name, *given).strip()
        client = Client(one.base, headers={"X-API-Key": text})
        client.get("/api/users/profile/").expect(200)
        return client

    def each(client, person, what, skip, refused):
        before = tree.state(stage.top.sql)
        for operation in listed:
            for row in table[operation.id]:
                if skip(operation, row):
                    continue
                password = person.password
                said = operation.ask(client, row, tree, person)
                person.password = password
                if said.status not in refused(row):
                    findings.add("keys", operation, what, said.status)
        if (after := tree.state(stage.top.sql)) != before:
            findings.add("keys", "written", what, difference(before, after))

    # A download may be asked for with POST as well; that reads.
    reads = lambda operation, _: operation.method == "GET" or operation.id == "create_file_download"
    for name, person in tree.people.items():
        reader = key(person, "reader", *(f"{scope}:read" for scope in SCOPES))
        each(reader, person, f"with the {name}'s key for reading", reads, lambda _: {403})
        each(key(person, "all", "*"), person, f"with the {name}'s key for everything", lambda operation, _: operation.takes_keys,
             lambda _: {403})
    # An administrator's key without the scope `staff` has no more rights than a customer's.
    bare = key(stage.root, "no staff", *(f"{scope}:{right}" for scope in SCOPES for right in ("read", "write")))
    each(bare, stage.root, "with an administrator's key without `staff`",
         lambda _, row: row.target is None and row.who == ALL, lambda row: {403, *row.refusal})
    seen = [path for path in ("/api/users/?page_size=100", "/api/chat/sessions/?page_size=100", "/file/", "/user/profile/")
            if any(mark.encode() in bare.get(path).body for mark in tree.marks | stage.home.marks)]
    if seen:
        findings.add("keys", "an administrator's key without `staff` sees", seen)


def crossings(stage, findings):
    """The next tree's agents with their own objects, and ids of this tree in bodies and queries."""
    home, other, ids = stage.home, stage.next, stage.home.ids
    boss, agent, customer, own = other.boss, other.agent, other.customer, other.ids
    chat, room = f"/api/chat/sessions/{own['session']}/", f"/api/chat/rooms/{own['room']}/"
    person = member(stage.servers[0], "customer", lambda body: agent.client.post("/api/users/create_customer/", body))
    asked = [
        (boss, "DELETE", f"/api/users/{own['agent']}/?reassign_to={ids['agent']}", None, {400}),
        (boss, "POST", f"/api/users/{own['agent']}/delete_user/?reassign_to={ids['boss']}", None, {400}),
        (boss, "POST", "/api/users/create_customer/", Person("new").body() | {"agent_id": ids["agent"]}, {400}),
        (agent, "POST", "/api/users/create_customer/", Person("new").body() | {"agent_id": ids["agent"]}, {400}),
        (boss, "POST", f"{chat}assign/", {"agent_id": ids["agent"]}, {400}),
        (boss, "POST", f"{chat}assign/", {"agent_id": ids["boss"]}, {400}),
        # Only administrators write these; for others they are unknown fields.
        (boss, "PATCH", f"/api/users/{own['agent']}/", {"parent_id": ids["boss"]}, {200}),
        (boss, "PATCH", f"/api/users/{person.id}/", {"parent_id": ids["agent"], "user_type": "agent_l1"}, {200}),
        (agent, "DELETE", f"{chat}messages/{ids['message']}/", None, {404}),
        (agent, "POST", f"{chat}mark_read/", {"up_to": ids["message"]}, {200}),
        (boss, "GET", f"/api/users/customers/?agent_id={ids['agent']}", None, {200, 400, 404}),
        (boss, "GET", f"/api/users/sub_agents/?parent_id={ids['boss']}", None, {200, 400, 404}),
        (agent, "GET", f"/api/chat/sessions/{ids['session']}/messages/?after_id=0&limit=200", None, {403}),
        (agent, "POST", f"{room}messages/", {"content": "x", "reply_to": ids["spoken"]}, {400}),
        (agent, "POST", f"{room}read/", {"up_to": ids["spoken"]}, {404}),
        (customer, "POST", f"{room}transfer/", {"user_id": ids["agent"]}, {404}),
        (customer, "PATCH", f"{room}members/{ids['agent']}/", {"role": "admin"}, {404}),
        (customer, "POST", f"{room}members/{ids['agent']}/kick/", None, {404}),
        (agent, "GET", f"/api/chat/messages/search/?q=spoken&room_id={ids['room']}", None, {403}),
        *[(who, "GET", f"{path}?search={home.customer.name}", None, {200}) for who in (boss, agent)
          for path in ("/api/users/", "/api/users/customers/", "/api/chat/sessions/agent_chat_users/")],
    ]
    for who, method, path, body, wanted in asked:
        reply = who.client.request(method, path, body)
        text = reply.body.decode(errors="replace")
        if reply.status not in wanted:
            findings.add("refused", method, path, "of the next tree's", who.kind, reply.status, text[:120])
        # Pages link to themselves with what was searched for.
        if hit := [mark for mark in home.marks - who.knows if mark in re.sub(r'"(next|previous)":"[^"]*"', "", text)]:
            findings.add("leaks", method, path, "to the next tree's", who.kind, hit[:2])
    found = stage.top.sql.run(f"SELECT user_type, parent_id FROM users WHERE id IN ({person.id}, {own['agent']}) ORDER BY id")
    if found != [["agent_l2", str(own["boss"])], ["customer", str(own["agent"])]]:
        findings.add("changed", "parents written by an agent", found)
    frames = [
        (agent.socket(stage.servers[1], own["session"]), {"type": "read", "message_id": ids["message"]},
         {"type": "chat_message", "content": "x", "session": ids["session"], "sender": ids["agent"]}),
        (agent.room_socket(stage.servers[1], own["room"]), {"type": "read", "message_id": ids["spoken"]},
         {"type": "chat_message", "content": "x", "reply_to": ids["spoken"]},
         {"type": "chat_message", "content": "x", "room_id": ids["room"], "user": ids["agent"], "sender": ids["agent"]}),
    ]
    for socket, *sent in frames:
        for frame in (*sent, {"type": "ping"}):
            socket.send(frame)
        socket.of("pong")
        if hit := [mark for mark in home.marks - agent.knows if mark in str(socket.frames)]:
            findings.add("leaks", "frames to the next tree's agent", hit[:2])
        socket.close()


def pictures(trial, label, stage):
    """Pictures are anybody's who has their address (`agents.md` 44), and nobody finds one without; files need a signature."""
    bare = stage.servers[-1].client
    paths = [urlsplit(url).path for url in stage.home.pictures]
    shown = {bare.get(path).status for path in paths}
    folders = {path.rsplit("/", 1)[0] for path in paths}
    name = paths[0].rsplit("/", 1)[1]
    guesses = [guess for folder in folders for guess in (
        folder, folder + "/", f"{folder}/../", f"{folder}/%2e%2e/yunque.db", f"{folder}/..%2f..%2fyunque.db", f"{folder}/.",
        f"{folder}/{name[:-5]}", f"{folder}/{name}.bak", f"{folder}/*", f"{folder}/?list-type=2")]
    guesses += ["/media/", "/media", f"/media/{name}", f"{paths[-1].rsplit('/', 1)[0]}/{name}"]
    found = [(guess, reply.status) for guess in guesses if (reply := bare.get(guess)).status != 404]
    trial.check(f"{label}: pictures: with the address 200, without it 404",
                f"{sorted(shown)}, {len(found)} of {len(guesses)} others {found[:3]}", shown == {200} and not found)
    mine, other = stage.home, stage.next
    link = urlsplit(other.customer.client.get(f"/file/{other.ids['file']}/download/").expect(200)["download_url"])
    stored = urlsplit(mine.stored()).path
    key = "key=" + stored.split("/local/", 1)[-1].replace("/", "%2F")
    content = f"/file/{mine.ids['file']}/content/"
    tries = [
        content, stored, f"{content}?{link.query}", f"{content}?{re.sub('key=[^&]*', key, link.query)}",
        f"{link.path}?{re.sub('key=[^&]*', key, link.query)}", f"{link.path}?{re.sub('expires=[0-9]*', 'expires=9999999999', link.query)}",
    ]
    got = [(path[:40], reply.status) for path in tries if (reply := bare.get(path)).status not in (403, 404)]
    trial.check(f"{label}: bytes of files: not without their own signature", f"{len(got)} of {len(tries)} {got[:2] or ''}", not got)
