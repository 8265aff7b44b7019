#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What changes in a fleet costs no packet: a client that moves to another edge, machines that come
# and go, daemons that restart, an etcd that is away. A worker that dies is out of the tables soon.
#
#   client-1 -- edge-1 --+        +-- worker-1 -- app "a"
#                        +- mesh -+
#   client-2 -- edge-2 --+        +-- worker-2 -- app "b"
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

fleet_up --edges 2 --workers 2 --clients 2
probe_tool=$(helper udp_probe)
main_host=worker-1
udp_config echo 5000
machine_of echo -- "$(helper udp_app)" a
first=$machine
addr=$(address_of echo)
expect "client-1 gets no echo" eventually 5 probe --any-answer "$addr:5000" 10
expect "client-2 gets no echo" eventually 5 probe_at client-2 --any-answer "$addr:5000" 10

# begin NAME CLIENT COUNT INTERVAL_MS [new]: asks in the background; ended NAME waits, fills $line
begin() {
	on "$2" "$probe_tool" "$addr" 5000 "${@:3}" >"$work/$1.out" 2>&1 &
	echo $! >"$work/$1.pid"
	sleep 0.3
}
ended() {
	wait "$(cat "$work/$1.pid")"
	line=$(cat "$work/$1.out")
}
nothing_lost() { # NAME WHAT [PATTERN]
	ended "$1"
	expect_text "lost=0" "$line ($2)"
	expect_text "${3-changes=0}" "$line ($2)"
}
answers() { on "$1" wherry apps list >/dev/null 2>&1; }

# Another edge in the middle of a flow, there and back.
begin known client-1 1000 3
for edge in edge-2 edge-1 edge-2; do
	expect "the client does not move" wherry lab route --name "$lab" client-1 "$edge"
	sleep 0.5
done
nothing_lost known "the client moved to another edge"

# A second machine on the other worker: flows stay, new ones go to both; also for a client that
# moves while the tables change.
begin known client-1 2500 2
begin other client-2 2500 2
main_host=worker-2
machine_of echo -- "$(helper udp_app)" b
second=$machine
expect "the client does not move" wherry lab route --name "$lab" client-1 edge-1
both() {
	on "$1" "$probe_tool" "$addr" 5000 60 2 new >"$work/both.out" 2>&1
	grep -q 'a:' "$work/both.out" && grep -q 'b:' "$work/both.out"
}
expect "new flows by edge-1 do not reach both machines" eventually 5 both client-1
expect "new flows by edge-2 do not reach both machines" eventually 5 both client-2
nothing_lost known "a machine joined, client-1"
nothing_lost other "a machine joined, client-2"

# Every daemon is killed and comes back.
begin known client-1 2500 2
begin new client-2 600 8 new
for node in edge-1 edge-2 worker-1 worker-2; do
	expect "wherryd is not killed" wherry lab kill --name "$lab" "$node" wherryd
done
sleep 0.5
for node in edge-1 edge-2 worker-1 worker-2; do
	expect "wherryd does not start" wherry lab start --name "$lab" "$node" wherryd
done
nothing_lost known "all daemons were killed"
nothing_lost new "all daemons were killed, new flows" ""

# etcd away: traffic goes on, changes are refused in words, and everything catches up.
begin known client-1 2500 2
expect "etcd is not killed" wherry lab kill --name "$lab" store etcd
away() { ! host wherry apps create x-away >"$work/away" 2>&1; }
expect "a change is not refused while etcd is away" eventually 5 away
expect_text etcd "$(cat "$work/away")"
expect "reading does not work while etcd is away" host wherry status -a echo >/dev/null
expect "etcd does not start" wherry lab start --name "$lab" store etcd
expect "a change is refused for good" eventually 10 host wherry apps create x-back
seen() { on edge-2 wherry apps list | grep -q x-back; }
expect "edge-2 does not catch up" eventually 10 seen
nothing_lost known "etcd was away"

# A machine that goes keeps its flows for kill_timeout; then they move, and none is lost.
begin new client-2 600 8 new
main_host=worker-1
expect "destroy fails" host wherry machine destroy --force "$first" >/dev/null
nothing_lost new "a machine left, new flows" ""
answered_by() { on "$2" "$probe_tool" "$addr" 5000 ask hi | grep -q "^$1 "; }
expect "client-1 is not served by the machine that stayed" eventually 5 answered_by b client-1

# A worker dies: new flows avoid it within 1.5 s.
machine_of echo -- "$(helper udp_app)" c
both_again() {
	on client-1 "$probe_tool" "$addr" 5000 60 2 new >"$work/both.out" 2>&1
	grep -q 'b:' "$work/both.out" && grep -q 'c:' "$work/both.out"
}
expect "the new machine gets no flows" eventually 5 both_again
begin dying client-2 400 10 new
expect "the worker is not killed" wherry lab kill --name "$lab" worker-2
sleep 1.5
expect "flows are lost 1.5 s after a worker died" on client-1 "$probe_tool" "$addr" 5000 50 5 new
# Half the flows of up to 1.5 s were its.
ended dying
lost=$(sed -n 's/.*lost=\([0-9]*\).*/\1/p' <<<"$line")
[ "$lost" -gt 0 ] && [ "$lost" -lt 120 ] || fail "of 400 flows, one in 10 ms, $lost are lost: $line"
pass
