#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# iperf3 -u, whose server binds a wildcard socket and connects it to each client: all datagrams
# arrive, in both directions. Its control connection is TCP, which no public address serves yet:
# the test forwards it to the machine by a rule of its own.
#
#   client-1: iperf3 -c -- internet -- host-1 -- iperf3 -s on 5201
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

command -v iperf3 >/dev/null || skip "needs iperf3"
lab_up
udp_config iperf 5201
machine_of iperf -- iperf3 -s -p 5201
addr=$(address_of iperf)
primary=$(machine_field "$machine" primary)
host nft -f - <<END || fail "the test's rule for TCP is refused"
table ip test {
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr $addr tcp dport 5201 dnat to $primary
	}
}
END

# Sums of the receiver: lost datagrams and all of them.
measure() { # WHAT ARGS...
	local what=$1 sum
	shift
	client timeout 15 iperf3 -u -c "$addr" -p 5201 -t 1 -w 200K --json "$@" >"$work/iperf.json" 2>&1 ||
		fail "iperf3 fails, $what: $(grep '"error"' "$work/iperf.json")"
	sum=$(tr -d " \t\n" <"$work/iperf.json" | sed -n "s/.*\"sum\":{\([^}]*\)}.*/\1/p")
	packets=$(sed -n 's/.*"packets":\([0-9]*\).*/\1/p' <<<"$sum")
	lost=$(sed -n 's/.*"lost_packets":\([0-9]*\).*/\1/p' <<<"$sum")
	[ "${packets:-0}" -ge 200 ] || fail "only ${packets:-0} datagrams, $what"
	[ "$lost" = 0 ] || fail "$lost of $packets datagrams are lost, $what"
}
measure "upward" -b 10M -l 1000
measure "downward" -R -b 10M -l 1000
measure "four streams" -P 4 -b 3M -l 1000
measure "in fragments" -b 16M -l 8000
measure "in fragments, downward" -R -b 16M -l 8000
# The machine's traffic was counted by the data plane, not forwarded around it.
packets=$(host wherry doctor -j | sed -n 's/.*"rx_packets": *\([0-9]*\).*/\1/p' | head -n 1)
[ "$packets" -gt 2500 ] || fail "the data plane delivered only $packets packets"
pass
