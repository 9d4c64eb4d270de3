# shellcheck shell=bash
#
# What the tours share: a transcript of commands, small looks into JSON, and an end that leaves nothing behind.
# Needs bash, curl and python3.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LARGE=${TOUR_LARGE_BYTES:-300000000}
STARTED=()

# The server under test: $YUNQUE, or the release binary, built here.
find_binary() {
    local target=${CARGO_TARGET_DIR:-$ROOT/target}
    if [ -z "${YUNQUE:-}" ]; then
        (cd "$ROOT" && cargo build --release --locked --quiet)
        YUNQUE=$target/release/yunque
    fi
    YUNQUE=$(realpath "$YUNQUE")
}

begin() {
    WORK=$(mktemp -d)
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    cd "$WORK"
    # A setting of the caller's shell would change what is shown.
    unset DATABASE_URL DB_NAME REDIS_URL CELERY_BROKER_URL SECRET_KEY APP_ENV DATA_DIR SMTP_URL STORAGE_BACKEND \
        MAIL_BACKEND MAIL_FROM PUBLIC_BASE_URL LISTEN "${!CHAT_@}"
}

finish() {
    local status=$? pid
    trap - EXIT INT TERM HUP
    for pid in ${STARTED[@]+"${STARTED[@]}"}; do kill -s TERM "$pid" 2>/dev/null || true; done
    for pid in ${STARTED[@]+"${STARTED[@]}"}; do wait "$pid" 2>/dev/null || true; done
    if [ -n "${SERVICES:-}" ]; then "$ROOT/tests/services" stop "$SERVICES" >/dev/null 2>&1 || true; fi
    if [ "$status" != 0 ]; then
        tail -n 20 "$WORK"/*.log >&2 || true
    fi
    cd /
    rm -rf "$WORK"
    exit "$status"
}

say() { printf '%s\n' "$*"; }

# What a reader types. It is shown as written and then carried out by the shell, so both are the same.
run() {
    say "\$ $1"
    eval "$1"
}

# The same, for a `yunque` that stays: start NAME ARGUMENT... Its output goes to NAME.log.
start() {
    say "\$ yunque ${*:2} &"
    "$YUNQUE" "${@:2}" >"$1.log" 2>&1 &
    STARTED+=($!)
}

# For the commands that are shown.
yunque() { "$YUNQUE" "$@"; }

# same GOT WANTED: ends the tour when they differ.
same() {
    if [ "$1" != "$2" ]; then
        echo "expected: $2" >&2
        echo "but got:  $1" >&2
        exit 1
    fi
}

# Where JSON has more than one storey.
show_member() {
    say '# Takes a member out of a JSON object; a deeper one with dots.'
    run "member() { python3 -c 'import functools, json, sys
print(functools.reduce(lambda o, k: o[k] if isinstance(o, dict) else o[int(k)], sys.argv[1].split(\".\"), json.load(sys.stdin)))' \"\$1\"; }"
}

# A small PNG on standard output.
picture() {
    python3 - <<'PICTURE'
import struct, sys, zlib

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

rows = b"".join(b"\0" + bytes((x * 4, y * 4, 160)[c] for x in range(64) for c in range(3)) for y in range(64))
sys.stdout.buffer.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
                        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
PICTURE
}

# until_true SECONDS COMMAND...: waits without a word.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "never true: $*" >&2
            return 1
        fi
        sleep 0.1
    done
}

# free_port [PORT]: that one, else the usual one, if nobody has it; else any.
free_port() {
    python3 -c '
import socket, sys
probe = socket.socket()
probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    probe.bind(("127.0.0.1", int(sys.argv[1])))
except OSError:
    probe.bind(("127.0.0.1", 0))
print(probe.getsockname()[1])' "${1:-8000}"
}

is_completed() { curl -s -H "$AUTH" "$BASE/file/upload_status/?file_ids=$1" | grep -q '"upload_status":"completed"'; }

# The way of a user: an account, two files in, two files out. Wants BASE.
visit() {
    say '# Takes one member out of a JSON object.'
    run "member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' \"\$1\"; }"
    say
    run "curl -s $BASE/user/register/ -H 'Content-Type: application/json' \\
    -d '{\"username\": \"alice\", \"email\": \"alice@example.com\", \"password\": \"correct-horse-7\"}'; echo"
    run "TOKEN=\$(curl -s $BASE/user/login/ -H 'Content-Type: application/json' \\
    -d '{\"username\": \"alice\", \"password\": \"correct-horse-7\"}' | member access)"
    run 'AUTH="Authorization: Bearer $TOKEN"'
    say
    say '# A small file travels as base64 inside JSON ...'
    cp "$ROOT/Cargo.lock" .
    run "python3 -c 'import base64, json; data = open(\"Cargo.lock\", \"rb\").read(); print(json.dumps({
    \"name\": \"Cargo.lock\", \"content_type\": \"text/plain\", \"size\": len(data),
    \"file_content\": base64.b64encode(data).decode()}))' >upload.json"
    run "curl -s $BASE/file/ -H \"\$AUTH\" -H 'Content-Type: application/json' -d @upload.json | tee small.json; echo"
    say
    say '# ... a large one as a form, streamed.'
    run "head -c $LARGE /dev/urandom >large.bin"
    run "curl -s $BASE/file/upload/ -H \"\$AUTH\" -F file=@large.bin | tee large.json; echo"
    SMALL=$(member id <small.json) LARGE_ID=$(member id <large.json)
    until_true 120 is_completed "$SMALL"
    until_true 300 is_completed "$LARGE_ID"
    run "curl -s -H \"\$AUTH\" '$BASE/file/upload_status/?file_ids=$SMALL,$LARGE_ID'; echo"
    say
    say '# Back again, byte for byte.'
    run "curl -s \"\$(curl -s -H \"\$AUTH\" $BASE/file/$SMALL/download/ | member download_url)\" | cmp - Cargo.lock && echo equal"
    run "curl -s \"\$(curl -s -H \"\$AUTH\" $BASE/file/$LARGE_ID/download/ | member download_url)\" | cmp - large.bin && echo equal"
}
