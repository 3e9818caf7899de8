# Shared by the scripts beside it, which source it from the repository's root: the virtual environment in .venv.

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "${0##*/}: $*"
    exit 1
}

# Prints the newest Python from 3.11 on that can make virtual environments; $PYTHON, when set, is the only candidate.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
        # Running it is the only proof: a version manager's stand-in is on PATH for versions that are not active.
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Whether .venv is whole, and holds a lock file and the project. requirements-dev.txt contains all of requirements.txt,
# in the same versions.
has_environment() { # lock file
    local stamp wanted
    [ ! -e .venv/unfinished ] || return 1
    .venv/bin/python -c '' 2>/dev/null || return 1
    for stamp in "$1" requirements-dev.txt; do
        wanted=$(pwd && cat "$stamp" pyproject.toml)
        [ "$(cat ".venv/installed-$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    done
    return 1
}

# Makes .venv where there is none (or its Python is gone), and installs a lock file and the project into it, unless
# exactly that was installed before. What is interrupted stays marked, and is made anew by the next run: an environment
# knows its own path, so it cannot be made aside and renamed.
ensure_environment() { # lock file
    has_environment "$1" && return
    # One at a time: README starts several processes in a row. (macOS has no flock.)
    mkdir -p .cache
    exec 9>.cache/environment.lock
    ! command -v flock >/dev/null || flock 9
    has_environment "$1" || make_environment "$1"
    exec 9>&-
}

make_environment() { # lock file
    local lock=$1 python
    if [ -e .venv/unfinished ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        python=$(find_python) ||
            fail "needs Python 3.11 or later with its venv module (on Debian: python3-venv); set PYTHON to name one"
        say "Making .venv with $("$python" --version)"
        # Out of the way first: deleting takes its time, and may be interrupted as well.
        [ ! -e .venv ] || mv .venv ".venv-old-$$"
        rm -rf .venv-old-*
        mkdir .venv
        touch .venv/unfinished
        "$python" -m venv .venv
    fi
    touch .venv/unfinished
    say "Installing $lock (only when it has changed; a minute or two)"
    rm -f .venv/installed-*
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    (pwd && cat "$lock" pyproject.toml) >".venv/installed-$lock"
    rm .venv/unfinished
}
