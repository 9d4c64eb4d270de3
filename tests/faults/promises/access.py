"""A5: every operation of the published document as anonymous, as a stranger, and as the owner."""

import json
import re

from harness.client import Client, PASSWORD, content
from harness.report import promise
from harness.topology import Topology
from harness.world import eventually

METHODS = ("get", "post", "put", "patch", "delete")


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def is_public(document, operation):
    security = operation.get("security", document.get("security", []))
    return not security or {} in security


def example_body(document, operation, owned):
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is None:
        return None
    example = body.get("example")
    if example is None and body.get("examples"):
        example = next(iter(body["examples"].values())).get("value")
    if example is None:
        schema = body["schema"]
        while "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        example = schema.get("example") or {}
    example = json.loads(json.dumps(example))
    if isinstance(example, dict):
        if "file_ids" in example or "batch_delete" in operation.get("operationId", "") or operation.get("operationId") == "delete_files":
            example["file_ids"] = [owned["file"]]
    return example


class Owner:
    """Somebody with one of everything, all of it marked."""

    def __init__(self, trial, server, top, number):
        self.mark = f"mark{trial.random.randrange(10**9)}x{number}"
        self.client = server.client.user(f"owner{self.mark}")
        self.access = self.client.token
        self.file = self.client.upload([(f"{self.mark}.txt", content(self.mark, 300))]).expect(201)[0]["id"]
        self.client.post("/file/new-folder/", {"folder_name": f"folder-{self.mark}"}).expect(201)
        eventually("the owner's file is stored", 20, lambda: self.stored() == "completed")
        presign = self.client.post("/file/presign/", {"name": f"p-{self.mark}", "content_type": "a/b", "size": 3}).expect(201)
        self.pending = presign["id"]
        self.session = self.client.get("/user/sessions/").expect(200)[0]["sid"]
        self.ids = {"file": self.file, "user": self.client.id, "session": self.session}

    def stored(self):
        return self.client.get(f"/file/{self.file}/").expect(200)["upload_status"]

    def state(self):
        """Everything of his that a stranger could have changed."""
        client = self.client
        own = [client.get(path) for path in ("/user/profile/", "/file/", f"/file/{self.file}/", "/file/storage-info/")]
        sessions = sorted(s["sid"] for s in client.get("/user/sessions/").json()) if own[0].status == 200 else None
        return [(r.status, r.body) for r in own], sessions


def fill(path, owned):
    """The owner's ids in the place of parameters."""

    def value(found):
        name = found.group(1)
        if "sid" in name or "/sessions/" in path:
            return str(owned["session"])
        return str(owned["user"] if path.startswith("/user") else owned["file"])

    return re.sub(r"\{(\w+)\}", value, path)


@promise("A5", "every operation as anonymous, stranger and owner")
def a5(trial):
    top = Topology(trial, env={"MAIL_BACKEND": "log"})
    server = top.serve()
    document = server.client.get("/openapi.json").expect(200)
    owner = Owner(trial, server, top, 0)
    before = owner.state()
    anonymous, leaks, changed, tested, private = [], [], [], 0, 0
    strangers = 0
    for path, method, operation in operations(document):
        if is_public(document, operation):
            continue
        private += 1
        url = fill(path, owner.ids)
        if operation.get("operationId") == "list_upload_statuses":
            url += f"?file_ids={owner.file}"
        body = example_body(document, operation, owner.ids)
        multipart = "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
        bare = Client(server.base)
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer garbage"}, {"X-API-Key": "ak_" + "x" * 48}):
            reply = bare.multipart("x", b"x", url) if multipart and not headers else bare.request(method, url, body, headers)
            if reply.status != 401:
                anonymous.append((method, path, headers, reply.status))
        strangers += 1
        stranger = server.client.user(f"stranger{strangers}")
        reply = stranger.multipart("x", b"x", url) if multipart else stranger.request(method, url, body)
        tested += 1
        text = reply.body.decode(errors="replace")
        if owner.mark in text:
            leaks.append((method, path, reply.status))
        # An id that is not his is not there; what needs an administrator says so.
        if "{" in path and reply.status not in (404, 403):
            leaks.append((method, path, reply.status))
        if owner.state() != before:
            changed.append((method, path, reply.status))
            before = owner.state()
    trial.check("anonymous, empty, garbage and unknown credentials: 401 everywhere", f"{len(anonymous)} others {anonymous[:2] or ''}",
                not anonymous)
    trial.check("0 leaks to strangers", f"{len(leaks)} {leaks[:3] or ''}", not leaks)
    trial.check("0 writes by strangers", f"{len(changed)} {changed[:3] or ''}", not changed)
    trial.check(">= 90 % of the non-public operations cross-tested", f"{tested} of {private}", tested >= 0.9 * private)

    # The same requests mean something when the owner makes them.
    useless = []
    for number, (path, method, operation) in enumerate(operations(document), 1):
        if is_public(document, operation):
            continue
        if "{" not in path and method == "GET":
            reply = owner.client.get(fill(path, owner.ids) + (f"?file_ids={owner.file}" if "upload_status" in path else ""))
        elif "{" in path:
            fresh = Owner(trial, server, top, number)
            ids = dict(fresh.ids)
            if path.rstrip("/").endswith(("cancel", "complete")):
                ids["file"] = fresh.pending
            body = example_body(document, operation, ids)
            if method == "DELETE" and path.startswith("/user/{"):
                body = {"password": PASSWORD}
            reply = fresh.client.request(method, fill(path, ids), body)
        else:
            continue
        if reply.status in (401, 404, 405) or reply.status >= 500 or reply.status == 403 and not path.startswith("/user/"):
            useless.append((method, path, reply.status))
    trial.check("the owner reaches each of them", f"{len(useless)} not {useless[:3] or ''}", not useless)
