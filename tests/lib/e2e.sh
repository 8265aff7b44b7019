# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share; source it first. A test is one scenario: it brings up a lab of its
# own name, works on it with real programs, and leaves nothing behind, however it ends.
#
#   lab_up [CLIENTS]         a lab named after the test; lab_down is done by the trap
#   on NODE CMD...           runs CMD in the node
#   expect WHAT CMD...       fails the test unless CMD succeeds
#   expect_exit N WHAT CMD.. fails the test unless CMD exits with N
#   expect_text WANT HAVE    fails the test unless HAVE contains WANT
#   eventually S CMD...      tries CMD for S seconds
#   pass                     the last line
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
test_name=$(basename "$0" .sh)
lab="t-$test_name"
build=${BUILD:-$here/build}
export PATH="$build:$here/build:$PATH"
export NO_COLOR=1
work=$(mktemp -d "/tmp/wherry-$test_name.XXXXXX")
cleanups=()

skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "FAILED: $*" >&2
	if [ -f "/var/lib/wherry-lab/$lab/host-1/wherryd.log" ]; then
		echo "--- the last lines of wherryd:" >&2
		tail -n 15 "/var/lib/wherry-lab/$lab/host-1/wherryd.log" >&2
	fi
	exit 1
}

# Adds a command to run at the end, last one first.
at_exit() {
	cleanups+=("$*")
}

finish() {
	local status=$? i
	trap - EXIT
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}"
	done
	rm -rf "$work"
	exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

[ "$(id -u)" = 0 ] || skip "needs root"

lab_up() {
	wherry lab down --name "$lab" >/dev/null 2>&1
	at_exit "wherry lab down --name '$lab' >/dev/null"
	wherry lab up --name "$lab" --clients "${1:-1}" >"$work/lab-up.log" 2>&1 ||
		fail "the lab does not come up: $(tail -n 3 "$work/lab-up.log")"
}

on() {
	local node=$1
	shift
	wherry lab exec --name "$lab" "$node" -- "$@"
}

host() { on host-1 "$@"; }
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
	local end=$((SECONDS + $1))
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

pass() {
	echo "passed"
	exit 0
}
