#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The same app, served by a fleet: clients come in by two edges, datagrams cross the encrypted mesh
# to machines on two workers, answers leave by the edge they came in by.
#
#   client-1 -- edge-1 (a) --+          +-- worker-1 (a) -- app
#                            +-- mesh --+
#   client-2 -- edge-2 (b) --+          +-- worker-2 (b) -- app
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

fleet_up
main_host=worker-1
udp_config echo 5000
udp_app --port 5000
first=$machine
addr=$(address_of echo)
expect_text 203.0.113. "$addr"

# One machine in region a: both edges use it.
expect "client-1 gets no echo" eventually 5 probe "$addr:5000" 100
expect "client-2 gets no echo by the other edge" eventually 5 probe_at client-2 "$addr:5000" 100
expect "the app does not see client-1" log_says echo "from 198.51.100.10:"
expect "the app does not see client-2" log_says echo "from 198.51.100.11:"

# Sizes: whole, with DF to the limit, fragmented on the way and by the client.
for size in 0 1 100 1200 1392 1400; do
	expect "no echo of $size bytes" probe "$addr:5000" "$size"
done
for size in 1401 1472 1473 3000 20000 65507; do
	expect "no echo of $size bytes in fragments" probe --fragment "$addr:5000" "$size"
done
expect "1400 bytes with DF do not pass" probe --df "$addr:5000" 1400

# On the mesh: minimal encapsulation, mesh addresses and the machine's outside, read by tcpdump.
service=$(machine_field "$first" service)
on worker-1 timeout 20 tcpdump -n -v -l -i wherry0 ip proto 55 >"$work/mesh.cap" 2>"$work/mesh.err" &
at_exit "kill $! 2>/dev/null"
eventually 5 grep -q "listening on" "$work/mesh.err" || fail "tcpdump does not start: $(cat "$work/mesh.err")"
expect "no echo during the capture" probe --from 198.51.100.10:40001 "$addr:5000" 20
eventually 3 grep -q "> $service: mobile: \[S\] 198.51.100.10 > $addr (oproto=17)" "$work/mesh.cap" ||
	fail "the way in is not as expected: $(head -n 4 "$work/mesh.cap")"
eventually 3 grep -q "$service > .*: mobile: \[S\] $addr > 198.51.100.10 (oproto=17)" "$work/mesh.cap" ||
	fail "the way back is not as expected: $(head -n 4 "$work/mesh.cap")"
grep -v mobile "$work/mesh.cap" | grep -q 198.51.100 && fail "a client's address is outside on the mesh"

# A second machine in the other region: each edge prefers the one of its own; known flows stay.
main_host=worker-2
udp_app --port 5000 --id second
second=$machine
client_of() { [ "$(on "$2" "$(helper udp_probe)" "$addr" 5000 ask hi)" = "$1" ]; }
expect "client-2 does not reach the machine of its region" eventually 5 client_of second client-2
expect "client-1 does not stay with its own region" client_of hi client-1
for node in edge-1 edge-2 worker-1 worker-2; do
	for reason in malformed mesh_malformed mesh_unknown_host mesh_not_allowed no_edge too_big; do
		count=$(on "$node" wherry doctor -j | sed -n "s/.*\"$reason\": *\([0-9]*\).*/\1/p" | head -n 1)
		[ "$count" = 0 ] || fail "$node dropped $count packets: $reason"
	done
done
pass
