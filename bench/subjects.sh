# SPDX-License-Identifier: Apache-2.0
#
# The subjects of bench/run, each as the function subject_NAME that builds its host and sets where
# the client sends to and what the app binds. Read by run, after topology.sh.

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
	in_ns nft nft -f - <<-END
		table ip bench {
			chain in {
				type nat hook prerouting priority dstnat;
				ip daddr ${target[nft]} udp dport { $echo_port, $sink_port } dnat to ${app[nft]}
			}
		}
	END
}

# nginx's stream proxy, with the settings that were best for it (README): one worker a CPU, and
# sessions spread over them by the kernel.
subject_nginx() {
	local module=/usr/lib/nginx/modules/ngx_stream_module.so
	[ -e "$module" ] || die "$module is not there; apt install libnginx-mod-stream"
	add_client_link nginx
	add_app_link nginx
	target[nginx]=198.51.100.$((index[nginx] * 8 + 1))
	cat >"$tmp/nginx.conf" <<-END
		load_module $module;
		daemon off;
		worker_processes ${NGINX_WORKERS:-2};
		worker_rlimit_nofile 8192;
		pid $tmp/nginx.pid;
		error_log $tmp/nginx.error warn;
		events { worker_connections 4096; multi_accept on; }
		stream {
			proxy_timeout 10s;
			server {
				listen ${target[nginx]}:$echo_port udp reuseport rcvbuf=8m sndbuf=8m;
				proxy_pass ${app[nginx]}:$echo_port;
			}
			server {
				listen ${target[nginx]}:$sink_port udp reuseport rcvbuf=8m sndbuf=8m;
				proxy_pass ${app[nginx]}:$sink_port;
			}
		}
	END
	start "$tmp/nginx.log" in_ns nginx nginx -c "$tmp/nginx.conf"
	wait_for nginx test -s "$tmp/nginx.pid"
}

mac_of() { # namespace interface
	in_ns "$1" cat "/sys/class/net/$2/address" 2>/dev/null ||
		ip -n "$prefix-$1" -o link show "$2" | sed 's/.*ether \([0-9a-f:]*\).*/\1/'
}

# The least that tc programs can cost; no lookup, no state.
start_floor() { # subject neigh|mac|peer public-address|-
	local s=$1
	start "$tmp/$s.log" in_ns "$s" "$build/bench/floor" "$build/bench/floor.bpf.o" \
		up0 down0 "${app[$s]}" "$3" "$2" "$(link_mac client "c-$s")" "$(link_mac "$s" up0)"
	wait_for "$s" grep -q ready "$tmp/$s.log"
}

link_mac() { # namespace interface
	ip -n "$prefix-$1" -o link show "$2" | sed 's/.*ether \([0-9a-f:]*\).*/\1/'
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

set_up() {
	local s i=0
	make_ns client
	make_ns app
	for s in $subjects; do
		index[$s]=$((i += 1))
		say "setting up $s"
		subject_"$s"
		start_app "$s"
	done
	sleep 0.3
	for s in $subjects; do
		wait_for "$s" in_client udpload rr --to "${target[$s]}:$echo_port" --flows 1 \
			--inflight 1 --seconds 0.2
	done
}

end_subjects() { :; }
