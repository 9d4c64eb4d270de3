# shellcheck shell=bash
#
# Where the tests keep their tools and how each one gets there. Sourced by tests/run and tests/services.
#
# Everything lives below $XDG_CACHE_HOME/yunque (~/.cache/yunque), outside the clone, so that a second clone or a
# second run finds it ready. Each tool has a folder named after its pinned version; a folder without its `.done`
# mark is the rest of an interrupted run and is built again. Nothing here asks a question.

# What is set here is used by the scripts that read this file.
# shellcheck disable=SC2034

CARGO_DENY_VERSION=0.20.2

# Some build machines start a script without it.
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
# Server programs are outside the PATH of an ordinary user, and rustup's of a shell that read no profile.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin
TOOLS_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
YUNQUE_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/yunque
TOOLS=$YUNQUE_CACHE/tools

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# retry N COMMAND...: for commands that talk to a registry.
retry() {
    local left=$1 pause=2
    shift
    until "$@"; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then return 1; fi
        complain "again in $pause s: $1 failed"
        sleep "$pause"
        pause=$((pause * 3))
    done
}

# A short name for the contents of some files: a changed pin gets a new folder.
fingerprint() { cat "$@" | sha256sum | cut -c1-12; }

# once FOLDER COMMAND...: runs the command to fill FOLDER unless a former run finished it. Two runs at once wait for
# each other.
once() {
    local folder=$1
    shift
    mkdir -p "$folder"
    (
        flock 9
        if [ -e "$folder/.done" ]; then exit 0; fi
        "$@" || exit 1
        touch "$folder/.done"
    ) 9>"$folder.lock"
}

# --- Python: sets PYTHON to an interpreter that has the packages of requirements.txt.

python_folder() { printf '%s/python-%s\n' "$TOOLS" "$(fingerprint "$TOOLS_SRC/lib/requirements.txt")"; }

ensure_python() {
    local folder
    folder=$(python_folder)
    once "$folder" fill_python "$folder" || return 1
    PYTHON=$folder/bin/python
}

fill_python() {
    python3 -m venv --clear "$1" &&
        retry 3 "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --requirement "$TOOLS_SRC/lib/requirements.txt"
}

# --- Node: sets NODE_FOLDER to a folder whose node_modules holds the packages of tests/ts/package-lock.json.

node_folder() {
    printf '%s/node-%s\n' "$TOOLS" "$(fingerprint "$TOOLS_SRC/ts/package.json" "$TOOLS_SRC/ts/package-lock.json")"
}

ensure_node() {
    local folder
    folder=$(node_folder)
    once "$folder" fill_node "$folder" || return 1
    NODE_FOLDER=$folder
}

fill_node() {
    cp "$TOOLS_SRC/ts/package.json" "$TOOLS_SRC/ts/package-lock.json" "$1/" &&
        (cd "$1" && retry 3 npm ci --no-audit --no-fund --loglevel=error --ignore-scripts </dev/null)
}

# --- cargo-deny: puts the cargo subcommand on the PATH.

deny_folder() { printf '%s/cargo-deny-%s\n' "$TOOLS" "$CARGO_DENY_VERSION"; }

ensure_deny() {
    local folder
    folder=$(deny_folder)
    once "$folder" fill_deny "$folder" || return 1
    PATH=$folder/bin:$PATH
}

# Built unoptimised: that takes a fifth of the time, and the check itself then needs four seconds. The copy on PyPI
# (0.14) is too old for the lock file format in use.
fill_deny() {
    local build status=0
    build=$(mktemp -d)
    CARGO_TARGET_DIR=$build CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_OPT_LEVEL=0 \
        retry 3 cargo install cargo-deny --quiet --locked --debug --force \
        --version "=$CARGO_DENY_VERSION" --root "$1" || status=1
    rm -rf "$build"
    return "$status"
}
