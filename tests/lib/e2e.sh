# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the end-to-end tests share; source it first. A test is one scenario: it brings up a lab of its
# own name, works on it with real programs, and leaves nothing behind, however it ends.
#
#   lab_up [CLIENTS]         a lab named after the test; lab_down is done by the trap
#   fleet_up [OPTIONS]       the same with the options of "wherry lab up"; without: 2 edges, 2 workers,
#                            2 clients, regions a and b
#   lab_hosts                the names of its hosts
#   lab_says NODE PATTERN    whether the node's line of "wherry lab status" holds PATTERN
#   lab_traces               what is on the machine of the lab: nothing after "wherry lab down"
#   on NODE CMD...           runs CMD in the node
#   host CMD... client CMD.. in host-1, in a fleet in edge-1; in client-1
#   expect WHAT CMD...       fails the test unless CMD succeeds
#   expect_exit N WHAT CMD.. fails the test unless CMD exits with N
#   expect_text WANT HAVE    fails the test unless HAVE contains WANT
#   eventually S CMD...      tries CMD for S seconds, four times that on a busy machine
#   helper NAME              compiles tests/lib/NAME.c (udp_app, udp_probe) and prints its path
#   image NAME PROGRAM ARG.. an image FROM scratch with PROGRAM, prints its name; in a fleet
#   image_on NODE NAME ...   puts it on one host: each has images of its own
#   udp_toml APP IMAGE [PORT]  a fly.toml with one UDP service, to standard output
#   ask ADDRESS PORT TEXT    sends a datagram from client-1, prints the answer
#   run CMD...               runs CMD as "host" does; leaves $status, $out (both outputs)
#   pass                     the last line
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
test_name=$(basename "$0" .sh)
lab="t-$test_name"
build=$(realpath -m "${BUILD:-$here/build}")
export PATH="$build:$here/build:$PATH"
export NO_COLOR=1
work=$(mktemp -d "/tmp/wherry-$test_name.XXXXXX")
cleanups=()
main_host=host-1

skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "FAILED: $*" >&2
	local log lines
	for log in "/var/lib/wherry-lab/$lab"/*/*.log; do
		[ -f "$log" ] || continue
		lines=15
		[ "${log##*/}" = wherryd.log ] || lines=3
		echo "--- the last lines of ${log#"/var/lib/wherry-lab/$lab/"}:" >&2
		tail -n $lines "$log" | cut -c 1-600 >&2
	done
	exit 1
}

# Adds a command to run at the end, last one first.
at_exit() {
	cleanups+=("$*")
}

lab_hosts() {
	local log
	for log in "/var/lib/wherry-lab/$lab"/*/wherryd.log; do
		[ -f "$log" ] && basename "$(dirname "$log")"
	done
}

lab_says() {
	wherry lab status --name "$lab" | grep "^ *$1 " | grep -e "$2" >/dev/null
}

# With sanitizers: ends the daemons as a service manager does, and fails when one had complaints.
check_sanitizers() {
	local node pid bad=0 words='AddressSanitizer\|LeakSanitizer\|runtime error:'
	[ -n "$(lab_hosts)" ] && grep -q __asan_init "$build/wherryd" || return 0
	for node in $(lab_hosts); do
		pid=$(cat "/run/wherry-lab/$lab/$node.run/wherryd.pid" 2>/dev/null)
		# One that was killed left a number that may be someone else's by now.
		grep -z -q "^WHERRY_LAB=$lab$" "/proc/$pid/environ" 2>/dev/null && kill "$pid"
	done
	for ((i = 0; i < 50; i++)); do
		wherry lab status --name "$lab" | grep 'wherryd running' >/dev/null || break
		sleep 0.1
	done
	for node in $(lab_hosts); do
		grep -A 30 "$words" "/var/lib/wherry-lab/$lab/$node/wherryd.log" && bad=1
	done
	return $bad
}

finish() {
	local status=$? i
	trap - EXIT
	check_sanitizers || status=1
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}"
	done
	rm -rf "$work"
	exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

[ "$(id -u)" = 0 ] || skip "needs root"

make_lab() {
	wherry lab down --name "$lab" >/dev/null 2>&1
	# A test may have taken it down itself.
	at_exit "[ ! -e '/run/wherry-lab/$lab' ] || wherry lab down --name '$lab' >/dev/null"
	wherry lab up --name "$lab" "$@" >"$work/lab-up.log" 2>&1 ||
		fail "the lab does not come up: $(tail -n 3 "$work/lab-up.log")"
}

lab_up() { make_lab --clients "${1:-1}"; }

fleet_up() {
	local program
	for program in etcd wireguard-go; do
		command -v $program >/dev/null || skip "$program is not installed"
	done
	[ $# -gt 0 ] || set -- --edges 2 --workers 2 --clients 2 --regions a,b
	make_lab "$@"
	main_host=$(lab_hosts | head -n 1)
}

lab_traces() {
	local proc
	findmnt -rno TARGET,FSTYPE | grep -F "/$lab/"
	ip -br link | awk '{print $1}' | grep -E '^(client-|host-|edge-|worker-|store|clients|hosts)'
	ls -d "/run/wherry-lab/$lab" "/var/lib/wherry-lab/$lab" 2>/dev/null
	for proc in /proc/[0-9]*; do
		grep -z -a -q "^WHERRY_LAB=$lab$" "$proc/environ" && echo "process ${proc#/proc/}"
	done 2>/dev/null
	true
}

on() {
	local node=$1
	shift
	wherry lab exec --name "$lab" "$node" -- "$@"
}

host() { on "$main_host" "$@"; }
client() { on client-1 "$@"; }

expect() {
	local what=$1
	shift
	"$@" || fail "$what"
}

expect_exit() {
	local want=$1 what=$2 have
	shift 2
	"$@"
	have=$?
	[ "$have" = "$want" ] || fail "$what: exit status $have, not $want"
}

expect_text() {
	case "$2" in
	*"$1"*) ;;
	*) fail "expected \"$1\" in: $2" ;;
	esac
}

eventually() {
	# Generous: a busy machine makes everything slow, and what comes never still fails.
	local end=$((SECONDS + 4 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# The dedicated IPv4 of an app.
address_of() {
	host wherry ips list -a "$1" -j | sed -n 's/.*"Address": *"\([0-9.]*\)".*/\1/p' | head -n 1
}

# Programs for inside machines are static: there is no libc in an image FROM scratch.
helper() {
	local source=$here/tests/lib/$1.c program=$build/tests/lib/$1
	mkdir -p "$build/tests/lib"
	if [ ! -x "$program" ] || [ "$source" -nt "$program" ]; then
		# Tests run side by side: each makes its own and puts it there whole.
		${CC:-gcc} -std=gnu17 -D_GNU_SOURCE -O2 -static -o "$program.$$" "$source" 2>"$work/cc.log" &&
			mv "$program.$$" "$program" || fail "$1.c does not compile: $(tail -n 3 "$work/cc.log")"
	fi
	echo "$program"
}

image() { build_image "" "$@"; }
image_on() { build_image "$@"; }

build_image() { # NODE or nothing, NAME, PROGRAM, ARG...
	local name=localhost/wherry-test/$lab-$2 dir=$work/image-$2 in=${1:+on $1}
	shift
	mkdir -p "$dir"
	cp "$2" "$dir/program"
	shift 2
	{
		printf 'FROM scratch\nLABEL test=%s\n' "$lab"
		printf 'COPY program /program\nENTRYPOINT ["/program"]\nCMD ['
		local comma=''
		for word in "$@"; do
			printf '%s"%s"' "$comma" "$word"
			comma=', '
		done
		printf ']\n'
	} >"$dir/Dockerfile"
	# Without layers: those of tests side by side would be the same, and go with the first.
	$in podman build --isolation chroot --layers=false --quiet --tag "$name" "$dir" >"$work/build.log" 2>&1 ||
		fail "cannot build $name: $(tail -n 3 "$work/build.log")"
	echo "$name"
}

# By name and without force: an image of the same content may have names of other tests.
remove_named() { # REFERENCE
	podman images --filter "reference=$1" --format '{{.Repository}}:{{.Tag}}' | xargs -r podman rmi >/dev/null 2>&1
}
# image() runs in a subshell: what it made is removed by name, after the lab.
remove_images() { remove_named "localhost/wherry-test/$lab-*"; }
at_exit remove_images

udp_toml() {
	cat <<-TOML
		app = "$1"
		[build]
		  image = "$2"
		[[services]]
		  protocol = "udp"
		  [[services.ports]]
		    port = ${3:-5000}
	TOML
}

ask() {
	client "$(helper udp_probe)" "$1" "$2" ask "$3"
}

run() {
	out=$(host "$@" 2>&1)
	status=$?
}

# run(), and the exit status that it must have.
run_exit() {
	local want=$1
	shift
	run "$@"
	[ "$status" = "$want" ] || fail "$*: exit status $status, not $want; it printed: $out"
}

machine_ids() { host wherry machine list -a "$1" -q; }

# Whether nothing is left of the machines on the lab's hosts; /run/netns knows those of all labs.
gone() {
	local id node
	for id in "$@"; do
		[ ! -e "/run/netns/wherry-$id" ] || return 1
		for node in $(lab_hosts); do
			[ -z "$(on "$node" podman ps --all --quiet --filter "name=wherry-$id")" ] || return 1
			! on "$node" test -e "/var/lib/wherry/machines/$id" || return 1
		done
	done
}

# How many links to machines the host has.
veth_count() {
	host ip -o link show type veth | grep -vc ' eth0@'
}

# field NAME: the values of a field of the JSON on standard input, one a line; no nesting is heeded.
field() {
	sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p'
}

pass() {
	echo "passed"
	exit 0
}
