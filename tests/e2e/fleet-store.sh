#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What may happen to the catalog of a fleet, and what it does to traffic: nothing. Records of a newer
# version and garbage among the keys, an etcd that does not answer, is killed, forgets what a daemon
# has not read yet, or loses everything. Changes are refused in words meanwhile, and afterwards all is
# as before.
#
#   client-1 -- edge-1 -- mesh --+-- worker-1 -- app "a"
#                                +-- worker-2 -- app "b"      store: etcd
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"
for tool in curl jq; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done

fleet_up --edges 1 --workers 2 --clients 1
nodes=(edge-1 worker-1 worker-2)
etcd=http://192.0.2.5:2379
probe_tool=$(helper udp_probe)
app_tool=$(helper udp_app)

# The catalog as etcd has it: raw values by their keys.
encode() { printf %s "$1" | base64 -w 0; }
ask_etcd() { on store curl -s -m 5 "$etcd/v3/kv/$1" -d "$2"; }
put() { ask_etcd put "{\"key\":\"$(encode "wherry/$1")\",\"value\":\"$(encode "$2")\"}" | grep -q revision || fail "cannot put $1"; }
delete() { ask_etcd deleterange "{\"key\":\"$(encode "wherry/$1")\"}" | grep -q revision || fail "cannot delete $1"; }
get() { ask_etcd range "{\"key\":\"$(encode "wherry/$1")\"}" | jq -r '.kvs[0].value' | base64 -d; }
revision() { ask_etcd range "{\"key\":\"$(encode "wherry/fleet")\"}" | jq -r .header.revision; }

log_of() { echo "/var/lib/wherry-lab/$lab/$1/wherryd.log"; }
logged() { grep -q -e "$2" "$(log_of "$1")"; }       # NODE PATTERN
forget_logs() { for node in "${nodes[@]}"; do : >"$(log_of "$node")"; done; }
apps_at() { on "$1" wherry apps list 2>/dev/null | awk '{print $1}' | grep -qx "$2"; } # NODE APP
knows_not() { ! apps_at "$1" "$2"; }
is_at() { [ "$(on "$1" wherry machine status "$2" -j | jq -r .state)" = "$3" ]; } # NODE ID STATE
begin() { # a known flow and new ones, until ended
	# Not by "on": it is the program itself that is told to end.
	wherry lab exec --name "$lab" client-1 -- "$probe_tool" "$addr" 5000 100000 5 >"$work/known.out" 2>&1 &
	known=$!
	wherry lab exec --name "$lab" client-1 -- "$probe_tool" "$addr" 5000 100000 10 new >"$work/new.out" 2>&1 &
	new=$!
	sleep 0.5
}
ended() { # WHAT
	kill "$known" "$new"
	wait "$known" || fail "the flow that was there lost datagrams while $1: $(cat "$work/known.out")"
	wait "$new" || fail "new flows lost datagrams while $1: $(cat "$work/new.out")"
	# On a machine that is too busy for probes a host seems to be gone for a moment.
	for node in "${nodes[@]}"; do
		logged "$node" state=unreachable && return
	done
	expect_text changes=0 "$(cat "$work/known.out")"
}
refused() { # WORDS CMD...
	local words=$1
	shift
	run "$@"
	[ "$status" != 0 ] || fail "\"$*\" is not refused"
	expect_text "$words" "$out"
}

main_host=worker-1
udp_config echo 5000
machine_of echo -- "$app_tool" a
first=$machine
main_host=worker-2
machine_of echo -- "$app_tool" b
second=$machine
main_host=edge-1
addr=$(address_of echo)
both() {
	on client-1 "$probe_tool" "$addr" 5000 60 2 new >"$work/both.out" 2>&1 &&
		grep -q 'a:' "$work/both.out" && grep -q 'b:' "$work/both.out"
}
expect "the two machines do not serve" eventually 10 both

# --- values that this version cannot read ---------------------------------------------------
begin
forget_logs
worker_2=$(on worker-1 wherry hosts list -j | jq -r '.[] | select(.name == "worker-2") | .id')
host_key=hosts/$(printf %05d "$worker_2")
keys=("apps/echo" "machines/$first" "machines/$second" "ips/$addr" "releases/echo/0000000001" "$host_key" fleet)
bad=('{"schema": 9, "name": {"first": "echo"}}' 'not JSON' '{"id": "'"$second"'", "wish": "dancing"}' '[]'
	'{"number": 1, "app": "echo", "config": "[[services]\n"}' 'null' '{"machine_pool": 12}')
for i in "${!keys[@]}"; do
	get "${keys[i]}" >"$work/value-$i"
	[ -s "$work/value-$i" ] || fail "${keys[i]} is not in the catalog"
	put "${keys[i]}" "${bad[i]}"
done
strange=(apps/other apps/Not-A-Name machines/zzz hosts/77777 hosts/00042 hosts/abc host-alive/x host-probes/00001x
	ips/banana releases/none/0000000001 releases/echo/0000000009 slices/banana networks/banana settled/none unknown/key)
for key in "${strange[@]}"; do
	put "$key" '{"this": ["is", 1, null]}'
done
put machines/deadbeef000000 "$(sed "s/$first/deadbeef000001/" "$work/value-1")"
put ips/203.0.113.99 "$(cat "$work/value-3")"
for node in "${nodes[@]}"; do
	for key in "${keys[@]}" apps/other ips/banana ips/203.0.113.99 machines/deadbeef000000 hosts/abc; do
		expect "$node does not say that it cannot read $key" eventually 5 logged "$node" "catalog-record-skipped.*key=$key"
	done
done
expect "the app is not there any more" host wherry status -a echo >/dev/null
refused "in a form that this version cannot read" wherry machine stop "$first"
# A daemon that starts now must not undo what runs either.
expect "wherryd is not killed" wherry lab kill --name "$lab" edge-1 wherryd
ended "the catalog held garbage"
for i in "${!keys[@]}"; do
	put "${keys[i]}" "$(cat "$work/value-$i")"
done
for key in "${strange[@]}" machines/deadbeef000000 ips/203.0.113.99; do
	delete "$key"
done
expect "wherryd does not start" wherry lab start --name "$lab" edge-1 wherryd
expect "edge-1 does not come back" eventually 10 apps_at edge-1 echo
expect "the two machines do not serve after the repair" eventually 10 both
begin
expect "a machine is not stopped after the repair" host wherry machine stop "$second" >/dev/null
expect "worker-1 does not hear of it" eventually 5 is_at worker-1 "$second" stopped
expect "a machine is not started after the repair" host wherry machine start "$second" >/dev/null
kill "$new"
expect "both do not serve again" eventually 5 both
kill "$known"

# --- an etcd that does not answer -----------------------------------------------------------
begin
expect "etcd is not paused" wherry lab pause --name "$lab" store etcd
before=$SECONDS
refused etcd wherry apps create while-slow
[ $((SECONDS - before)) -lt 10 ] || fail "the refusal took $((SECONDS - before)) s"
refused etcd wherry machine stop "$first"
expect "reading does not work while etcd is paused" host wherry status -a echo >/dev/null
sleep 3
expect "etcd does not go on" wherry lab resume --name "$lab" store etcd
created() { apps_at edge-1 after-slow || host wherry apps create after-slow; }
expect "changes are refused for good" eventually 10 created
expect "worker-2 does not catch up" eventually 10 apps_at worker-2 after-slow
ended "etcd was slow"

# --- a program that ends while etcd is killed -----------------------------------------------
begin
kill "$new"
expect "etcd is not killed" wherry lab kill --name "$lab" store etcd
away() { ! host wherry apps create while-away >"$work/away" 2>&1; }
expect "a change is not refused" eventually 5 away
expect_text etcd "$(cat "$work/away")"
# Not the one that has the known flow.
ends=$second owner=worker-2
pid=$(on $owner wherry machine status "$ends" -j | jq -r .pid)
on $owner kill -9 "$pid"
restarted() { [ "$(on "$1" wherry machine status "$ends" -j | jq -r '.restarts, .state' | xargs)" = "1 started" ]; }
expect "the machine is not restarted while etcd is away" eventually 10 restarted $owner
expect "etcd does not start" wherry lab start --name "$lab" store etcd
expect "edge-1 does not hear of what happened meanwhile" eventually 15 restarted edge-1
kill "$known"
wait "$known"
expect "both do not serve" eventually 10 both

# --- changes that are compacted before a daemon has read them -------------------------------
host wherry apps create doomed >/dev/null || fail "an app is not made"
expect "edge-1 does not know the app" eventually 5 apps_at edge-1 doomed
begin
expect "the daemon is not paused" wherry lab pause --name "$lab" edge-1 wherryd
main_host=worker-1
host wherry apps create missed >/dev/null || fail "an app is not made"
host wherry apps destroy -y doomed >/dev/null || fail "an app is not destroyed"
host wherry ips allocate-v4 -a missed >/dev/null || fail "an address is not allocated"
missed_addr=$(address_of missed)
for i in {1..200}; do put unknown/key "$i"; done
ask_etcd compaction "{\"revision\": $(revision), \"physical\": true}" >/dev/null
# What the daemon had not taken from its connection yet is lost with it.
on store ss -K sport = :2379 >/dev/null 2>&1
expect "the daemon does not go on" wherry lab resume --name "$lab" edge-1 wherryd
main_host=edge-1
expect "edge-1 does not catch up with what was made" eventually 15 apps_at edge-1 missed
expect "edge-1 does not catch up with what was destroyed" eventually 15 knows_not edge-1 doomed
expect_text "$missed_addr" "$(host wherry ips list -a missed)"
ended "revisions were compacted"

# --- an etcd that has lost everything -------------------------------------------------------
wherry_store=etcd://192.0.2.5:2379
on store wherry catalog export --store $wherry_store "$work/catalog" >/dev/null || fail "the catalog is not exported"
begin
forget_logs
expect "etcd is not killed" wherry lab kill --name "$lab" store etcd
on store rm -rf /run/wherry/etcd
expect "etcd does not start" wherry lab start --name "$lab" store etcd
for node in "${nodes[@]}"; do
	expect "$node does not say that the catalog is another one" eventually 15 logged "$node" "catalog-not-read.*not in the catalog any more"
done
sleep 2
expect "the apps are gone with the catalog" apps_at edge-1 echo
on store wherry catalog import --force --store $wherry_store "$work/catalog" >"$work/import" 2>&1 ||
	fail "the catalog is not imported: $(cat "$work/import")"
for node in "${nodes[@]}"; do
	expect "$node does not follow the catalog that was brought back" eventually 15 logged "$node" catalog-read-again
done
ended "etcd had lost everything"
expect "a change is refused" host wherry machine stop "$second" >/dev/null
expect "worker-1 does not hear of changes" eventually 5 is_at worker-1 "$second" stopped
pass
