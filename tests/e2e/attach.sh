#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A namespace that someone else made, with a program of theirs in it: once attached it answers, a
# detach leaves it as it was, and one that vanishes is noticed and does no harm.
#
#   client-1 -- internet -- host-1 -- namespaces of ip netns, with udpapp in them
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

# Starts udpapp in a new namespace; its pid is in $pid.
guest() { # NAME ARGS...
	local netns=$1
	shift
	ip netns add "$netns" || fail "ip netns add fails"
	at_exit "ip netns del $netns 2>/dev/null"
	ip -n "$netns" link set lo up
	ip netns exec "$netns" "$tools/udpapp" "$@" >"$work/$netns.log" 2>&1 &
	pid=$!
	at_exit "kill $pid 2>/dev/null"
	eventually 3 grep -q bound "$work/$netns.log" || fail "the program in $netns does not run"
}
attach() { # APP NAME
	host wherry machine attach -y -q -a "$1" -c "$work/$1.toml" --netns "/run/netns/$2" \
		2>"$work/attach.log" || fail "attach fails: $(cat "$work/attach.log")"
}

one=$lab-one-$$ two=$lab-two-$$
lab_up
udp_config echo 5000
udp_config other 5000
machine_of other -- "$tools/udpapp" --port 5000
guest "$one" --port 5000
first_pid=$pid
expect "apps create fails" host wherry apps create echo >/dev/null
first=$(attach echo "$one")
# "Returns once traffic flows": the very next datagram is answered.
addr=$(address_of echo)
expect "an attached namespace does not answer at once" probe --timeout 500 "$addr:5000" 100
expect "sizes are not echoed" probe "$addr:5000" 0 1472 3000 65507
[ "$(machine_field "$first" kind)" = attached ] || fail "the machine is not shown as attached"
expect_text "eth0" "$(ip -n "$one" -o link)"
expect_text "from 198.51.100.10:" "$(cat "$work/$one.log")"
expect_text "$(machine_field "$first" primary)" "$(in_machine "$first" ip -4 addr show dev eth0)"

# Attached twice is one too many; so is what is no namespace.
expect_exit 4 "a second attach of one namespace" quietly host wherry machine attach -y -q -a echo \
	--netns "/run/netns/$one"
host wherry machine attach -y -q -a echo --netns /etc/passwd >"$work/file.log" 2>&1 &&
	fail "a file was attached"
expect_text /etc/passwd "$(cat "$work/file.log")"

# A second one beside it, which takes over when the first is detached.
guest "$two" --port 5000
second_pid=$pid
second=$(attach echo "$two")
host wherry machine detach "$first" >"$work/detach.log" 2>&1 ||
	fail "detach fails: $(cat "$work/detach.log")"
case "$(ip -n "$one" -o link)" in *eth0*) fail "detach leaves eth0 behind" ;; esac
kill -0 "$first_pid" || fail "detach ended the program"
for port in 45001 45002 45003 45004; do
	expect "the second namespace does not answer" probe --from "198.51.100.10:$port" "$addr:5000" 9
done

# It vanishes, program and all.
ip netns del "$two"
kill "$second_pid"
wait "$second_pid" 2>/dev/null
is_noticed() { host wherry machine status "$second" -j | grep -q '"state": "\(stopped\|failed\)"'; }
expect "a namespace vanished and nobody noticed: $(machine_field "$second" state)" \
	eventually 10 is_noticed
expect_exit 3 "the port of an app whose namespace vanished" quietly probe "$addr:5000" 10
other=$(address_of other)
expect "another app suffers" probe "$other:5000" 0 100 3000
expect_text netns "$(host wherry machine status "$second" 2>&1)"

# The first one comes back as if nothing had been.
first=$(attach echo "$one")
expect "attached again it does not answer" probe --timeout 500 "$addr:5000" 100 3000
pass
