#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The first deploy of an app with a UDP service: refused in words without a dedicated IPv4, and then
# nothing was changed; done with one; two apps have two addresses; what an app had is free again when
# it is gone, and a pool of one address is soon exhausted.
#   client-1 -- internet -- host-1 (203.0.113.0/24, later one address of it)
. "$(dirname "$0")/../lib/e2e.sh"

probe=$(helper udp_probe)
v1=$(image v1 "$(helper udp_app)" v1)
dns=$(image dns "$(helper udp_app)" v1 53)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >web.toml
udp_toml dns "$dns" 53 >dns.toml

nothing_changed() {
	[ "$(host wherry ips list -a web -j)" = "[]" ] || fail "a refused deploy left addresses"
	[ "$(host wherry machine list -a web -j)" = "[]" ] || fail "a refused deploy left machines"
	expect_text '"Status": "pending"' "$(host wherry status -a web -j)"
	run_exit 3 wherry config show -a web
}

# Refused, not changed.
run_exit 3 wherry deploy -c web.toml
expect_text "wherry apps create web" "$out"
run_exit 0 wherry apps create web
run_exit 4 wherry deploy -c web.toml
expect_text "wherry ips allocate-v4 -a web" "$out"
[ "$(echo "$out" | wc -l)" = 1 ] || fail "more than a sentence: $out"
nothing_changed

# Before anything is built, too.
printf 'FROM scratch\n' >Dockerfile
grep -v 'build\|image' web.toml >unbuilt.toml
run_exit 4 wherry deploy -c unbuilt.toml
case "$out" in *STEP*) fail "built before it was refused: $out" ;; esac
rm Dockerfile

# On a terminal it offers to allocate the address. No: refused as before.
offer() { # ANSWER
	echo "$1" | host script -qec "wherry deploy -c web.toml" /dev/null 2>&1
}
out=$(offer n)
status=$?
expect_text "Allocate a dedicated IPv4 now?" "$out"
[ $status = 4 ] || fail "no to the offer exits with $status"
nothing_changed
out=$(offer y) || fail "yes to the offer: $out"
expect_text "Release v" "$out"
address=$(address_of web)
expect_text "v1 198.51.100.10:" "$(ask "$address" 5000 hello)"
id=$(machine_ids web)

# The second app, by -y: an address of its own.
run_exit 0 wherry apps create dns
run_exit 0 wherry deploy -y -c dns.toml
other=$(address_of dns)
[ -n "$other" ] && [ "$other" != "$address" ] || fail "two apps share $other"
expect_text "v1 198.51.100.10:" "$(ask "$other" 53 hello)"
ask "$other" 5000 hello && fail "a port of another app answers"

# TCP is said not to be served.
cat >>web.toml <<-TOML
	[[services]]
	  protocol = "tcp"
	  internal_port = 8080
	  [[services.ports]]
	    port = 80
	    handlers = ["http"]
TOML
run_exit 0 wherry deploy -c web.toml
expect_text "TCP service on port 80 is not served yet" "$out"
eventually 5 gone "$id" || fail "the machine before is still there"

# An address that is released no longer answers, and is given to the next who asks.
run_exit 0 wherry ips release "$address" -a web
expect_text "$address" "$out"
ask "$address" 5000 hello && fail "a released address answers"
run_exit 3 wherry ips release "$address" -a web
run_exit 0 wherry ips allocate-v4 -a dns
expect_text "$address" "$(host wherry ips list -a dns -j)"
expect_text "v1 198.51.100.10:" "$(ask "$address" 53 hello)"

# An app that is destroyed leaves nothing.
ids="$(machine_ids web) $(machine_ids dns)"
run_exit 0 wherry apps destroy web -y
run_exit 0 wherry apps destroy dns -y
run_exit 3 wherry status -a dns
# shellcheck disable=SC2086 # words
gone $ids || fail "something is left of the machines $ids"
[ "$(veth_count)" = 0 ] || fail "links are left: $(host ip -o link)"
[ "$(host wherry apps list -j)" = "[]" ] || fail "apps are left"
client "$probe" "$other" 53 ask hello && fail "an app that was destroyed answers"

# A pool of two: one is shared, so that one is left for a dedicated one.
host sed -i 's|^public_pools.*|public_pools = ["203.0.113.8/31"]|' /etc/wherry/wherryd.toml
wherry lab kill --name "$lab" host-1 wherryd
wherry lab start --name "$lab" host-1 wherryd >/dev/null
run_exit 0 wherry apps create web
run_exit 0 wherry apps create dns
run_exit 0 wherry ips allocate-v4 -a web
run_exit 4 wherry deploy -y -c dns.toml
expect_text "public IPv4 pools is taken" "$out"
run_exit 4 wherry ips allocate-v4 -a dns
expect_text "public_pools in /etc/wherry/wherryd.toml" "$out"
[ "$(host wherry ips list -a dns -j)" = "[]" ] || fail "a refused deploy left addresses"
run_exit 0 wherry deploy -y -c web.toml
expect_text "203.0.113.8" "$out"
expect_text "v1 198.51.100.10:" "$(ask 203.0.113.8 5000 hello)"
pass
