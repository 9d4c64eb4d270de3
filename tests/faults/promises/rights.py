"""The matrix of A5: which operation is whose, and how everybody else is refused. Chat rooms are in `rights_chat`.

`own` operations act on the caller himself or are lists: those of the named kinds may, the others get 403. `on` operations
name somebody's object: those who stand in the named places of that tree may, everybody else gets the refusal. Every
non-public operation of the document needs a row.
"""

import base64
import secrets

from harness.client import file_object, png
from harness.tree import Person

ALL = {"customer", "agent", "boss", "editor", "admin"}
# Who stands above whom.
ABOVE = {"customer": {"agent", "boss", "admin"}, "agent": {"boss", "admin"}, "boss": {"admin"}}
# Merged into what strangers send: fields that nobody may set for himself, and none of which these bodies have.
PRIVILEGED = {
    "is_staff": True, "is_superuser": True, "is_active": True, "is_verified": True, "user_type": "admin", "permission": "admin",
    "role": "admin", "groups": ["developer"], "quota": 1 << 60, "used_space": 0, "token_version": 0, "object_key": "files/1/x",
    "oss_key": "files/1/x", "upload_status": "completed", "message_type": "system", "is_read": True,
}


class Row:
    def __init__(self, who, refusal, body=None, query="", form=None, status=(200, 201, 204), spends=False, target=None,
                 leaves=False, also=None):
        self.who, self.refusal = set(who), refusal
        # A body is a function of the tree and the caller.
        self.body, self.query, self.form = body, query, form
        # What the parameters of the path name, if not the target.
        self.status, self.target, self.also = status, target, also or {}
        # The tree is not as it was when this was done; the caller is logged out by it.
        self.spends, self.leaves = spends, leaves


def own(who=ALL, **more):
    return [Row(who, (403,), **more)]


def on(target, who, refusal, **more):
    return [Row(who, (refusal,), target=target, **more)]


def of_each(who, refusal, targets=("customer", "agent", "boss"), **more):
    """One row for each kind of account that it can be done to."""
    rows = []
    for target in targets:
        row = Row(who(target), (refusal,), target=target, **more)
        # To act on oneself is refused in words of its own.
        row.self_refusal = (400, refusal)
        rows.append(row)
    return rows


def changed_password(_, person):
    old, person.password = person.password, "turned-" + secrets.token_hex(6)
    return {"old_password": old, "new_password": person.password}


def new_file(_, __):
    return file_object(f"n{secrets.token_hex(4)}", b"x")


def new_person(_, __):
    return Person("new").body()


def new_address(_, person):
    return {"email": f"n{secrets.token_hex(6)}@example.com", "password": person.password}


def taken_over(tree, person):
    """To the caller, if he is an agent: who takes a session over does it for himself."""
    return {"agent_id": person.id if person.kind in ("agent", "boss") else tree.ids["boss"]}


def member_change(_, __):
    return {"name": f"n{secrets.token_hex(6)}", "is_active": True}


def deletions(who, heirs, **more):
    """Who still has somebody below him is deleted with an heir, else that is refused (409)."""
    rows = of_each(who, 404, spends=True, targets=heirs, **more)
    for row in rows:
        row.query, row.query_of_admin = heirs[row.target]
        if row.target != "customer" and not row.query_of_admin:
            row.status = (409,)
    return rows


# To whom those below go: as an agent says it, and as an administrator does, who is no agent and could not take them.
HEIRS = {"customer": ("", ""), "agent": ("?reassign_to=self", "?reassign_to={boss}"), "boss": ("?reassign_to=self", "")}


def rights():
    """operationId → rows."""
    manage = dict(who=ABOVE.get, refusal=404)
    mine = dict(who=lambda target: {target, "admin"}, refusal=404, targets=("customer", "agent"))
    part, reads = {"customer", "agent", "admin"}, {"customer", "agent", "boss", "admin"}
    of_file = lambda **more: on("file", {"customer"}, 404, **more)
    in_session = lambda who, **more: on("session", who, 403, **more)
    text = lambda _, __: {"content_type": "text", "content": "a word"}
    profile = lambda _, person: {"name": person.name, "phone": "+" + str(secrets.randbelow(10**9) + 10**9)}
    display = lambda _, __: {"display_name": "n" + secrets.token_hex(4)}
    again = lambda _, __: {"file_content": base64.b64encode(b"x").decode()}
    return {
        # --- support sessions ---
        "list_support_sessions": own(query="?page_size=100"),
        "open_support_session": own({"customer"}, body=lambda _, __: {}),
        "list_support_chat_users": own({"agent", "boss"}),
        "get_support_unread_total": own(),
        "get_support_history": on("customer", {"agent", "boss", "admin"}, 403, query="?client_id={customer}"),
        "get_support_session": in_session(reads),
        "assign_support_session": in_session({"boss", "admin"}, body=taken_over, spends=True),
        "clear_support_session": in_session({"agent", "admin"}, spends=True),
        "close_support_session": in_session(part),
        "reopen_support_session": in_session(part),
        "read_support_messages": in_session(part, body=lambda _, __: {}),
        "list_support_messages": in_session(reads),
        "create_support_message": in_session(part, body=text),
        "delete_support_message": in_session({"customer", "admin"}, spends=True, also={"message_id": "message"}),
        "open_support_socket": in_session(part, status=(101,)),
        # --- users of agents ---
        "list_members": own(query="?page_size=100"),
        "list_customers": own({"agent", "boss", "admin"}, query="?page_size=100"),
        "list_sub_agents": own({"boss", "admin"}, query="?page_size=100"),
        "create_agent": own({"admin"}, body=new_person),
        "create_sub_agent": own({"boss"}, body=new_person),
        "create_customer": own({"agent", "boss", "admin"}, body=new_person),
        "get_profile": own(),
        "update_profile": own(body=profile),
        "put_profile": own(body=profile),
        "put_password": own(body=changed_password),
        "change_password": own(body=changed_password),
        "upload_avatar": own(form=lambda: {"avatar": ("x.png", png())}),
        "get_member": of_each(lambda target: {target, "editor"} | ABOVE[target], 404),
        "update_member": of_each(**manage, body=member_change),
        "put_member": of_each(**manage, body=member_change),
        "delete_member": deletions(ABOVE.get, HEIRS),
        "delete_member_with_answer": deletions(ABOVE.get, HEIRS),
        "delete_member_by_post": deletions(ABOVE.get, HEIRS),
        "disable_member": of_each(**manage, spends=True),
        "enable_member": of_each(**manage),
        "set_member_password": of_each(**manage, body=lambda _, __: {"new_password": "set-by-another"}, spends=True),
        # --- accounts ---
        "list_users": own({"admin"}),
        "create_user": own({"admin"}, body=new_person),
        "get_user": of_each(**mine),
        "update_user": of_each(**mine, body=display),
        "put_user": of_each(**mine, body=display),
        "delete_user": deletions(mine["who"], {"customer": ("", ""), "agent": ("", "")},
                                 body=lambda _, person: {"password": person.password}),
        "get_user_profile": own(),
        "list_user_sessions": own(),
        "delete_user_session": on("sid", {"customer"}, 404, spends=True),
        "change_user_password": own(body=changed_password),
        "change_user_settings_password": own(body=changed_password),
        "update_user_display_name": own(body=display),
        "update_user_settings_display_name": own(body=display),
        "update_user_email": own(body=new_address),
        "update_user_settings_email": own(body=new_address),
        "logout_user": own(body=lambda _, __: {}, leaves=True, spends=True),
        "logout_user_everywhere": own(leaves=True, spends=True),
        "logout_token": own(body=lambda _, __: {}, leaves=True, spends=True),
        # --- files ---
        "list_files": own(),
        "upload_files": own(body=new_file),
        "upload_file_stream": own(form=lambda: {"file": ("x", b"x")}),
        "create_folder": own(body=lambda _, __: {"folder_name": f"n{secrets.token_hex(4)}"}),
        "presign_file": own(body=lambda _, __: {"name": f"n{secrets.token_hex(4)}", "content_type": "a/b", "size": 3}),
        "get_storage_info": own(),
        # Ids of others in a list are passed over in silence.
        "list_upload_statuses": own(query="?file_ids={file},{pending}"),
        "delete_files": own(body=lambda tree, _: {"file_ids": [tree.ids["file"], tree.ids["pending"]]}, spends=True),
        "get_file": of_file(),
        "update_file": of_file(body=lambda _, __: {"name": f"n{secrets.token_hex(4)}"}),
        "replace_file": of_file(body=lambda _, __: {"name": f"n{secrets.token_hex(4)}"}),
        "delete_file": of_file(spends=True),
        "delete_file_by_post": of_file(spends=True),
        "get_file_download": of_file(),
        "create_file_download": of_file(),
        # Stored already; nothing was put there yet.
        "retry_file_upload": of_file(body=again, status=(400,)),
        "complete_file": on("pending", {"customer"}, 404, status=(409,)),
        "cancel_file": on("pending", {"customer"}, 404, spends=True),
    }
