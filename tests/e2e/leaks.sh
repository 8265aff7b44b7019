#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# wherryd holds nothing back: after rounds of deploys that succeed and fail, machines by hand, scaling,
# crashes, followers that are cut off and requests that make no sense, it has as many descriptors,
# threads and children as before and about the same memory, and the host has no links, namespaces or
# containers more. When the lab is down, nothing of it is there.
. "$(dirname "$0")/../lib/e2e.sh"

app=$(helper udp_app)
v1=$(image v1 "$app" v1)
quits=$(image quits "$app" quits 5000 192.0.2.99)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >fly.toml
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y
address=$(address_of web)
pid=$(host cat /run/wherry/wherryd.pid)

descriptors() { find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l; }
threads() { find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l; }
children() { cat /proc/"$pid"/task/*/children | wc -w; }
memory() { awk '/^VmRSS:/ {print $2}' "/proc/$pid/status"; }

round() {
	local id
	run_exit 0 wherry deploy
	run_exit 1 wherry deploy --image "$quits"
	run_exit 0 wherry machine run -q --rootfs / -- "$app" by-hand
	id=$(echo "$out" | tail -n 1)
	run_exit 1 wherry machine run -q --rootfs / -- /no/such/program
	host wherry machine exec "$id" -- true
	run_exit 0 wherry machine stop "$id"
	run_exit 0 wherry machine start "$id"
	run_exit 0 wherry machine destroy -f "$id"
	run_exit 0 wherry scale count 2
	run_exit 0 wherry scale count 1
	ask "$address" 5000 "exit 1" >/dev/null
	host timeout -s KILL 0.2 wherry logs -f >/dev/null 2>&1
	host timeout -s KILL 0.1 wherry deploy >/dev/null 2>&1
	head -c 3000 /dev/urandom | host timeout 0.2 nc -U /run/wherry/wherryd.sock >/dev/null
	run_exit 0 wherry doctor
	idle
}
only_one() { [ "$(machine_ids web | wc -l)" = 1 ] && ask "$address" 5000 hello >/dev/null; }
# Until the deploy that lost its client is over, too.
idle() { eventually 10 only_one || fail "not one machine: $(host wherry machine list -a web)"; sleep 0.3; idle_again; }
idle_again() { eventually 10 only_one || fail "not one machine: $(host wherry machine list -a web)"; }

round # whatever is made once is made now
sleep 1
before="$(descriptors) $(threads) $(children) $(veth_count)"
rss=$(memory)
round
settled() {
	after="$(descriptors) $(threads) $(children) $(veth_count)"
	[ "$after" = "$before" ]
}
eventually 5 settled || fail "descriptors, threads, children, links were $before and are $after: $(host ls -l "/proc/$pid/fd")"
[ "${before##* }" = 1 ] || fail "${before##* } links for one machine"
[ "$(podman ps --all --quiet --filter label=wherry.app=web --filter "ancestor=$v1" | wc -l)" = 1 ] || fail "containers are left"
grew=$(($(memory) - rss))
echo "descriptors, threads, children, links: $before; $grew KiB more"
# A sanitizer frees late.
[ $grew -lt 2000 ] || grep -q __asan_init "$build/wherryd" || fail "wherryd grew by $grew KiB in a round"
[ "$(host ls /var/lib/wherry/machines | wc -l)" = 1 ] || fail "directories of machines are left"
[ "$(host cat /run/wherry/wherryd.pid)" = "$pid" ] || fail "wherryd died on the way"
machines=$(machine_ids web)
check_sanitizers || fail "wherryd had complaints"
wherry lab down --name "$lab" >/dev/null
[ -z "$(lab_traces)" ] || fail "the lab left $(lab_traces)"
for id in $machines; do
	[ ! -e "/run/netns/wherry-$id" ] || fail "the lab left the namespace of $id"
	[ -z "$(podman ps --all --quiet --filter "name=wherry-$id")" ] || fail "the lab left the container of $id"
done
pass
