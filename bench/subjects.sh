# SPDX-License-Identifier: Apache-2.0
#
# The subjects of bench/run, each as the function subject_NAME that builds its host and sets where
# the client sends to and what the app binds. Read by run, after topology.sh.

# shellcheck shell=bash disable=SC2154,SC2034,SC2004 # run and topology.sh set what is not set here

# No host at all: what the two ends and the tools cost. Take it off to get a path alone.
subject_direct() {
	ip link add c-direct netns "$prefix-client" type veth peer name a-direct netns "$prefix-app"
	ip -n "$prefix-client" addr add 198.51.100.2/29 dev c-direct
	ip -n "$prefix-client" link set c-direct up
	ip -n "$prefix-app" addr add 198.51.100.1/29 dev a-direct
	ip -n "$prefix-app" link set a-direct up
	app[direct]=198.51.100.1
	target[direct]=198.51.100.1
}

# Plain routing, no netfilter.
subject_kernel() {
	add_client_link kernel
	add_app_link kernel
	aim_at_app kernel
}

# nftables: destination NAT there, connection tracking back.
subject_nft() {
	add_client_link nft
	add_app_link nft
	aim_at_public nft
	nat_to_app nft
}

nat_to_app() { # subject
	in_ns "$1" nft -f - <<-END
		table ip bench {
			chain in {
				type nat hook prerouting priority dstnat;
				ip daddr ${target[$1]} udp dport { $echo_port, $sink_port } dnat to ${app[$1]}
			}
		}
	END
}

start_nginx() { # subject workers listen-options..
	add_client_link "$1"
	add_app_link "$1"
	target[$1]=198.51.100.$((index[$1] * 8 + 1))
	serve_nginx "$@"
}

serve_nginx() { # subject workers listen-options..
	local s=$1 workers=$2 module=/usr/lib/nginx/modules/ngx_stream_module.so
	shift 2
	[ -e "$module" ] || die "$module is not there; apt install libnginx-mod-stream"
	cat >"$tmp/$s.conf" <<-END
		load_module $module;
		daemon off;
		worker_processes $workers;
		pid $tmp/$s.pid;
		error_log $tmp/$s.error warn;
		events { worker_connections 4096; }
		stream {
			proxy_timeout 10s;
			server {
				listen ${target[$s]}:$echo_port udp $*;
				proxy_pass ${app[$s]}:$echo_port;
			}
			server {
				listen ${target[$s]}:$sink_port udp $*;
				proxy_pass ${app[$s]}:$sink_port;
			}
		}
	END
	start "$s" "$tmp/$s.log" nginx -c "$tmp/$s.conf"
	wait_for "$s" test -s "$tmp/$s.pid"
}

# nginx's stream proxy as it comes: Debian's one worker a CPU, socket buffers of the system.
subject_nginx() {
	start_nginx nginx auto reuseport
}

# The most that could be got out of it: buffers that hold a flood.
subject_nginx-tuned() {
	start_nginx nginx-tuned auto reuseport rcvbuf=8m sndbuf=8m
}

link_mac() { # namespace interface
	ip -n "$prefix-$1" -o link show "$2" | sed 's/.*ether \([0-9a-f:]*\).*/\1/'
}

# The least that tc programs can cost; no lookup, no state.
start_floor() { # subject neigh|mac|peer public-address|-
	local s=$1
	start "$s" "$tmp/$s.log" "$build/bench/floor" "$build/bench/floor.bpf.o" \
		up0 down0 "${app[$s]}" "$3" "$2" "$(link_mac client "c-$s")" "$(link_mac "$s" up0)"
	wait_for "$s" grep -q ready "$tmp/$s.log"
}

# Addresses untouched; the kernel finds the way back.
subject_floor() {
	add_client_link floor
	add_app_link floor
	aim_at_app floor
	start_floor floor neigh -
}

# Addresses rewritten both ways, as Wherry has to.
subject_floor-nat() {
	add_client_link floor-nat
	add_app_link floor-nat
	aim_at_public floor-nat
	start_floor floor-nat neigh "${target[floor-nat]}"
}

# The same, with the Ethernet addresses of the way back known beforehand.
subject_floor-mac() {
	add_client_link floor-mac
	add_app_link floor-mac
	aim_at_public floor-mac
	start_floor floor-mac mac "${target[floor-mac]}"
}

# The same, straight into the client's namespace: only veth can do that, no real host.
subject_floor-peer() {
	add_client_link floor-peer
	add_app_link floor-peer
	aim_at_public floor-peer
	start_floor floor-peer peer "${target[floor-peer]}"
}

# Wherry itself: a daemon on a host of its own, the app's namespace attached as a machine.
bpf_dir() { echo "/sys/fs/bpf/$prefix-bench"; }

start_wherryd() {
	start wherry "$tmp/wherryd.log" "$build/wherryd" --config "$tmp/wherryd.toml" \
		--state-dir "$tmp/state" --run-dir "$tmp/run" --bpf-dir "$(bpf_dir)"
	wherryd_pid=$!
	wait_for wherryd wherry apps list
}

wherry() { # arguments..
	in_ns wherry "$build/wherry" --socket "$tmp/run/wherryd.sock" "$@"
}

# The first value of a key anywhere in some JSON, one key a line or all on one.
json_text() { # key
	tr -d '\n' | grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | sed 's/.*: *"\(.*\)"/\1/'
}

write_wherry_files() {
	cat >"$tmp/wherryd.toml" <<-END
		region = "local"
		public_pools = ["203.0.113.128/25", "2001:db8:ff::/64"]
		public_interface = "up0"
	END
	write_app_config "$tmp/fly.toml"
}

write_app_config() { # file
	local port
	echo 'app = "bench"' >"$1"
	for port in $echo_port $sink_port; do
		cat >>"$1" <<-END

			[[services]]
			protocol = "udp"
			internal_port = $port
			[[services.ports]]
			port = $port
		END
	done
}

subject_wherry() {
	local machine public
	add_client_link wherry
	write_wherry_files
	start_wherryd
	wherry apps create bench >"$tmp/wherry.log" 2>&1 || die "wherry: $(tail -n 1 "$tmp/wherry.log")"
	public=$(wherry ips allocate-v4 -a bench -j | json_text Address)
	machine=$(wherry machine attach -a bench -c "$tmp/fly.toml" \
		--netns "/run/netns/$prefix-app" -y -j)
	app[wherry]=$(json_text service <<<"$machine")
	[[ -n $public && -n ${app[wherry]} ]] ||
		die "wherry gave no public address or no service address; see $tmp/wherryd.log"
	aim_at_public wherry "$public"
}

set_up() {
	local s i=0
	make_ns client
	make_ns app
	for s in $subjects; do
		index[$s]=$((i += 1))
		say "setting up $s"
		"${kind}_$s"
		start_app "$s"
	done
	sleep 0.3
	for s in $subjects; do
		wait_for "$s" in_client udpload rr --to "${target[$s]}:$echo_port" --flows 1 \
			--inflight 1 --seconds 0.2
	done
}

# What does not go with the namespaces and the processes: pinned programs and maps.
end_subjects() {
	rm -rf "$(bpf_dir)"
	end_fleet
}
