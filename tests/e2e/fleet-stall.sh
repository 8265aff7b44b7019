#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A worker dies while the store does not answer, and daemons wait for it: it is out of the edges'
# tables soon all the same.
#
#   client-1 -- edge-1 --+        +-- worker-1 -- app "a"
#                        +- mesh -+
#   client-2 -- edge-2 --+        +-- worker-2 -- app "b"      store: etcd, stopped
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

fleet_up --edges 2 --workers 2 --clients 2
probe_tool=$(helper udp_probe)
main_host=worker-1
udp_config echo 5000
machine_of echo -- "$(helper udp_app)" a
addr=$(address_of echo)
main_host=worker-2
machine_of echo -- "$(helper udp_app)" b
both() {
	on "$1" "$probe_tool" "$addr" 5000 60 2 new >"$work/both.out" 2>&1
	grep -q 'a:' "$work/both.out" && grep -q 'b:' "$work/both.out"
}

# At several moments of what daemons do by the clock.
for after in 0 0.4 0.9 1.3; do
	expect "new flows by edge-1 do not reach both machines" eventually 20 both client-1
	expect "new flows by edge-2 do not reach both machines" eventually 20 both client-2
	expect "etcd is not paused" wherry lab pause --name "$lab" store etcd
	# Someone wants a change: that call waits for the store, and the daemon with it.
	for node in edge-1 edge-2; do
		on "$node" wherry apps create "x-$node" >/dev/null 2>&1 &
		calls+=($!)
	done
	sleep "$after"
	expect "the worker is not paused" wherry lab pause --name "$lab" worker-2
	sleep 1.7
	for client in client-1 client-2; do
		on $client "$probe_tool" "$addr" 5000 50 5 new >"$work/late.out" 2>&1 ||
			fail "1.7 s after a worker died, $after s after the store, $client loses flows: $(cat "$work/late.out")"
	done
	wait "${calls[@]}"
	calls=()
	expect "the worker does not go on" wherry lab resume --name "$lab" worker-2
	expect "etcd does not go on" wherry lab resume --name "$lab" store etcd
done
pass
