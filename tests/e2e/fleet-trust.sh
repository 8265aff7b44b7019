#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nobody is believed more than the mesh proves. Machines are reached by the data plane alone: not
# bare over the mesh, not by a route from outside, not from a machine or a program next to them. A
# host or a machine of the catalog that claims what is another's gets nothing of it, and floods of
# garbage stop nothing.
#
#   client-1 -- edge-1 -- mesh --+-- worker-1 -- app "echo", app "other"      store: etcd, and a
#                                +-- worker-2 -- app "other"                  neighbour of them all
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"
for tool in curl jq; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done

fleet_up --edges 1 --workers 2 --clients 1
main_host=worker-1
udp_config echo 5000
udp_app --port 5000
first=$machine
udp_config other 5000
machine_of other -- "$(helper udp_app)" other
beside=$machine
main_host=worker-2
machine_of other -- "$(helper udp_app)" other
far=$machine
main_host=worker-1
addr=$(address_of echo)
expect "client-1 gets no echo" eventually 5 probe "$addr:5000" 100

host_field() { on edge-1 wherry hosts list -j | jq -r ".[] | select(.name == \"$1\") | .$2"; }
bypasses() { on "$1" wherry doctor -j | sed -n 's/.*"bypass": *\([0-9]*\).*/\1/p' | head -n 1; }
service=$(machine_field "$first" service)
primary=$(machine_field "$first" primary)
mesh_1=$(host_field worker-1 mesh_v4)
underlay_1=$(host_field worker-1 endpoint | cut -d: -f1)
edge_underlay=$(host_field edge-1 endpoint | cut -d: -f1)

# does_not_arrive COUNTING-NODE|- WHAT CMD...: CMD is given ADDRESS:PORT SIZE, of a size of its own.
size=40
does_not_arrive() {
	local node=$1 what=$2 before=0 to
	shift 2
	for to in "$service" "$primary"; do
		size=$((size + 1))
		[ "$node" = - ] || before=$(bypasses "$node")
		"$@" "$to:5000" "$size" >/dev/null 2>&1
		sleep 0.2
		log_says echo " $size bytes from" && fail "$what reached the app at $to"
		[ "$node" = - ] || [ "$(bypasses "$node")" -gt "$before" ] || fail "$what to $to is not counted"
	done
}
straight() { on "$1" "$tools/udpprobe" --timeout 300 "${@:2}"; }

# --- around the fabric ------------------------------------------------------------------------
does_not_arrive worker-1 "a bare datagram of a worker" straight worker-2
does_not_arrive worker-1 "a bare datagram of an edge" straight edge-1
forged() { on worker-2 "$tools/rawudp" "198.51.100.10:4000" "$@"; }
does_not_arrive - "a bare datagram with a client's address" forged
forged_slice() { on worker-2 "$tools/rawudp" "$(main_host=worker-2 machine_field "$far" primary):4000" "$@"; }
does_not_arrive worker-1 "a bare datagram with a machine's address" forged_slice
by_route() {
	on store ip route replace "${2%:*}" via "$1"
	on store "$tools/udpprobe" --timeout 300 "${@:2}"
	on store ip route del "${2%:*}"
}
does_not_arrive - "a neighbour's datagram, by a route to the worker," by_route "$underlay_1"
does_not_arrive edge-1 "a neighbour's datagram, by a route to the edge," by_route "$edge_underlay"
machine_says() { on "$1" wherry machine exec "$2" -- "$tools/udpprobe" --timeout 300 "${@:3}"; }
does_not_arrive worker-2 "a datagram of a machine elsewhere" machine_says worker-2 "$far"
primary=$service # the primary addresses of machines of one host are for the host's rules
does_not_arrive worker-1 "a datagram of the machine beside it" machine_says worker-1 "$beside"
does_not_arrive - "a datagram of the host itself" straight worker-1
in_far() { on worker-2 wherry machine exec "$far" -- "$@"; }
before=$(bypasses worker-2)
in_far timeout 2 bash -c "exec 3<>/dev/tcp/$mesh_1/7116" 2>/dev/null && fail "a machine reaches the images of other hosts"
[ "$(bypasses worker-2)" -gt "$before" ] || fail "a machine's way to the mesh is not counted"
expect "client-1 gets no echo any more" probe "$addr:5000" 100 1400 3000
expect "a machine does not reach the world" in_far ping -c 1 -W 2 192.0.2.5 >/dev/null

# --- what the catalog may say -----------------------------------------------------------------
etcd=http://192.0.2.5:2379
encode() { printf %s "$1" | base64 -w 0; }
ask_etcd() { on store curl -s -m 5 "$etcd/v3/kv/$1" -d "$2"; }
put() { ask_etcd put "{\"key\":\"$(encode "wherry/$1")\",\"value\":\"$(encode "$2")\"}" | grep -q revision || fail "cannot put $1"; }
delete() { ask_etcd deleterange "{\"key\":\"$(encode "wherry/$1")\"}" | grep -q revision || fail "cannot delete $1"; }
get() { ask_etcd range "{\"key\":\"$(encode "wherry/$1")\"}" | jq -r '.kvs[0].value' | base64 -d; }
logged() { grep -q -e "$2" "/var/lib/wherry-lab/$lab/$1/wherryd.log"; } # NODE PATTERN
key_of() { printf 'hosts/%05d' "$(host_field "$1" id)"; }
mesh_of() { on "$1" sh -c 'wg show wherry0 allowed-ips | sort; ip route show proto 188'; }

declare -A mesh
for node in edge-1 worker-1 worker-2; do mesh[$node]=$(mesh_of $node); done
# Not by "on": it is the program itself that is told to end.
wherry lab exec --name "$lab" client-1 -- "$(helper udp_probe)" "$(address_of other)" 5000 100000 5 >"$work/known.out" 2>&1 &
known=$!
slice=$(host_field worker-1 'slices[0]')
liar=$(get "$(key_of worker-2)" | jq -c '.id = 9 | .name = "liar" | .identity = "00000000000000000000000000000009" |
	.mesh_v4 = "10.64.0.9" | .mesh_v6 = "fdaa:0:9::1" | .endpoint = "192.0.2.99" | .edge = true |
	.public_key = "YnYZ1iI+3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqGk=" | .slices = ["172.31.0.0/20"]')
lies=(".slices = [\"$slice\"]" ".slices = [\"${service%.*}.0/24\"]" '.slices = ["0.0.0.0/1"]' '.slices = ["192.0.2.0/24"]'
	".mesh_v4 = \"$mesh_1\"" '.mesh_v4 = "192.0.2.5"' '.mesh_v4 = "::1"' '.mesh_v6 = "2001:db8::5"' '.endpoint_port = 0')
for lie in "${lies[@]}"; do
	for node in "${!mesh[@]}"; do : >"/var/lib/wherry-lab/$lab/$node/wherryd.log"; done
	put hosts/00009 "$(jq -c "$lie" <<<"$liar")"
	for node in "${!mesh[@]}"; do
		expect "$node believes a host with $lie" eventually 5 logged "$node" 'catalog-record-skipped.*key=hosts/00009'
		[ "$(mesh_of "$node")" = "${mesh[$node]}" ] || fail "on $node a host with $lie changed: $(mesh_of "$node")"
	done
	delete hosts/00009
	sleep 0.3
done
# One with the key of another is told; the others keep theirs.
put hosts/00009 "$(jq -c ".public_key = \"$(host_field worker-1 public_key)\"" <<<"$liar")"
expect "a host with another's key is not told" eventually 5 logged edge-1 'mesh-not-updated.*WireGuard key of another'
[ "$(on edge-1 wg show wherry0 allowed-ips | sort)" = "$(grep -v ' dev \|unreachable' <<<"${mesh[edge-1]}")" ] ||
	fail "a host with another's key changed the peers"
delete hosts/00009

# Machines whose networks are another's: of the other worker's part of the pool, of another machine,
# and more than a network.
record=$(get "machines/$far" | jq -c '.id = "00000000000009" | .name = "liar" | .managed = false')
free="${service%.*}.240/29"
for network in "$free" "${service%.*}.$((${service##*.} - 3))/29"; do
	: >"/var/lib/wherry-lab/$lab/edge-1/wherryd.log"
	put machines/00000000000009 "$(jq -c ".network = \"$network\"" <<<"$record")"
	expect "edge-1 serves a machine with the network $network" \
		eventually 5 logged edge-1 'machine-not-served.*machine=00000000000009'
	not_started() { on worker-2 wherry machine status 00000000000009 -j | jq -r .state | grep -qx failed; }
	expect "worker-2 starts a machine with the network $network" eventually 10 not_started
	delete machines/00000000000009
	sleep 0.5
done
put machines/00000000000009 "$(jq -c '.network = "172.16.0.0/12"' <<<"$record")"
expect "edge-1 reads a machine with the whole pool as its network" \
	eventually 5 logged edge-1 'catalog-record-skipped key=machines/00000000000009'
delete machines/00000000000009
kill "$known"
wait "$known" || fail "a known flow lost datagrams to what the catalog said: $(cat "$work/known.out")"
expect "the app serves no more" probe "$addr:5000" 100

# --- floods -----------------------------------------------------------------------------------
port=$(host_field worker-1 endpoint | cut -d: -f2)
for first_bytes in '' '\x01\x00\x00\x00' '\x04\x00\x00\x00'; do
	on store timeout 20 bash -c "exec 3>/dev/udp/$underlay_1/$port
		for ((i = 0; i < 1500; i++)); do printf '$first_bytes%0144d' \$i; done >&3" &
	flood=$!
	expect "no echo while garbage floods WireGuard" eventually 5 probe "$addr:5000" 100
	wait $flood
	expect "no echo after garbage flooded WireGuard" probe "$addr:5000" 100 1400
done
on worker-2 timeout 20 bash -c "for ((i = 0; i < 200; i++)); do
		exec {fd}<>/dev/tcp/$mesh_1/7116 && head -c \$((i * 10)) /dev/urandom >&\$fd
	done 2>/dev/null; sleep 3" 2>/dev/null &
flood=$!
sleep 1
before=$SECONDS
expect "wherryd does not answer while its images are asked for by garbage" host wherry status -a echo >/dev/null
expect "no echo meanwhile" probe "$addr:5000" 100
[ $((SECONDS - before)) -lt 4 ] || fail "that took $((SECONDS - before)) s"
wait $flood
pass
