#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A lab of many hosts: addresses, regions, each client's way to its edge, etcd, and what can be done to
# nodes of each kind. What the hosts do for each other is the matter of other tests.
#
#     client-1 --+                +-- store (etcd)
#     client-2 --+-- internet ----+-- edge-1 (a), edge-2 (b)
#     client-3 --+                +-- worker-1 (a), worker-2 (b)
. "$(dirname "$0")/../lib/e2e.sh"

for tool in etcd wireguard-go wg podman tcpdump ping jq curl; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"

lab_json() { wherry lab status --name "$lab" -j | jq -r "$1"; }
same() { [ "$1" = "$2" ] || fail "$3: \"$1\" instead of \"$2\""; }
is_sent_to() { # CLIENT EDGE: by the internet's routes, both families
	local number=${1#client-} v4 v6
	v4=$(lab_json ".nodes[] | select(.name == \"$2\") | .addresses[0]")
	v6=$(lab_json ".nodes[] | select(.name == \"$2\") | .addresses[1]")
	on internet ip route get 203.0.113.77 from 198.51.100.$((9 + number)) iif clients | grep -q "via $v4 " &&
		on internet ip route get 2001:db8:ff::77 from 2001:db8:100::$((9 + number)) iif clients |
		grep -q "via $v6 "
}
reaches() { on "$1" ping -q -c 1 -W 2 "$2" >/dev/null; }
# A neighbour that was asked for in vain is refused for a moment.
back_in() { eventually 5 reaches edge-1 "$1" || fail "$1 is not reached again"; }

# capture FILE EDGE...: notes datagrams to port 7777 at the edges; returns when it is there
capture() {
	local file=$1 edge
	shift
	captures=()
	for edge in "$@"; do
		on "$edge" timeout 20 tcpdump -U -l -n -i eth0 udp dst port 7777 >"$file.$edge" 2>"$file.$edge.err" &
		captures+=($!)
		eventually 5 grep -q 'listening on' "$file.$edge.err" || fail "tcpdump does not start: $(cat "$file.$edge.err")"
	done
}
captured() { grep -c 'UDP' "$1"; } # FILE.EDGE
end_capture() {
	sleep 0.3
	kill "${captures[@]}"
	wait "${captures[@]}" 2>/dev/null
}
send() { # CLIENT ADDRESS COUNT [PAUSE]
	# shellcheck disable=SC2016
	on "$1" bash -c 'for ((i = 0; i < $2; i++)); do echo x >"/dev/udp/$1/7777"; sleep "$3"; done' \
		- "$2" "$3" "${4:-0}" 2>/dev/null
}

put() { on edge-1 curl -s -m 2 http://192.0.2.5:2379/v3/kv/put -d "{\"key\":\"$1\",\"value\":\"$2\"}" | grep -q revision; }
has() { on worker-2 curl -s -m 2 http://192.0.2.5:2379/v3/kv/range -d "{\"key\":\"$1\"}" | grep -q "\"value\":\"$2\""; }

# --- what is refused ------------------------------------------------------------------------
expect_exit 2 "sqlite for several hosts is refused" wherry lab up --name "$lab" --hosts 2 --store sqlite 2>"$work/err"
expect_text "etcd" "$(cat "$work/err")"

# --- up -------------------------------------------------------------------------------------
began=$SECONDS
fleet_up --edges 2 --workers 2 --clients 3 --regions a,b
[ $((SECONDS - began)) -le 15 ] || fail "the fleet took $((SECONDS - began)) s to come up"
same "$(lab_json '[.nodes[] | select(.kind == "host") | "\(.name) \(.roles[]) \(.region) \(.addresses[0])"] | join(", ")')" \
	"edge-1 edge a 192.0.2.11, edge-2 edge b 192.0.2.12, worker-1 worker a 192.0.2.51, worker-2 worker b 192.0.2.52" \
	"hosts, their roles, regions and addresses"
same "$(lab_json '[.nodes[] | select(.kind == "client") | .edge] | join(" ")')" "edge-1 edge-2 edge-1" "the clients' edges"
same "$(lab_json '"\(.store) \(.underlay)"')" "etcd wireguard" "store and underlay"
same "$(lab_hosts | tr '\n' ' ')" "edge-1 edge-2 worker-1 worker-2 " "the hosts that run wherryd"
for node in $(lab_hosts); do
	lab_says "$node" "up .*wherryd running" || fail "$node does not run: $(wherry lab status --name "$lab")"
	config=$(on "$node" cat /etc/wherry/wherryd.toml)
	expect_text "host_name = \"$node\"" "$config"
	expect_text "roles = [\"${node%-*}\"]" "$config"
	expect_text 'store = "etcd://192.0.2.5:2379"' "$config"
	expect_text 'underlay = "wireguard"' "$config"
	expect_text 'public_pools = ["203.0.113.0/24", "2001:db8:ff::/64"]' "$config"
done
same "$(wherry lab status --name "$lab" | awk 'length > 80' | wc -l)" 0 "lines of the status that are too long"
expect_exit 4 "a second lab of the name is a conflict" wherry lab up --name "$lab" --hosts 2 2>/dev/null

# --- the network ----------------------------------------------------------------------------
for node in 1 2 3; do
	for address in 192.0.2.5 192.0.2.11 192.0.2.12 192.0.2.51 192.0.2.52 2001:db8:200::12 2001:db8:200::51; do
		reaches client-$node $address || fail "client-$node does not reach $address"
	done
done
reaches worker-1 192.0.2.12 || fail "a worker does not reach an edge"
is_sent_to client-1 edge-1 && is_sent_to client-2 edge-2 && is_sent_to client-3 edge-1 ||
	fail "the internet does not send clients to their edges"
on internet ip route get 203.0.113.77 | grep -q "via 192.0.2.11 " || fail "others are not sent to edge-1"

capture "$work/first" edge-1 edge-2
send client-2 203.0.113.77 3
send client-2 2001:db8:ff::77 2
send client-3 203.0.113.77 1
end_capture
same "$(captured "$work/first.edge-1") $(captured "$work/first.edge-2")" "1 5" "datagrams at edge-1 and edge-2"

expect "a client moves" wherry lab route --name "$lab" client-2 edge-1 >/dev/null
expect "moving it again is no failure" wherry lab route --name "$lab" client-2 edge-1 >/dev/null
is_sent_to client-2 edge-1 && is_sent_to client-1 edge-1 || fail "client-2 did not move"
lab_says client-2 "to edge-1" || fail "the status does not show the move"
same "$(lab_json '.nodes[] | select(.name == "client-2") | .edge')" edge-1 "the edge in the JSON"
expect_exit 3 "an edge that is not there" wherry lab route --name "$lab" client-1 edge-9 2>"$work/err"
expect_text "edge-1, edge-2" "$(cat "$work/err")"
expect_exit 3 "a worker is no edge" wherry lab route --name "$lab" client-1 worker-1 2>/dev/null
expect_exit 3 "a client that is not there" wherry lab route --name "$lab" client-9 edge-1 2>/dev/null
expect_exit 1 "a host has no nearest edge" wherry lab route --name "$lab" worker-1 edge-1 2>/dev/null

capture "$work/move" edge-1 edge-2
send client-1 203.0.113.77 200 0.002 &
sender=$!
for edge in edge-2 edge-1 edge-2; do
	sleep 0.1
	wherry lab route --name "$lab" client-1 $edge >/dev/null
done
wait $sender
end_capture
one=$(captured "$work/move.edge-1") two=$(captured "$work/move.edge-2")
[ "$one" -gt 0 ] && [ "$two" -gt 0 ] || fail "the client did not move while it sent: $one and $two datagrams"
same $((one + two)) 200 "datagrams that came through while the client moved"
wherry lab route --name "$lab" client-1 edge-1 >/dev/null

# --- what hosts have for themselves ---------------------------------------------------------
on worker-1 sh -c 'ip tuntap add dev wg0 mode tun && setsid wireguard-go -f wg0 >/dev/null 2>&1 </dev/null &'
eventually 5 on worker-1 wg show wg0 || fail "WireGuard does not run in a node"
same "$(on worker-2 wg show interfaces | grep -w wg0; wg show interfaces | grep -w wg0)" "" "devices of a node that others see"
name=$(image_on edge-1 own "$(helper udp_app)") || exit 1
on edge-1 podman image exists "$name" || fail "an image that was built on edge-1 is not there"
! on worker-1 podman image exists "$name" || fail "an image that was built on edge-1 is on worker-1"
! podman image exists "$name" || fail "an image that was built on edge-1 is on the machine"

# --- the store ------------------------------------------------------------------------------
put Zm9v YmFy && has Zm9v YmFy || fail "hosts cannot use etcd"
expect "pausing etcd" wherry lab pause --name "$lab" store etcd
! has Zm9v YmFy || fail "a paused etcd answers"
lab_says store "etcd stopped" || fail "the status does not show that etcd is paused"
expect "resuming etcd" wherry lab resume --name "$lab" store etcd
has Zm9v YmFy || fail "a resumed etcd does not answer"
expect "killing etcd" wherry lab kill --name "$lab" store etcd
lab_says store "up .*etcd dead" || fail "the status does not show that etcd is dead"
! has Zm9v YmFy || fail "a dead etcd answers"
expect "starting etcd" wherry lab start --name "$lab" store etcd
has Zm9v YmFy || fail "etcd forgot what it had"
expect_exit 4 "starting what runs is a conflict" wherry lab start --name "$lab" store etcd 2>/dev/null
expect "killing the store" wherry lab kill --name "$lab" store
lab_says store "down .*etcd dead" || fail "the store is not down"
! reaches edge-1 192.0.2.5 || fail "the cable of the store is not out"
expect "starting the store" wherry lab start --name "$lab" store
eventually 5 has Zm9v YmFy || fail "the store forgot what it had"
expect "pausing the store" wherry lab pause --name "$lab" store
expect_exit 1 "a paused node is not started" wherry lab start --name "$lab" store 2>/dev/null
expect "resuming the store" wherry lab resume --name "$lab" store
has Zm9v YmFy || fail "a resumed store does not answer"

# --- hosts ----------------------------------------------------------------------------------
expect "killing a worker" wherry lab kill --name "$lab" worker-1
lab_says worker-1 "down .*wherryd dead" || fail "worker-1 is not down"
! reaches edge-1 192.0.2.51 || fail "the cable of worker-1 is not out"
reaches edge-1 192.0.2.52 || fail "the death of worker-1 is felt by worker-2"
same "$(on worker-1 wg show interfaces)" "" "WireGuard devices of a dead node that answer"
expect "starting a worker" wherry lab start --name "$lab" worker-1
lab_says worker-1 "up .*wherryd running" || fail "worker-1 does not run"
back_in 192.0.2.51
expect_exit 4 "starting a node that is whole is a conflict" wherry lab start --name "$lab" worker-1 2>/dev/null
expect "killing a daemon" wherry lab kill --name "$lab" edge-2 wherryd
expect "starting what is dead on a node" wherry lab start --name "$lab" edge-2
lab_says edge-2 "up .*wherryd running" || fail "edge-2 does not run"
expect "pausing an edge" wherry lab pause --name "$lab" edge-1
lab_says edge-1 "paused .*wherryd stopped" || fail "edge-1 is not paused"
reaches client-1 192.0.2.11 || fail "the kernel of a paused node does not answer"
expect "resuming an edge" wherry lab resume --name "$lab" edge-1
lab_says edge-1 "up .*wherryd running" || fail "edge-1 does not run"

# --- down -----------------------------------------------------------------------------------
check_sanitizers || fail "a daemon had complaints"
expect "pausing a worker" wherry lab pause --name "$lab" worker-2
expect "a fleet goes down" wherry lab down --name "$lab" >/dev/null
same "$(lab_traces)" "" "what the fleet left"

expect "hosts of both roles" wherry lab up --name "$lab" --hosts 2 --underlay plain >/dev/null
same "$(lab_json '[.nodes[] | select(.kind == "host") | "\(.name) \(.roles | join("+")) \(.region)"] | join(", ")')" \
	"host-1 edge+worker local, host-2 edge+worker local" "hosts of both roles"
expect_text 'underlay = "plain"' "$(on host-2 cat /etc/wherry/wherryd.toml)"
wherry lab down --name "$lab" >/dev/null

expect "one host on etcd" wherry lab up --name "$lab" --store etcd >/dev/null
expect_text 'store = "etcd://192.0.2.5:2379"' "$(on host-1 cat /etc/wherry/wherryd.toml)"
has() { on host-1 curl -s -m 2 http://192.0.2.5:2379/health | grep -q true; }
has || fail "the host does not reach etcd"
wherry lab down --name "$lab" >/dev/null
same "$(lab_traces)" "" "what one host with etcd left"

# --- half made ------------------------------------------------------------------------------
for seconds in 0.05 0.3 1; do
	wherry lab up --name "$lab" --hosts 3 >/dev/null 2>&1 &
	sleep $seconds
	kill -KILL $! 2>/dev/null
	wait $! 2>/dev/null
	wherry lab down --name "$lab" >/dev/null 2>&1
	same "$(lab_traces)" "" "what is left of a fleet that was cut off after $seconds s"
done
cp "$(command -v wherry)" "$(command -v wherryd)" "$work/"
printf '#!/bin/sh\necho "no luck today" >&2\nexit 1\n' >"$work/etcd"
chmod +x "$work/etcd"
expect_exit 1 "up fails when etcd does" "$work/wherry" lab up --name "$lab" --hosts 2 2>"$work/err"
expect_text "etcd on store ended at once: no luck today" "$(cat "$work/err")"
same "$(lab_traces)" "" "what a fleet without etcd left"
rm "$work/etcd"
printf '#!/bin/sh\n[ "$WHERRY_NODE" = host-2 ] || exec %s\necho "no luck today" >&2\nexit 1\n' \
	"$(command -v wherryd)" >"$work/wherryd"
expect_exit 1 "up fails when one wherryd does" "$work/wherry" lab up --name "$lab" --hosts 2 2>"$work/err"
expect_text "wherryd on host-2 ended at once: no luck today" "$(cat "$work/err")"
same "$(lab_traces)" "" "what a fleet without one of its hosts left"
pass
