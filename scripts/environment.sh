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

# Makes .venv where there is none (or its Python is gone), and installs a lock file and the project into it, unless
# exactly that was installed before. requirements-dev.txt contains all of requirements.txt, in the same versions.
ensure_environment() { # lock file
    local lock=$1 python wanted stamp
    if ! .venv/bin/python -c '' 2>/dev/null; then
        python=$(find_python) ||
            fail "needs Python 3.11 or later with its venv module (on Debian: python3-venv); set PYTHON to name one"
        say "Making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    for stamp in "$lock" requirements-dev.txt; do
        wanted=$(pwd && cat "$stamp" pyproject.toml)
        [ "$(cat ".venv/installed-$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    done
    say "Installing $lock (only when it has changed; a minute or two)"
    rm -f .venv/installed-*
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    (pwd && cat "$lock" pyproject.toml) >".venv/installed-$lock"
}
