#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The hosts of a fleet by the command line: list, status, drain, undrain, remove; machines spread and
# are counted by region, move away from a host that drains or is lost; etcd away is said in words.
#
#   client-1 -- edge-1 (a) -- mesh --+-- worker-1 (a)
#                                    +-- worker-2 (b)
#                                    +-- worker-3 (a)
. "$(dirname "$0")/../lib/e2e.sh"

probe=$(helper udp_probe)
app=$(helper udp_app)
fleet_up --edges 1 --workers 3 --clients 1 --regions a,b
main_host=worker-1
cd "$work" || exit 1
image=$(image_on worker-1 web "$app" web)
edge() { on edge-1 "$@"; }
# The machines of web on a host, and in all.
on_host() { edge wherry machine list -a web -j | grep -c "\"host\": \"$1\""; }
spread() { echo "$(on_host worker-1)$(on_host worker-2)$(on_host worker-3)"; }
has_spread() { [ "$(spread)" = "$1" ]; }
status_is() { edge wherry hosts list | grep -E "^ *[0-9]+ +$1 .* $2 " >/dev/null; }

# Every host is there, and measures each other one.
for name in edge-1 worker-1 worker-2 worker-3; do
	expect "$name is not ready" eventually 5 status_is "$name" ready
done
measured() { [ "$(edge wherry hosts status | grep -c '[0-9]ms.*[0-9]ms.*[0-9]ms')" = 4 ]; }
expect "a round trip is missing: $(edge wherry hosts status)" eventually 15 measured
expect_text "10.64." "$(edge wherry hosts status worker-2)"
run_exit 3 wherry hosts status worker-9
expect_text "wherry hosts list" "$out"
edge wherry hosts list | awk 'length > 80 { exit 1 }' || fail "hosts list is wider than 80 columns"
sizes=$(edge wherry doctor -j | tr -d ' \n')
for size in '"mesh_bytes":1440' '"largest_bytes":1428' '"payload_bytes":1400' '"overhead_bytes":72'; do
	expect_text "$size" "$sizes"
done

# Machines spread over regions, then hosts; a count of a region is that region's alone.
udp_toml web "$image" >fly.toml
sed -i '/^app/a kill_timeout = 5' fly.toml
printf '[deploy]\n  restart_elsewhere = true\n' >>fly.toml
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y
run_exit 0 wherry scale count 2
[ "$(on_host worker-2)" = 1 ] || fail "two machines are in one region: $(edge wherry machine list -a web)"
run_exit 0 wherry scale count 2 --region b
expect_text "2 machines in the process group app in region b" "$out"
[ "$(on_host worker-2)" = 2 ] || fail "not two in region b: $(edge wherry machine list -a web)"
expect_text "2 in b, 1 elsewhere" "$(host wherry scale show)"
run_exit 2 wherry scale count 1 --region nowhere
expect_text "no host is in region nowhere" "$out"
run_exit 0 wherry scale count 0
run_exit 0 wherry scale count 3
has_spread 111 || fail "three machines on three workers: $(edge wherry machine list -a web)"
host wherry services list | grep -E ' (a,b|b,a) +3' >/dev/null ||
	fail "not the regions of the machines: $(host wherry services list)"
address=$(address_of web)
expect "client-1 gets no answer" eventually 5 client "$probe" "$address" 5000 ask hi

# A machine of another host: what needs that host says so.
elsewhere=$(edge wherry machine list -a web -j | grep -A 40 '"id"' | tr -d ' ",' |
	awk -F: '$1 == "id" { id = $2 } $1 == "host" && $2 == "worker-2" { print id; exit }')
run_exit 4 wherry machine exec "$elsewhere" -- true
expect_text "is on host worker-2; run this there" "$out"
run_exit 4 wherry logs -m "$elsewhere"
expect_text "is on host worker-2; run this there" "$out"

# Drain: what deploy made moves without a lost packet, what was run by hand stays and is named.
main_host=worker-3
run_exit 0 wherry machine run -q -a web --rootfs / -- "$app" web
by_hand=$(echo "$out" | tail -n 1)
main_host=worker-1
on client-1 "$probe" "$address" 5000 6000 3 new >new.out 2>&1 &
new=$!
run_exit 0 wherry hosts drain worker-3
expect_text "1 machine stays" "$out"
expect_text "$by_hand" "$out"
expect_text "deploy did not make it" "$out"
[ "$(on_host worker-3)" = 1 ] || fail "machines are left: $(edge wherry machine list -a web)"
wait $new || true
drops() { for node in edge-1 worker-1 worker-2 worker-3; do on "$node" wherry doctor | sed -n "/^DROPPED/,/^PASSED/s/^/$node: /p"; done; }
grep -q "lost=0 refused=0" new.out || fail "draining lost packets: $(cat new.out) $(drops)"
expect "worker-3 is not draining" status_is worker-3 draining
run_exit 0 wherry scale count 5
[ "$(on_host worker-3)" = 1 ] || fail "a host that drains got a machine"
run_exit 0 wherry hosts undrain worker-3
run_exit 0 wherry scale count 6
[ "$(on_host worker-3)" = 2 ] || fail "a host that was undrained got none: $(spread)"

# The last host of a region that has a count cannot be emptied; that is said.
run_exit 0 wherry scale count 1 --region b
run_exit 4 wherry hosts drain worker-2
expect_text "in region b" "$out"
run_exit 0 wherry hosts undrain worker-2
run_exit 0 wherry scale count 0
run_exit 0 wherry scale count 6
has_spread 232 || fail "six machines on three workers, with the one by hand: $(spread)"

# Removal: not of who lives, has machines, or was asked.
run_exit 4 wherry hosts remove worker-3
expect_text "alive" "$out"
run_exit 4 wherry hosts remove worker-1 --force
expect_text "this host itself" "$out"

# A worker that is lost: told, its machines are made elsewhere, it can be removed.
before=$(edge wherry machine list -a web -q | wc -l)
expect "worker-3 is not killed" wherry lab kill --name "$lab" worker-3
expect "worker-3 is not down: $(edge wherry hosts list)" eventually 20 status_is worker-3 down
expect_text "no packet of the mesh comes back from worker-3" "$(edge wherry doctor 2>&1)"
run_exit 4 wherry machine destroy "$by_hand"
expect_text "worker-3, which is down" "$out"
run_exit 0 wherry machine destroy --force "$by_hand"
works() { [ "$(edge wherry machine list -a web | grep 'worker-[12] ' | grep -c started)" = 6 ]; }
expect "the lost machines are not made elsewhere: $(edge wherry machine list -a web)" eventually 60 works
run_exit 0 wherry hosts remove worker-3 --force
status_is worker-3 . && fail "worker-3 is still there: $(edge wherry hosts list)"
[ "$(edge wherry machine list -a web -q | wc -l)" = 6 ] || fail "machines of it are left ($before before)"
expect "client-1 gets no answer" eventually 5 client "$probe" "$address" 5000 ask hi

# The catalog as a file, into another store.
run_exit 0 wherry catalog export "$work/catalog" --store etcd://192.0.2.5:2379
grep -q '"apps/web"' "$work/catalog" || fail "the app is not in the export"
grep -q 'host-alive/\|host-probes/' "$work/catalog" && fail "signs of life are in the export"
run_exit 0 wherry catalog import "$work/catalog" --store "$work/copy.db"
run_exit 4 wherry catalog import "$work/catalog" --store "$work/copy.db"
run_exit 0 wherry catalog export "$work/again" --store "$work/copy.db"
cmp <(tail -n +2 "$work/catalog") <(tail -n +2 "$work/again") || fail "the copy is another catalog"
run_exit 3 wherry catalog export - --store "$work/nothing.db"
run_exit 2 wherry catalog export - --store http://192.0.2.5

last=$(machine_ids web | tail -n 1)

# etcd away: reads work and say so, changes are refused.
expect "etcd is not killed" wherry lab kill --name "$lab" store etcd
away() { edge wherry status -a web 2>&1 | grep -q "the catalog is away"; }
expect "nobody says that etcd is away" eventually 10 away
expect_text "is away" "$(edge wherry doctor 2>&1)"
for change in "scale count 4" "hosts drain worker-2" "apps create other" "machine stop $last"; do
	# shellcheck disable=SC2086
	run_exit 1 wherry $change
	expect_text "192.0.2.5:2379" "$out"
done
expect "client-1 gets no answer" client "$probe" "$address" 5000 ask hi
expect "etcd does not start" wherry lab start --name "$lab" store etcd
created() { host wherry apps create other; }
expect "etcd is back and changes are refused" eventually 10 created
pass
