"""Agents, their customers, and one of everything that they can have, all of it marked."""

import contextlib
import secrets
import threading

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
        return self.greeted(server, f"/ws/chat/sessions/{session}/", **more)

    def room_socket(self, server, room, **more):
        return self.greeted(server, f"/ws/chat/{room}/", **more)

    def greeted(self, server, path, **more):
        found = Socket(server.base, path, self.client.token, **more)
        found.of("connection_established")
        return found

    def stay(self, server, room):
        """Keeps a socket open in a room, for as long as the server is there."""
        found = self.room_socket(server, room, timeout=3600)

        def listen():
            with contextlib.suppress(OSError):
                while found.frame() is not None:
                    pass

        threading.Thread(target=listen, daemon=True).start()


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
        self.ids = {role: person.id for role, person in self.people.items()} | {"admin": root.id}
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
        """Files, a conversation, faces, rooms."""
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
        return self.gather()

    def gather(self):
        """Two private rooms of the customer's: the agent is a member of one, and invited into the other."""
        mine, agents, ids, rooms = self.customer.client, self.agent.client, self.ids, "/api/chat/rooms/"
        marked = lambda *words: [f"{word}-{secrets.token_hex(6)}" for word in words]
        name, about, spoken, answered, paper = marked("room", "about", "spoken", "answered", "paper")
        other_name, other_about, hidden = marked("room", "about", "hidden")
        for key, called, described in (("room", name, about), ("other_room", other_name, other_about)):
            body = {"name": called, "description": described, "room_type": "private", "member_ids": [ids["agent"]]}
            ids[key] = mine.post(rooms, body).expect(201)["id"]
        invites = {found["room"]["id"]: found["id"] for found in agents.get("/api/chat/invites/").expect(200)}
        agents.post(f"/api/chat/invites/{invites[ids['room']]}/accept/", {}).expect(200)
        ids["invite"] = invites[ids["other_room"]]
        file = mine.form("/api/chat/upload/", {"file": (f"{paper}.txt", paper.encode())}).expect(201)

        def say(client, room, content, **more):
            return client.post(f"{rooms}{ids[room]}/messages/", {"content": content} | more).expect(201)["id"]

        ids["spoken"] = say(mine, "room", spoken, **file)
        ids["answer"] = say(agents, "room", answered)
        ids["hidden"] = say(mine, "other_room", hidden)
        ids["notice"] = agents.get("/api/chat/notifications/?notification_type=message").expect(200)[0]["id"]
        self.pictures.append(file["file_url"])
        # Who is invited is told what the room is, not what is said there.
        shared = {name, about, spoken, answered, paper, last(file["file_url"]), other_name, other_about}
        self.agent.knows |= shared
        self.customer.knows |= shared | {hidden}
        self.marks |= self.customer.knows
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
        session, rooms = self.ids["session"], f"{self.ids['room']},{self.ids['other_room']}"
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
            ("chat_rooms", "id, name, description, room_type, created_by, is_active, max_members, member_count, last_seq, "
             "last_message_id, updated_at", f"id IN ({rooms}) OR created_by IN ({users})"),
            ("chat_room_members", "id, room_id, user_id, role, last_read_at, last_read_message_id, is_muted, is_banned, notify",
             f"room_id IN ({rooms}) OR user_id IN ({users})"),
            ("chat_messages", "id, room_id, sender_id, message_type, content, file_url, is_edited, is_deleted, updated_at",
             f"room_id IN ({rooms}) OR sender_id IN ({users})"),
            ("chat_message_reads", "message_id, user_id",
             f"user_id IN ({users}) OR message_id IN (SELECT id FROM chat_messages WHERE room_id IN ({rooms}))"),
            ("chat_invites", "id, room_id, inviter_id, invitee_id, status, expires_at",
             f"room_id IN ({rooms}) OR inviter_id IN ({users}) OR invitee_id IN ({users})"),
            ("chat_notifications", "id, notification_type, title, content, room_id, message_id, is_read, updated_at",
             f"user_id IN ({users})"),
            ("chat_uploads", "id, file, file_name, uses", f"user_id IN ({users})"),
        )]
        # Their command-line clients take some time to start.
        return [sql.run(text) for text in asked] if sql.kind == "sqlite" else [sql.run(";\n".join(asked))]


def last(url):
    return url.rsplit("/", 1)[1]
