# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of the data plane share, on top of e2e.sh; source this file instead.
#
#   udp_config APP PORTS...      writes $work/APP.toml: an app with these UDP ports and ranges
#   udp_app [ARGS...]            runs udpapp as a machine of app "echo"; its id is in $machine
#   machine_of APP CMD...        runs any program of the host so
#   probe ADDR:PORT SIZE...      udpprobe in client-1; probe_at NODE for others
#   in_machine ID CMD...         runs CMD in the machine
#   quietly CMD...              without its output
#   counter NAME                 packets under a name of wherry doctor
#   capture NODE NAME FILTER     tcpdump in the background, on eth0; captured NAME ends it and prints
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/e2e.sh"

tools=$build/tests/lib
[ -x "$tools/udpprobe" ] || tools=$here/build/tests/lib
[ -x "$tools/udpprobe" ] || fail "$tools/udpprobe is not built; run make test-tools"
machine=
options=() # more options of machine run

udp_config() {
	local app=$1 ports
	shift
	echo "app = \"$app\"" >"$work/$app.toml"
	for ports in "$@"; do
		printf '[[services]]\n  protocol = "udp"\n' >>"$work/$app.toml"
		case $ports in
		*-*) printf '  [[services.ports]]\n    start_port = %s\n    end_port = %s\n' \
			"${ports%-*}" "${ports#*-}" ;;
		*) printf '  internal_port = %s\n  [[services.ports]]\n    port = %s\n' \
			"$ports" "$ports" ;;
		esac >>"$work/$app.toml"
	done
}

# The first machine of an app brings its fly.toml along.
machine_of() {
	local app=$1
	shift
	if [ -f "$work/$app.toml" ] && [ ! -f "$work/$app.deployed" ]; then
		host wherry apps create "$app" >"$work/create.log" 2>&1
		set -- -c "$work/$app.toml" "$@"
		touch "$work/$app.deployed"
	fi
	machine=$(host wherry machine run -y -q -a "$app" "${options[@]+"${options[@]}"}" \
		--rootfs / "$@" 2>"$work/run.log") ||
		fail "the machine does not start: $(cat "$work/run.log")"
}

udp_app() {
	machine_of echo -- "$tools/udpapp" "$@"
}

# What is expected to fail need not be seen to.
quietly() { "$@" >/dev/null 2>&1; }

probe_at() {
	local node=$1
	shift
	on "$node" "$tools/udpprobe" "$@"
}

probe() { probe_at client-1 "$@"; }

in_machine() {
	local id=$1
	shift
	host wherry machine exec "$id" -- "$@"
}

counter() {
	host wherry doctor -j | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1
}

machine_field() { # ID FIELD
	host wherry machine status "$1" -j | sed -n "s/.*\"$2\": *\"\{0,1\}\([^\",]*\).*/\1/p" |
		head -n 1
}

log_of() { # APP
	host wherry logs -a "$1" -n 1000 2>&1
}

log_says() { # APP TEXT
	log_of "$1" | grep -qF -- "$2"
}

capture() {
	local node=$1 name=$2
	shift 2
	on "$node" tcpdump -i eth0 -n -U -l "$@" >"$work/$name.cap" 2>"$work/$name.err" &
	echo $! >"$work/$name.pid"
	at_exit "kill $! 2>/dev/null"
	eventually 5 grep -q "listening on" "$work/$name.err" || fail "tcpdump does not start"
}

captured() {
	sleep 0.3 # what was sent last is on its way through tcpdump's buffers
	kill "$(cat "$work/$1.pid")" 2>/dev/null
	wait "$(cat "$work/$1.pid")" 2>/dev/null
	cat "$work/$1.cap"
}

# The program of a machine: the only child of the init that wherry put before it.
app_pid() { # ID
	ps -o pid= --ppid "$(machine_field "$1" pid)" | tr -d ' '
}
