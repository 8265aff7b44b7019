# SPDX-License-Identifier: Apache-2.0
#
# The subjects of bench/run fleet: an edge and a worker between client and app, each a namespace of
# its own, each as the function fleet_NAME. Read by run, after topology.sh and subjects.sh. The
# edge's namespace is the subject's, the worker's has "-w" behind it.
#
#   wb-client --c-S-- up0 [wb-S] under0 ---- under0 [wb-S-w] down0 --a-S-- wb-app    (wherry: eth0)
#
# MTU 1500 everywhere below WireGuard. Peers have plain routes over the same hops.

# shellcheck shell=bash disable=SC2154,SC2034,SC2004 # run and topology.sh set what is not set here

wireguard_port=51820

under() { # subject edge|worker ; its address between the two
	echo "192.0.2.$((index[$1] * 8 + $([ "$2" = edge ] && echo 1 || echo 2)))"
}

# Edge and worker with the link between them, without a way to the app yet.
add_hosts() { # subject
	local s=$1
	add_client_link "$s"
	make_ns "$s-w"
	ip link add under0 netns "$prefix-$s" type veth peer name under0 netns "$prefix-$s-w"
	ip -n "$prefix-$s" addr add "$(under "$s" edge)/29" dev under0
	ip -n "$prefix-$s" link set under0 up
	ip -n "$prefix-$s-w" addr add "$(under "$s" worker)/29" dev under0
	ip -n "$prefix-$s-w" link set under0 up
}

# Hosts that route between client and app, by the underlay or a device on it.
add_routing_hosts() { # subject [device]
	local s=$1 base=$((index[$1] * 8)) via_edge via_worker
	add_hosts "$s"
	add_app_link "$s" "$s-w"
	in_ns "$s" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	via_worker="via $(under "$s" worker)"
	via_edge="via $(under "$s" edge)"
	if [ $# -gt 1 ]; then
		start_tunnel "$s" "$2"
		via_worker="dev $2" via_edge="dev $2"
	fi
	# shellcheck disable=SC2086 # two words each
	{
		ip -n "$prefix-$s" route add "10.200.${index[$s]}.0/29" $via_worker
		ip -n "$prefix-$s-w" route add "198.51.100.$base/29" $via_edge
	}
}

# In the background as start() does, with a /run/wireguard of its own: WireGuard's sockets are files
# named after the device, and every host's device has the same name. /run/netns stays everybody's.
start_apart() { # namespace log-file command..
	local ns=$1 log=$2
	shift 2
	mkdir -p /run/wireguard
	# shellcheck disable=SC2016 # for the inner shell
	start "$ns" "$log" unshare --mount --propagation slave \
		sh -c 'mount -t tmpfs tmpfs /run/wireguard && exec "$@"' - "$@"
}

# wireguard-go as Wherry runs it, in a session of its own, which the scheduler goes by; the other end
# is the only peer, everything is allowed.
start_tunnel() { # subject device
	local s=$1 device=$2 ns
	local -A process=() key=()
	for ns in "$s" "$s-w"; do
		in_ns "$ns" ip tuntap add dev "$device" mode tun pi
		LOG_LEVEL=error start_apart "$ns" "$tmp/$ns.log" setsid wireguard-go -f "$device"
		process[$ns]=$!
		(umask 077 && wg genkey >"$tmp/$ns.key")
		key[$ns]=$(wg pubkey <"$tmp/$ns.key")
	done
	for ns in "$s" "$s-w"; do
		wait_for "the tunnel of $ns" in_mounts "$ns" "${process[$ns]}" wg show "$device"
	done
	in_mounts "$s" "${process[$s]}" wg set "$device" listen-port $wireguard_port \
		private-key "$tmp/$s.key" peer "${key[$s-w]}" \
		endpoint "$(under "$s" worker):$wireguard_port" allowed-ips 0.0.0.0/0
	in_mounts "$s-w" "${process[$s-w]}" wg set "$device" listen-port $wireguard_port \
		private-key "$tmp/$s-w.key" peer "${key[$s]}" \
		endpoint "$(under "$s" edge):$wireguard_port" allowed-ips 0.0.0.0/0
	for ns in "$s" "$s-w"; do
		ip -n "$prefix-$ns" link set "$device" mtu 1440 up
	done
}

in_mounts() { # namespace pid-that-has-the-mounts command..
	local ns=$1 pid=$2
	shift 2
	nsenter --mount="/proc/$pid/ns/mnt" --net="/run/netns/$prefix-$ns" "$@"
}

fleet_direct() { subject_direct; }

fleet_kernel() {
	add_routing_hosts kernel
	aim_at_app kernel
}

# Destination NAT at the edge, plain routing at the worker.
fleet_nft() {
	add_routing_hosts nft
	aim_at_public nft
	nat_to_app nft
}

# nginx at the edge, plain routing at the worker.
fleet_nginx() {
	add_routing_hosts nginx
	aim_at_edge nginx
	serve_nginx nginx auto reuseport
}

fleet_nginx-tuned() {
	add_routing_hosts nginx-tuned
	aim_at_edge nginx-tuned
	serve_nginx nginx-tuned auto reuseport rcvbuf=8m sndbuf=8m
}

# What comes from the proxy has the edge's address on the underlay.
aim_at_edge() { # subject
	target[$1]=198.51.100.$((index[$1] * 8 + 1))
	ip -n "$prefix-app" route add "$(under "$1" edge)/32" via "10.200.${index[$1]}.1"
}

# Plain routing through a pair of wireguard-go devices.
fleet_kernel-wg() {
	add_routing_hosts kernel-wg wg0
	aim_at_app kernel-wg
}

fleet_wherry() { start_fleet wherry plain 203.0.113.128/26; }
fleet_wherry-wg() { start_fleet wherry-wg wireguard 203.0.113.192/26; }

# One etcd, in the edge's namespace; the worker reaches it over the underlay.
start_etcd() { # namespace address
	local ns=$1 url="http://$2:2379" peers=http://127.0.0.1:2380
	start "$ns" "$tmp/$ns.etcd.log" etcd --name=bench --data-dir="$tmp/$ns.etcd" \
		--listen-client-urls="$url" --advertise-client-urls="$url" \
		--listen-peer-urls=$peers --initial-advertise-peer-urls=$peers \
		--initial-cluster=bench=$peers --logger=zap --log-outputs=stderr
	wait_for "etcd of $ns" in_ns "$ns" bash -c "</dev/tcp/$2/2379"
}

write_host_config() { # subject edge|worker underlay public-interface pool
	local s=$1 role=$2
	cat >"$tmp/$s.$role.toml" <<-END
		host_name = "$s-$role"
		region = "local"
		roles = ["$role"]
		store = "etcd://$(under "$s" edge):2379"
		underlay = "$3"
		underlay_interface = "under0"
		public_interface = "$4"
		public_pools = ["$5"]
	END
}

start_host() { # subject edge|worker
	local s=$1 role=$2 ns=$1
	[ "$role" = edge ] || ns=$s-w
	start_apart "$ns" "$tmp/$s.$role.log" "$build/wherryd" --config "$tmp/$s.$role.toml" \
		--state-dir "$tmp/$s.$role.state" --run-dir "$tmp/$s.$role.run" \
		--bpf-dir "$(fleet_bpf_dir "$s" "$role")"
	wait_for "wherryd of $ns" host_wherry "$s" "$role" apps list
}

fleet_bpf_dir() { echo "/sys/fs/bpf/$prefix-bench-$1-$2"; } # subject edge|worker

host_wherry() { # subject edge|worker arguments..
	local s=$1 role=$2 ns=$1
	[ "$role" = edge ] || ns=$s-w
	shift 2
	in_ns "$ns" "$build/wherry" --socket "$tmp/$s.$role.run/wherryd.sock" "$@"
}

start_fleet() { # subject underlay public-pool
	local s=$1 machine public
	add_hosts "$s"
	app_ns[$s]=app-$s
	make_ns "app-$s"
	start_etcd "$s" "$(under "$s" edge)"
	write_host_config "$s" edge "$2" up0 "$3"
	write_host_config "$s" worker "$2" under0 "$3"
	write_app_config "$tmp/$s.fly.toml"
	start_host "$s" edge
	start_host "$s" worker
	host_wherry "$s" worker apps create bench >"$tmp/$s.log" 2>&1 ||
		die "$s: $(tail -n 1 "$tmp/$s.log")"
	public=$(host_wherry "$s" worker ips allocate-v4 -a bench -j 2>>"$tmp/$s.log" |
		json_text Address)
	machine=$(host_wherry "$s" worker machine attach -a bench -c "$tmp/$s.fly.toml" \
		--netns "/run/netns/$prefix-app-$s" -y -j 2>>"$tmp/$s.log")
	app[$s]=$(json_text service <<<"$machine")
	[[ -n $public && -n ${app[$s]} ]] ||
		die "$s gave no public address or no service address; see $tmp/$s.worker.log"
	aim_at_public "$s" "$public"
}

# One edge; the hosts that the catalog tells of are addresses that answer pings.
set_up_catalog() {
	local id
	make_ns edge
	make_ns peers
	ip link add under0 netns "$prefix-edge" type veth peer name under0 netns "$prefix-peers"
	ip link add up0 netns "$prefix-edge" type veth peer name up0 netns "$prefix-peers"
	ip -n "$prefix-edge" addr add 192.0.2.1/24 dev under0
	ip -n "$prefix-edge" addr add 198.51.100.1/29 dev up0
	for id in $(seq 2 50); do ip -n "$prefix-peers" addr add "192.0.2.$id/24" dev under0; done
	for id in edge peers; do
		ip -n "$prefix-$id" link set under0 up
		ip -n "$prefix-$id" link set up0 up
	done
	start_etcd edge 127.0.0.1
	cat >"$tmp/catalog.edge.toml" <<-END
		host_name = "edge"
		region = "r0"
		roles = ["edge"]
		store = "etcd://127.0.0.1:2379"
		underlay = "plain"
		underlay_interface = "under0"
		public_interface = "up0"
		public_pools = ["203.0.0.0/16"]
	END
}

# Pinned programs and maps.
end_fleet() {
	local s
	for s in wherry wherry-wg catalog; do
		rm -rf "$(fleet_bpf_dir $s edge)" "$(fleet_bpf_dir $s worker)"
	done
}
