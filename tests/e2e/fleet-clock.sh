#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The hosts' clocks jump, by a day and back, by years: nobody is taken for dead, no machine leaves, no
# packet is lost, and changes go on. The wall clock is for people; nothing is decided by it.
#
#   client-1 -- edge-1 --+        +-- worker-1 -- app "a"
#                        +- mesh -+
#               edge-2 --+        +-- worker-2
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

preload=$work/clock_jump.so
${CC:-gcc} -std=gnu17 -D_GNU_SOURCE -O2 -shared -fPIC -w -o "$preload" "$here/tests/lib/clock_jump.c" ||
	fail "clock_jump.c does not compile"
nm "$build/wherryd" 2>/dev/null | grep -q __asan_init && skip "a sanitizer does not like to be preloaded after"
export CLOCK_JUMP_FILE=$work/offset
echo 0 >"$CLOCK_JUMP_FILE"
fleet_up --edges 2 --workers 2 --clients 1
nodes="edge-1 edge-2 worker-1 worker-2"
for node in $nodes; do
	wherry lab kill --name "$lab" "$node" wherryd || fail "wherryd is not killed"
	LD_PRELOAD=$preload wherry lab start --name "$lab" "$node" wherryd >"$work/start.log" 2>&1 ||
		fail "wherryd does not start: $(cat "$work/start.log")"
	pid=$(cat "/run/wherry-lab/$lab/$node.run/wherryd.pid")
	grep -q clock_jump "/proc/$pid/maps" || fail "the clock of $node cannot be made to jump"
done
main_host=worker-1
udp_config echo 5000
machine_of echo -- "$(helper udp_app)" a
addr=$(address_of echo)
expect "the client gets no echo" eventually 5 probe --any-answer "$addr:5000" 10
wherry lab exec --name "$lab" client-1 -- "$(helper udp_probe)" "$addr" 5000 100000 5 >"$work/flow" 2>&1 &
flow=$!

all_ready() { [ "$(on "$1" wherry hosts list -j | jq -r '.[].status' | sort | uniq -c | xargs)" = "4 ready" ]; }
shows_year() { # YEAR: what wherryd writes down has the clock's time
	on worker-1 wherry apps create "year-$1" -j | grep -q "\"$1-"
}
for jump in 86400 -86400 630720000 -315360000 0; do
	echo "$jump" >"$CLOCK_JUMP_FILE"
	sleep 3 # leases are kept alive and hosts are probed more often than that
	for node in $nodes; do
		expect "after a jump of $jump s a host is not ready, says $node" eventually 5 all_ready "$node"
	done
	expect "after a jump of $jump s no app can be made" on edge-2 wherry apps create "jump${jump/-/m}" >/dev/null
	expect "after a jump of $jump s edge-1 does not hear of it" \
		eventually 5 on edge-1 wherry status -a "jump${jump/-/m}"
done
echo 630720000 >"$CLOCK_JUMP_FILE"
expect "the preloaded clock is not the one that is used" shows_year "$(date -u -d "+7300 days" +%Y)"
kill $flow
wait $flow
expect_text "lost=0" "$(cat "$work/flow")"
grep -h 'state=unreachable\|level=error' "/var/lib/wherry-lab/$lab"/*/wherryd.log && fail "hosts or daemons had a problem"
[ "$(machine_field "$machine" state)" = started ] || fail "the machine is not started any more"
[ "$(machine_field "$machine" restarts)" = 0 ] || fail "the machine was restarted"
pass
