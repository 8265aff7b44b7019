#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clients that are not outside: programs of the host itself, and machines that use public
# addresses, their own app's included.
#
#   host-1: clients, and machines of apps "echo" (on 203.0.113.1) and "other"
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

lab_up
udp_config echo 5000
udp_config other 5000
udp_app --port 5000 --bind fly-global-services,none
echo_machine=$machine
machine_of other -- "$tools/udpapp" --id peer --port 5000
other_machine=$machine
addr=$(address_of echo)
other=$(address_of other)
sizes=(0 1 100 1400 1472 1473 3000 9000 65507)

# A program of the host.
[ "$(echo hello | host nc -u -w 1 "$addr" 5000)" = hello ] || fail "nc on the host gets no answer"
expect "sizes are not echoed to the host" probe_at host-1 "$addr:5000" "${sizes[@]}"
expect "datagrams without checksum" probe_at host-1 --no-checksum "$addr:5000" 0 100 3000
expect "segmentation offload" probe_at host-1 --segment 1000 "$addr:5000" 20000
expect "a wildcard app does not answer the host" probe_at host-1 --any-answer "$other:5000" 0 3000
expect_text "192.0.2.11:" "$(host "$tools/udpprobe" --text hello "$other:5000")"
expect_exit 3 "a port that no service declares, from the host" \
	quietly probe_at host-1 "$addr:5001" 10
host "$tools/udpapp" --bind 127.0.0.1 --port 7100 >"$work/local.log" 2>&1 &
at_exit "kill $! 2>/dev/null"
eventually 3 grep -q bound "$work/local.log" || fail "the local server does not run"
expect "loopback traffic of the host suffers" probe_at host-1 127.0.0.1:7100 0 100 3000 65507

# A machine, from both of its addresses, to another app: it is seen by its public address where it
# uses fly-global-services, as any client is; by its own where the host does not translate.
expect "a machine does not reach another app's public address" \
	in_machine "$other_machine" "$tools/udpprobe" "$addr:5000" "${sizes[@]}"
expect "segmentation offload between machines" \
	in_machine "$other_machine" "$tools/udpprobe" --segment 1000 "$addr:5000" 20000
expect "a machine does not reach another app from fly-global-services" in_machine \
	"$other_machine" "$tools/udpprobe" --from fly-global-services:6000 "$addr:5000" "${sizes[@]}"
seen=$(in_machine "$echo_machine" "$tools/udpprobe" --from fly-global-services:6000 \
	--text hello "$other:5000")
[ "$seen" = "$addr:6000" ] || fail "the other app saw \"$seen\", not $addr:6000"
expect_exit 3 "a closed port of another app, from a machine" \
	quietly in_machine "$other_machine" "$tools/udpprobe" "$addr:5001" 10

# Its own app: another machine of it answers; alone it meets itself, which is dropped by name.
expect_exit 4 "a machine that talks to itself by the public address" quietly in_machine \
	"$echo_machine" "$tools/udpprobe" --timeout 300 "$addr:5000" 10
[ "$(counter hairpin_to_self)" -gt 0 ] || fail "meeting itself is not counted as hairpin_to_self"

# The app's port is closed: the host and the machines hear of it.
kill -USR1 "$(app_pid "$echo_machine")"
is_closed() {
	[ -z "$(nsenter --net="$(machine_field "$echo_machine" netns)" ss -Huln)" ]
}
expect "the app does not close its socket" eventually 3 is_closed
expect_exit 3 "an app's closed port, from the host" quietly probe_at host-1 "$addr:5000" 10
expect_exit 3 "an app's closed port, from a machine" \
	quietly in_machine "$other_machine" "$tools/udpprobe" "$addr:5000" 10
pass
