# SPDX-License-Identifier: Apache-2.0
#
# The namespaces of bench/run: client, app, and one host per subject between them. Read by run;
# uses its $prefix, $build and $tmp. Every process started here is in $pids and ended by its id.

# shellcheck shell=bash disable=SC2154,SC2034 # run and subjects.sh set what is not set here

declare -A target=() # subject -> the address that the client sends to
declare -A app=()    # subject -> the address that the app binds
declare -A index=()  # subject -> its number, which its addresses are made of
declare -A app_ns=() # subject -> the namespace of its app, if not "app"
pids=()
tmp=

# --net only: the commands keep the machine's own /sys and with it the BPF file system.
in_ns() { # namespace command..
	local ns=$1
	shift
	nsenter --net="/run/netns/$prefix-$ns" "$@"
}

in_client() { # tool of the bench, arguments..
	local tool=$1
	shift
	in_ns client "$build/bench/$tool" "$@"
}

# In the background, ended at the end. No function in between: $! has to be the program's own id.
start() { # namespace log-file command..
	local ns=$1 log=$2
	shift 2
	nsenter --net="/run/netns/$prefix-$ns" "$@" >"$log" 2>&1 &
	pids+=($!)
}

wait_for() { # what command.. ; up to 10 s
	local what=$1 _
	shift
	for _ in $(seq 100); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	die "$what did not come up within 10 s; see $tmp"
}

make_ns() { # name
	ip netns add "$prefix-$1"
	ip -n "$prefix-$1" link set lo up
}

# An app of the subject: the echo and the sink, where every subject's app runs.
start_app() { # subject
	local s=$1 ns=${app_ns[$1]:-app}
	start "$ns" "$tmp/$s.echo" "$build/bench/udpload" echo \
		--bind "${app[$s]}:$echo_port" --cpu 1
	start "$ns" "$tmp/$s.sink" "$build/bench/udpload" sink --bursts \
		--bind "${app[$s]}:$sink_port" --cpu 1
}

# The client's end of a subject: client 198.51.100.8i+2, host 198.51.100.8i+1.
add_client_link() { # subject
	local s=$1 base=$((index[$1] * 8))
	make_ns "$s"
	ip link add "c-$s" netns "$prefix-client" type veth peer name up0 netns "$prefix-$s"
	ip -n "$prefix-client" addr add "198.51.100.$((base + 2))/29" dev "c-$s"
	ip -n "$prefix-client" link set "c-$s" up
	ip -n "$prefix-$s" addr add "198.51.100.$((base + 1))/29" dev up0
	ip -n "$prefix-$s" link set up0 up
}

# The app's end: app 10.200.i.2, host 10.200.i.1.
add_app_link() { # subject [namespace of the host]
	local s=$1 ns=${2:-$1} i=${index[$1]} base=$((index[$1] * 8))
	ip link add "a-$s" netns "$prefix-app" type veth peer name down0 netns "$prefix-$ns"
	ip -n "$prefix-app" addr add "10.200.$i.2/29" dev "a-$s"
	ip -n "$prefix-app" link set "a-$s" up
	ip -n "$prefix-$ns" addr add "10.200.$i.1/29" dev down0
	ip -n "$prefix-$ns" link set down0 up
	ip -n "$prefix-app" route add "198.51.100.$base/29" via "10.200.$i.1"
	app[$s]=10.200.$i.2
	in_ns "$ns" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
}

# The client sends to the app's own address, or to a public one of the host.
aim_at_app() { # subject
	local i=${index[$1]} base=$((index[$1] * 8))
	ip -n "$prefix-client" route add "10.200.$i.0/29" via "198.51.100.$((base + 1))"
	target[$1]=10.200.$i.2
}

aim_at_public() { # subject [address]
	local base=$((index[$1] * 8)) public=${2:-203.0.113.$((index[$1] + 1))}
	ip -n "$prefix-client" route add "$public/32" via "198.51.100.$((base + 1))"
	target[$1]=$public
}

# The namespaces, and whatever still runs in one of them: it would keep the namespace alive. Of a
# host with wherryd also the one that resizes, which is named after the host's inode.
remove_namespaces() {
	local ns pid resizer
	for ns in /run/netns/"$prefix"-*; do
		[ -e "$ns" ] || continue
		ns=${ns##*/}
		for pid in $(ip netns pids "$ns"); do kill -9 "$pid" 2>/dev/null || true; done
		resizer=wherry-resizer-$(printf %x "$(stat -Lc %i "/run/netns/$ns")")
		[ ! -e "/run/netns/$resizer" ] || ip netns delete "$resizer"
		ip netns delete "$ns"
	done
}

# Bounded: what does not end by itself within 2 s is killed.
end_processes() {
	local pid _
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for _ in $(seq 20); do
		jobs -r | grep -q . || break
		sleep 0.1
	done
	for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
}

tear_down() {
	local status=$?
	trap - EXIT INT TERM HUP
	set +e
	end_subjects
	end_processes
	remove_namespaces
	if [ $status -ne 0 ] && [ $status -ne 130 ] && [ -n "$tmp" ]; then
		say "failed; the logs are in $tmp"
	elif [ -n "$tmp" ]; then
		rm -rf "$tmp"
	fi
	exit $status
}

clean() {
	[ "$(id -u)" -eq 0 ] || die "removes network namespaces; run it as root"
	remove_namespaces
	end_subjects
}
