# Whatever tests start by themselves, installed or built where it is missing: sourced by scripts/test, from the
# repository's root. Each function provides one thing, so that they can run side by side. What cannot be provided is a
# line in the file $unprovided and a line on the terminal.

unprovided() { # thing, reason
    say "!! not provided: $1: $2"
    printf '%s: %s\n' "$1" "$2" >>"$unprovided"
}

# Installs Debian packages, if this is Debian and we are root. Package scripts must not start services: RabbitMQ's would
# listen on every address, and tests start servers of their own, on loopback.
install_packages() { # package…
    [ -f /etc/debian_version ] && [ "$(id -u)" -eq 0 ] || return 0
    local guard=/usr/sbin/policy-rc.d ours=false status=0 unit
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$guard"
        chmod +x "$guard"
        ours=true
    fi
    say "Installing $*"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq --yes --no-install-recommends "$@"; } </dev/null >/dev/null || status=$?
    if $ours; then
        rm -f "$guard"
        for unit in rabbitmq-server.service epmd.service epmd.socket; do # nor at the next start of the machine
            systemctl disable --quiet "$unit" >/dev/null 2>&1 || true
        done
    fi
    [ "$status" -eq 0 ] || unprovided "Debian packages ($*)" "apt-get ended with status $status, see above"
}

# All packages at once: reading and unpacking them side by side would only wait for apt's lock.
provide_packages() {
    local packages=() pair
    # Chromium without its windows needs half as much of the processor; the whole browser serves as well.
    local chromium=chromium-headless-shell
    { [ -f /etc/debian_version ] && [ "$(id -u)" -eq 0 ]; } || command -v $chromium >/dev/null || chromium=chromium
    local wanted=("$chromium $chromium fonts-dejavu-core" "wrk wrk" "java default-jre-headless" "mvn maven")
    [ -n "${TILLSTREAM_TEST_RABBIT:-}" ] || wanted+=("rabbitmq-server rabbitmq-server")
    scripts/fetch-axe >/dev/null 2>&1 || wanted+=("npm npm") # it brings some hundred packages along
    for pair in "${wanted[@]}"; do
        # shellcheck disable=SC2206 # words are wanted
        command -v "${pair%% *}" >/dev/null || packages+=(${pair#* })
    done
    [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
    hash -r
    for pair in "${wanted[@]}"; do
        command -v "${pair%% *}" >/dev/null ||
            unprovided "${pair%% *}" "not on PATH, and only installed by itself on Debian as root"
    done
}

# FerretDB, which speaks MongoDB's protocol, built with Go and kept in the cache.
provide_ferretdb() {
    [ -z "${TILLSTREAM_TEST_MONGO:-}" ] || return 0
    if ! command -v go >/dev/null; then
        unprovided "a MongoDB server" "TILLSTREAM_TEST_MONGO names none, and FerretDB needs Go 1.22 to be built"
    elif ! scripts/build-ferretdb >/dev/null; then
        unprovided "a MongoDB server" "TILLSTREAM_TEST_MONGO names none, and FerretDB could not be built, see above"
    fi
}

# Storm's jars, 66 MB, fetched by Maven and kept in the cache, so that no test waits for them.
provide_storm() {
    local said
    said=$(.venv/bin/python -c "import os; from topology.cluster_home import provide_home; provide_home(os.environ)" 2>&1) ||
        unprovided Storm "${said##*$'\n'}"
}

# axe-core, for the tests of accessibility, kept in the cache.
provide_axe() { scripts/fetch-axe >/dev/null || unprovided axe-core "it could not be fetched, see above"; }

# The images that docker-compose.yml names, where a command makes them (see .ci/run).
provide_images() {
    [ -z "${TILLSTREAM_TEST_IMAGES:-}" ] || "$TILLSTREAM_TEST_IMAGES" >&2 ||
        unprovided "images for docker-compose.yml" "$TILLSTREAM_TEST_IMAGES failed, see above"
}
