# What the scripts share: find the checkout, and make its virtual environment from a lock file.
# Sourced, with `set -euo pipefail` already in force.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"
# Each process would compile the program anew where an environment (a container's, often) has this set.
unset PYTHONDONTWRITEBYTECODE

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

as_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Prints a Python 3.11 or newer that can make virtual environments.
find_python() {
    local candidate
    for candidate in python3.11 python3 python3.12 python3.13 python3.14 /usr/bin/python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                printf '%s\n' "$candidate"
                return
            fi
        fi
    done
    return 1
}

need_python() {
    find_python && return
    if as_root_on_debian; then
        say "Installing python3-venv …"
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
        find_python && return
    fi
    die "Python 3.11 or newer with its venv module is needed." \
        "On Debian, as root: apt-get install python3 python3-venv"
}

# up_to_date runtime|dev: the virtual environment was made from the lock file as it is now, in this place.
# One made for "dev" has all of "runtime".
up_to_date() {
    [ -x "$PYTHON" ] || return 1
    [ "$(cat "$VENV/.homeport-$1" 2>/dev/null)" = "$(fingerprint "$1")" ] && return
    [ "$1" = runtime ] && up_to_date dev
}

lock_file() { if [ "$1" = dev ]; then echo "$ROOT/requirements-dev.lock"; else echo "$ROOT/requirements.lock"; fi; }

# The path is part of it: launchers of a checkout that was moved must be written anew.
fingerprint() { printf '%s %s\n' "$(sha256sum <"$(lock_file "$1")" | cut -d' ' -f1)" "$ROOT"; }

# set_up runtime|dev: make the virtual environment have what the lock file says. The second time it does nothing.
set_up() {
    if up_to_date "$1"; then return; fi
    mkdir -p "$ROOT/var"
    # Two scripts started at once must not install into the same folder.
    exec 9>"$ROOT/var/set-up.lock"
    flock 9
    if ! up_to_date "$1"; then make_environment "$1"; fi
    exec 9>&-
}

make_environment() {
    local python
    python="$(need_python)"
    say "Setting up $VENV ($1) …"
    rm -f "$VENV"/.homeport-*
    "$python" -m venv --clear "$VENV"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        --require-hashes --requirement "$(lock_file "$1")"
    printf '%s\n' "$ROOT" >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/homeport.pth"
    printf '#!/bin/sh\nexec "%s" -P -m appliance "$@"\n' "$PYTHON" >"$VENV/bin/homeport"
    chmod 755 "$VENV/bin/homeport"
    fingerprint "$1" >"$VENV/.homeport-$1"
}
