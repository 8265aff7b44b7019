#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Releases of an app in a fleet, asked for at an edge: its machines spread over the workers, a new
# release takes over without a datagram lost, a deploy that fails or whose daemon is killed leaves
# nothing on any host, two at once do not mix, machines are stopped, started and destroyed from
# wherever one is, and an app that is destroyed is gone from every host.
#
#   client-1 -- edge-1 --+-- mesh --+-- worker-1
#   client-2 -- edge-2 --+          +-- worker-2      etcd
. "$(dirname "$0")/../lib/e2e.sh"
command -v jq >/dev/null || skip "jq is not installed"

fleet_up --edges 2 --workers 2 --clients 2
main_host=edge-1
probe=$(helper udp_probe)
app=$(helper udp_app)
# Each edge builds its own; workers get them from there.
for node in edge-1 edge-2; do
	v1=$(image_on $node v1 "$app" v1)
	v2=$(image_on $node v2 "$app" v2)
	v3=$(image_on $node v3 "$app" v3)
	quits=$(image_on $node quits "$(helper machine_app)" print enough exit 3)
done
cd "$work" || exit 1
for version in "$v1" "$v2" "$v3" "$quits"; do
	udp_toml web "$version" | sed '1i kill_timeout = 4' >"$(basename "$version" | sed 's/.*-//').toml"
done

machines() { host wherry machine list -a web -j; }
ids() { machines | jq -r '.[].id'; }
places() { machines | jq -r '.[].host' | sort | uniq -c | awk '{print $2 ":" $1}' | xargs; }
count_is() { [ "$(ids | wc -l)" = "$1" ]; }
containers() { for node in worker-1 worker-2; do on $node podman ps --all --quiet --filter name=wherry-; done | wc -l; }
containers_are() { [ "$(containers)" = "$1" ]; }
answered_only_by() { [ "$(on "$1" "$probe" "$address" 5000 40 2 new | sed 's/.*by=\([a-z0-9]*\):40 .*/\1/')" = "$2" ]; }
begin() {
	wherry lab exec --name "$lab" client-1 -- "$probe" "$address" 5000 100000 5 >one-flow &
	one_flow=$!
	wherry lab exec --name "$lab" client-2 -- "$probe" "$address" 5000 100000 5 new >new-flows &
	new_flows=$!
	sleep 0.5
}
drops() { for node in edge-1 edge-2 worker-1 worker-2; do on $node wherry doctor -j | jq -c "{\"$node\": [.counters.drops // .drops // {} | to_entries[] | select(.value > 0)]}"; done; }
ended() { # WHAT [LOST]: how many of the flow that is there may be lost
	local lost
	kill "$one_flow" "$new_flows"
	wait "$new_flows"
	lost=$(sed -n 's/.*lost=\([0-9]*\) .*/\1/p' new-flows)
	# Up to two answers may be under way at the moment in which their machine is forgotten.
	[ "$lost" -le 2 ] || fail "new flows lost datagrams while $1: $(cat new-flows) $(drops)"
	wait "$one_flow"
	lost=$(sed -n 's/.*lost=\([0-9]*\) .*/\1/p' one-flow)
	[ "$lost" -le "${2:-0}" ] || fail "a flow lost datagrams while $1: $(cat one-flow)"
}

# --- machines on both workers ---------------------------------------------------------------
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y -c v1.toml
address=$(address_of web)
run_exit 0 wherry scale count -y -a web 4
count_is 4 || fail "there are not 4 machines: $(machines)"
[ "$(places)" = "worker-1:2 worker-2:2" ] || fail "the machines are on $(places)"
containers_are 4 || fail "there are $(containers) containers"
expect "client-1 is not served" eventually 10 answered_only_by client-1 v1
expect "client-2 is not served" eventually 10 answered_only_by client-2 v1

# --- a new release --------------------------------------------------------------------------
old=$(ids)
begin
run_exit 0 wherry deploy -y -c v2.toml
# The flow that never rests is moved when kill_timeout is over; what is on its way then may be lost.
ended "a release was deployed" 3
count_is 4 || fail "there are not 4 machines: $(machines)"
[ "$(places)" = "worker-1:2 worker-2:2" ] || fail "the new machines are on $(places)"
expect "client-1 is not served by the new release" eventually 10 answered_only_by client-1 v2
expect "client-2 is not served by the new release" eventually 10 answered_only_by client-2 v2
# shellcheck disable=SC2086
gone $old || fail "something is left of the old machines"
containers_are 4 || fail "there are $(containers) containers"

# --- deploys that come to nothing -----------------------------------------------------------
serving=$(ids)
begin
run wherry deploy -y -c quits.toml
[ "$status" = 1 ] || fail "a deploy of what ends at once is no failure: $out"
expect_text "release v2 goes on serving" "$out"
ended "a deploy failed"
expect "the failed deploy leaves machines" eventually 10 count_is 4
[ "$(ids)" = "$serving" ] || fail "the machines changed: $(ids)"
expect "the failed deploy leaves containers" eventually 10 containers_are 4

begin
host wherry deploy -y -c v3.toml >killed.log 2>&1 &
deploy=$!
held() { [ "$(ids | wc -l)" -gt 4 ]; }
expect "the deploy does not begin" eventually 10 held
expect "wherryd is not killed" wherry lab kill --name "$lab" edge-1 wherryd
wait $deploy && fail "a deploy whose daemon was killed is done: $(cat killed.log)"
expect "wherryd does not start" wherry lab start --name "$lab" edge-1 wherryd
expect "held machines stay when their daemon was killed" eventually 15 count_is 4
[ "$(ids)" = "$serving" ] || fail "the machines changed: $(ids)"
expect "the killed deploy leaves containers" eventually 10 containers_are 4
# The host itself does not come back: the workers let go of what it held.
host wherry deploy -y -c v3.toml >killed.log 2>&1 &
deploy=$!
expect "the deploy does not begin" eventually 10 held
expect "wherryd is not killed" wherry lab kill --name "$lab" edge-1 wherryd
wait $deploy
main_host=edge-2
expect "held machines stay when their host is gone" eventually 25 count_is 4
[ "$(ids)" = "$serving" ] || fail "the machines changed: $(ids)"
expect "wherryd does not start" wherry lab start --name "$lab" edge-1 wherryd
ended "deploys were killed"
main_host=edge-1
expect "edge-1 does not come back" eventually 10 count_is 4

# --- two at once ----------------------------------------------------------------------------
on edge-1 wherry deploy -y -c "$work/v3.toml" >first.log 2>&1 &
deploy=$!
main_host=edge-2
expect "the deploy does not begin" eventually 10 held
run wherry deploy -y -c v1.toml
[ "$status" = 1 ] || [ "$status" = 4 ] || fail "a second deploy is not refused ($status): $out"
expect_text "is being deployed or scaled from host edge-1 already" "$out"
wait $deploy || fail "the first deploy failed: $(cat first.log)"
expect "there are not 4 machines in the end" eventually 10 count_is 4
expect "client-2 is not served by the first of two" eventually 10 answered_only_by client-2 v3
# Begun at the same moment: whatever becomes of them, in the end one release serves.
on edge-1 wherry deploy -y -c "$work/v1.toml" >first.log 2>&1 &
deploy=$!
on edge-2 wherry deploy -y -c "$work/v2.toml" >second.log 2>&1 &
second=$!
wait $deploy
first_status=$?
wait $second
second_status=$?
[ $first_status = 0 ] || [ $second_status = 0 ] || fail "both failed: $(cat first.log second.log)"
winner=v1
[ $second_status = 0 ] && winner=v2
expect "there are not 4 machines after two deploys at once" eventually 15 count_is 4
expect "not one release serves" eventually 15 answered_only_by client-1 $winner
expect "two deploys at once leave containers" eventually 15 containers_are 4

# --- machines elsewhere ---------------------------------------------------------------------
main_host=edge-1
one=$(ids | head -n 1)
is() { [ "$(on "$1" wherry machine status "$one" -j | jq -r .state)" = "$2" ]; }
run_exit 0 wherry machine stop "$one"
is edge-1 stopped || fail "the stopped machine is not stopped"
expect "the other edge does not hear of it" eventually 5 is edge-2 stopped
containers_are 4 || containers_are 3 || fail "there are $(containers) containers"
run_exit 0 wherry machine start "$one"
is edge-1 started || fail "the started machine is not started"
run_exit 0 wherry machine destroy --force "$one"
count_is 3 || fail "the destroyed machine is still there"
gone "$one" || fail "something is left of the destroyed machine"

# --- the end --------------------------------------------------------------------------------
left=$(ids)
run_exit 0 wherry apps destroy -y web
# shellcheck disable=SC2086
gone $left || fail "something is left of the app's machines"
containers_are 0 || fail "there are $(containers) containers"
for node in edge-1 edge-2 worker-1 worker-2; do
	forgotten() { ! on $node wherry apps list | grep -q web; }
	expect "$node still knows the app" eventually 5 forgotten
done
pass
