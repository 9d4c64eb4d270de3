"""What schemathesis has to know of this server: who calls, and which ids exist. Loaded by `run`."""

import json
import os
import urllib.error
import urllib.request

import schemathesis

BASE = os.environ["PROPERTY_BASE"]
# A list of user name and password for each account, in the order in which they are used up.
ACCOUNTS = json.loads(os.environ["PROPERTY_ACCOUNTS"])
# Name of a path parameter → values that name something. Others are as schemathesis makes them.
KNOWN = json.loads(os.environ["PROPERTY_KNOWN"])


def login(name, password):
    body = json.dumps({"username": name, "password": password}).encode()
    request = urllib.request.Request(BASE + "/api/token/", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["access"]
    except urllib.error.HTTPError:
        return None


# Calls end sessions, and disable and delete accounts; the next call is then made with a new token.
@schemathesis.auth(refresh_interval=None)
class Caller:
    token, doubtful = None, False

    def get(self, case, context):
        if Caller.doubtful:
            Caller.doubtful = False
            if not alive(Caller.token):
                Caller.token = None
        while Caller.token is None:
            Caller.token = login(*ACCOUNTS[0])
            if Caller.token is None:
                ACCOUNTS.pop(0)
        return Caller.token

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code == 401:
        Caller.doubtful = True


def alive(token):
    request = urllib.request.Request(BASE + "/user/profile/", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 401


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Half of the ids are of something that exists; most of the others would be 404."""
    for name, value in (path_parameters or {}).items():
        known = KNOWN.get(name)
        if known and isinstance(value, int) and value % 2:
            path_parameters[name] = known[value // 2 % len(known)]
    return path_parameters
