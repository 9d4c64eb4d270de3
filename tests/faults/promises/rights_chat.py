"""The part of A5's matrix that is about chat rooms (`chat.md` 1, 3.1, 3.2).

In the `room` of a tree the customer is admin and the agent an ordinary member; into the `other_room` the agent is only
invited. Platform admins read and moderate every room; they are no members, so they neither speak there nor invite.
"""

import secrets

from promises.rights import on, own

MEMBERS, READS, RUNS = {"customer", "agent"}, {"customer", "agent", "admin"}, {"customer", "admin"}


def in_rooms(who, **more):
    """In both rooms; in the other one an invitation is no membership."""
    return on("room", who, 403, **more) + on("other_room", who - {"agent"}, 403, **more)


def of_messages(who, **more):
    """With messages of the customer in both rooms."""
    return on("spoken", who, 403, **more) + on("hidden", who - {"agent"}, 403, **more)


def to_member(**more):
    """What is done to the agent in the room."""
    return on("room", RUNS, 403, also={"user_id": "agent"}, **more)


def edits():
    """Nobody changes what another one said, whatever he is."""
    return of_messages({"customer"}, body=words) + on("answer", {"agent"}, 403, body=words)


def deletions():
    """The sender, whoever runs the room unless an admin of it said it, and platform admins."""
    return on("spoken", RUNS, 403, spends=True) + on("answer", READS, 403, spends=True)


def words(_, __):
    return {"content": "a word"}


def announcement(_, __):
    return {"content": "a word", "message_type": "system"}


def new_room(_, __):
    return {"name": f"n{secrets.token_hex(4)}", "room_type": "private"}


def changed_room(_, __):
    return {"description": f"n{secrets.token_hex(4)}", "is_active": True}


def heir(tree, _):
    return {"user_id": tree.ids["agent"]}


def guest(tree, _):
    return {"user_ids": [tree.ids["boss"]]}


def somebody(tree, person):
    """Not of the tree that is watched; an administrator is no company for himself."""
    return {"user_id": tree.ids["customer" if person.kind == "admin" else "admin"]}


def chat_rights():
    """operationId → rows."""
    return {
        # --- rooms ---
        "list_chat_rooms": own(query="?page_size=100"),
        "create_chat_room": own(body=new_room),
        "get_chat_room": in_rooms(READS),
        "update_chat_room": in_rooms(RUNS, body=changed_room),
        "replace_chat_room": in_rooms(RUNS, body=changed_room),
        "delete_chat_room": on("room", RUNS, 403, spends=True),
        "join_chat_room": on("room", MEMBERS, 403) + on("other_room", MEMBERS, 403, spends=True),
        # Leaving a room where one is not is no error; it says and changes nothing.
        "leave_chat_room": on("room", MEMBERS, 200, spends=True) + on("other_room", {"customer"}, 200, spends=True),
        "transfer_chat_room": on("room", RUNS, 403, body=heir, spends=True),
        "open_direct_chat_room": own(body=somebody),
        "open_chat_socket": in_rooms(READS, status=(101,)),
        # --- members ---
        "list_chat_members": in_rooms(READS, query="?include_banned=true"),
        "list_chat_online": in_rooms(READS),
        "update_own_chat_member": in_rooms(MEMBERS, body=lambda _, __: {"notify": "mentions"}),
        "update_chat_member": to_member(body=lambda _, __: {"role": "moderator", "is_muted": False}, spends=True),
        "kick_chat_member": to_member(spends=True),
        "mute_chat_member": to_member(body=lambda _, __: {}, spends=True),
        "unmute_chat_member": to_member(),
        "ban_chat_member": to_member(spends=True),
        "unban_chat_member": to_member(),
        # --- invitations ---
        "invite_to_chat_room": in_rooms({"customer"}, body=guest, spends=True),
        "list_chat_invites": own(),
        "accept_chat_invite": on("invite", {"agent"}, 404, spends=True),
        "decline_chat_invite": on("invite", {"agent"}, 404, spends=True),
        # --- messages ---
        "list_chat_messages": in_rooms(READS),
        "create_chat_message": in_rooms(MEMBERS, body=words) + on("room", {"customer"}, 403, body=announcement),
        "get_chat_message": of_messages(READS),
        "update_chat_message": edits(),
        "replace_chat_message": edits(),
        "delete_chat_message": deletions(),
        "remove_chat_message": deletions(),
        "search_chat_messages": [
            *own(query="?q=spoken"),
            *on("room", READS, 403, query="?q=spoken&room_id={room}"),
            *on("other_room", RUNS, 403, query="?q=hidden&room_id={other_room}"),
        ],
        "upload_chat_file": own(form=lambda: {"file": ("x.txt", b"x")}),
        # --- what was read ---
        "read_chat_message": of_messages(MEMBERS),
        "list_chat_message_reads": of_messages(READS),
        "read_chat_room": in_rooms(MEMBERS, body=lambda _, __: {}),
        "get_chat_unread": own(),
        # --- notifications ---
        "list_chat_notifications": own(),
        "read_chat_notification": on("notice", {"agent"}, 404),
        "delete_chat_notification": on("notice", {"agent"}, 404, spends=True),
        # Of a room of others there are none.
        "read_all_chat_notifications": own(body=lambda tree, _: {"room_id": tree.ids["room"]}),
        "get_chat_notifications_unread_count": own(),
        "open_notification_socket": own(status=(101,)),
    }
