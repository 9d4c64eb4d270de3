"""Agents, their customers, and one of everything that they can have, all of it marked."""

import secrets

from .client import PASSWORD, png
from .websocket import Socket
from .world import eventually


class Person:
    """Somebody with an account. `public` is what those around him may see of him, `secret` what only those above may."""

    def __init__(self, kind):
        self.kind = kind
        self.name = f"{kind}-{secrets.token_hex(6)}"
        self.password = PASSWORD
        hidden = secrets.token_hex(6)
        self.mail = f"m{hidden}@example.com"
        self.phone = f"+{secrets.randbelow(9 * 10**14) + 10**14}"
        self.public, self.secret = {self.name}, {hidden, self.phone[1:]}
        # The marks that may stand in answers to him.
        self.knows = self.public | self.secret

    def body(self):
        return {"username": self.name, "email": self.mail, "password": self.password, "name": self.name, "phone": self.phone}

    def login(self, server, path="/api/token/"):
        # A list of sessions shows what they were opened with.
        agent = f"agent-of-{next(iter(self.secret))}"
        answer = server.client.post(path, {"username": self.name, "password": self.password}, User_Agent=agent).expect(200)
        self.client = server.client.with_token(answer["access"])
        self.id, self.refresh = answer["user"]["id"], answer["refresh"]
        return self

    def socket(self, server, session, **more):
        """An open socket, greeted."""
        found = Socket(server.base, f"/ws/chat/sessions/{session}/", self.client.token, **more)
        found.of("connection_established")
        return found


def member(server, kind, create, above=None, **more):
    """A person, made by somebody who may."""
    person = Person(kind)
    create(person.body() | more).expect(201)
    if above:
        person.knows |= above.public
    return person.login(server)


def admin(top, server, name="root"):
    person = Person("admin")
    person.name = name
    top.command("createsuperuser", "--username", name, "--email", person.mail, "--password-stdin", given=person.password + "\n")
    return person.login(server)


class Tree:
    """A first-level agent (`boss`), his sub-agent (`agent`), and his customer."""

    def __init__(self, server, root):
        self.server = server
        self.boss = member(server, "boss", lambda body: root.client.post("/api/users/create_agent/", body))
        self.agent = self.sub_agent()
        self.customer = self.another_customer()
        self.people = {"boss": self.boss, "agent": self.agent, "customer": self.customer}
        self.ids = {role: person.id for role, person in self.people.items()}
        self.marks = set().union(*(person.knows for person in self.people.values()))

    def sub_agent(self):
        return member(self.server, "agent", lambda body: self.boss.client.post("/api/users/create_sub_agent/", body), self.boss)

    def another_customer(self):
        create = lambda body: self.agent.client.post("/api/users/create_customer/", body)
        return member(self.server, "customer", create, self.agent)

    def converse(self):
        """Opens the customer's session."""
        self.ids["session"] = self.customer.client.post("/api/chat/sessions/", {}).expect(201)["id"]
        return self

    def stock(self):
        """Files, a conversation, faces."""
        mine, ids = self.customer.client, self.ids
        name, data, said, answered = (f"{what}-{secrets.token_hex(6)}" for what in ("file", "data", "said", "answered"))
        ids["file"] = mine.upload([(name, data.encode())]).expect(201)[0]["id"]
        mine.post("/file/new-folder/", {"folder_name": f"folder-{name}"}).expect(201)
        presigned = mine.post("/file/presign/", {"name": f"p-{name}", "content_type": "a/b", "size": 3}).expect(201)
        ids["pending"] = presigned["id"]
        self.converse()
        ids["message"] = self.say(self.customer, said)["id"]
        self.say(self.agent, answered)
        parts = {"content_type": "image", "image": ("x.png", png())}
        picture = mine.form(f"/api/chat/sessions/{ids['session']}/messages/", parts).expect(201)["image_url"]
        ids["sid"] = mine.get("/user/sessions/").expect(200)[0]["sid"]
        stored = eventually("the file is stored", 20, lambda: self.stored())
        faces = {}
        for role, person in self.people.items():
            faces[role] = person.client.form("/api/users/upload_avatar/", {"avatar": ("x.png", png())}).expect(200)["url"]
            person.public |= {last(faces[role])}
        self.pictures = [picture, *faces.values()]
        files, talk = {name, data, last(stored)}, {said, answered, last(picture)}
        boss, agent, customer = self.boss, self.agent, self.customer
        customer.knows |= customer.public | agent.public | files | talk
        agent.knows |= agent.public | boss.public | customer.public | customer.secret | talk
        boss.knows |= boss.public | agent.knows
        self.marks = customer.knows | boss.knows
        return self

    def stored(self):
        found = self.customer.client.get(f"/file/{self.ids['file']}/").expect(200)
        return found["upload_status"] == "completed" and found["oss_url"]

    def say(self, person, text):
        body = {"content_type": "text", "content": text}
        return person.client.post(f"/api/chat/sessions/{self.ids['session']}/messages/", body).expect(201)

    def state(self, sql):
        """Everything of theirs that others could have changed, as the database has it."""
        users = ",".join(str(self.ids[role]) for role in self.people)
        session = self.ids["session"]
        asked = [f"SELECT {columns} FROM {table} WHERE {whose} ORDER BY 1" for table, columns, whose in (
            ("users", "id, username, email, password, name, display_name, first_name, last_name, phone, avatar, user_type, "
             "parent_id, is_active, is_staff, token_version, quota, used_space, deactivated_at, updated_at", f"id IN ({users})"),
            ("users", "id, parent_id", f"parent_id IN ({users})"),
            ("files", "id, name, path, size, upload_status, generation, object_key, deleted_at, updated_at", f"user_id IN ({users})"),
            ("auth_sessions", "id, gen, refresh_hash, revoked_at, expires_at", f"user_id IN ({users})"),
            ("auth_api_keys", "id, name, is_active, permissions", f"user_id IN ({users})"),
            ("user_groups", "id, user_id, group_id", f"user_id IN ({users})"),
            ("support_sessions", "id, client_id, agent_id, is_active, last_message_id, unread_client, unread_agent, updated_at",
             f"client_id IN ({users}) OR agent_id IN ({users})"),
            ("support_messages", "id, session_id, sender_id, message_type, content_type, content, image, is_read",
             f"session_id = {session} OR sender_id IN ({users})"),
        )]
        # Their command-line clients take some time to start.
        return [sql.run(text) for text in asked] if sql.kind == "sqlite" else [sql.run(";\n".join(asked))]


def last(url):
    return url.rsplit("/", 1)[1]
