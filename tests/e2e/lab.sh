#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The lab itself: nodes, exec, control, two labs at once, and that nothing is left.
#
#     client-1 --+                       +-- host-1 (wherryd)        labs "e2e-lab-a", "e2e-lab-b"
#     client-2 --+-- internet -----------+
#
# WHERRY: the program to test, build/wherry by default; its wherryd lies beside it.
set -u

wherry=$(realpath "${WHERRY:-$(dirname "$0")/../../build/wherry}")
a="--name e2e-lab-a"
b="--name e2e-lab-b"
machine=e2e00000000001
dir=
failed=0

skip() {
	echo "SKIP: $1"
	exit 77
}

[ "$(id -u)" = 0 ] || skip "namespaces need root"
[ -x "$wherry" ] || skip "$wherry is not built"
for tool in ip nc jq findmnt; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
dir=$(mktemp -d)

cleanup() {
	for lab in e2e-lab-a e2e-lab-b; do
		"$wherry" lab down --name $lab >/dev/null 2>&1
	done
	rm -rf "$dir"
}
trap cleanup EXIT

# check CLAIM COMMAND...: the command must succeed
check() {
	local claim=$1
	shift
	if "$@"; then
		echo "ok: $claim"
	else
		echo "FAILED: $claim"
		failed=1
	fi
}

# status_is WANTED COMMAND...: the exit status must be that
status_is() {
	local wanted=$1 got
	shift
	"$@" >"$dir/out" 2>"$dir/err" </dev/null
	got=$?
	[ $got = "$wanted" ] && return 0
	echo "  exit status $got instead of $wanted: $(tail -1 "$dir/err")"
	return 1
}

same() {
	[ "$1" = "$2" ] && return 0
	echo "  \"$1\" instead of \"$2\""
	return 1
}

in_a() {
	# shellcheck disable=SC2086
	"$wherry" lab exec $a "$@"
}

# lab_processes VARIABLE: pids of processes with that in their environment, other than ours
lab_processes() {
	local proc
	for proc in /proc/[0-9]*; do
		grep -z -a -q "$1" "$proc/environ" && echo "${proc#/proc/}"
	done 2>/dev/null
	true
}

# What these labs could leave on the host. Other labs may be up, and are left out by name.
traces() {
	ip netns | grep -a -E "e2e-lab|$machine"
	ip -br link | awk '{print $1}' | grep -a -E '^(client-|host-|clients|hosts)'
	findmnt -rno TARGET,FSTYPE | grep -a -E "e2e-lab|$machine"
	ls -d /run/wherry-lab/e2e-* /var/lib/wherry-lab/e2e-* 2>/dev/null
	lab_processes '^WHERRY_LAB=e2e-lab'
}

# The same for /var/lib/wherry and the like, which another lab may need at the moment.
host_dirs() {
	ls -d /run/wherry /var/lib/wherry /etc/wherry /run/wherry-lab /var/lib/wherry-lab \
		/run/netns 2>/dev/null
	findmnt -rno TARGET /run/netns
	true
}

# talk FROM ADDRESS PORT: one line over TCP from client FROM to host-1, and what it answers
talk() {
	in_a host-1 -- nc -l -N -w 5 "$2" "$3" >"$dir/heard" 2>"$dir/nc.err" <<<"pong" &
	local server=$! answer='' tries=0
	while [ -z "$answer" ] && [ $tries -lt 50 ]; do
		answer=$(in_a "$1" -- nc -N -w 2 "$2" "$3" 2>/dev/null <<<"ping")
		tries=$((tries + 1))
		[ -n "$answer" ] || sleep 0.1
	done
	kill $server 2>/dev/null
	wait $server
	same "$answer" pong && same "$(cat "$dir/heard")" ping
}

pid_of() {
	# shellcheck disable=SC2086
	"$wherry" lab status $a -j |
		jq -r '.nodes[] | select(.name == "host-1") | .programs[] | select(.name == "wherryd")
			| .'"$1"
}

node_state() {
	# shellcheck disable=SC2086
	"$wherry" lab status $a -j | jq -r '.nodes[] | select(.name == "host-1") | .state'
}

traces_before=$(traces)
dirs_before=$(host_dirs)
labs_before=$(ls /run/wherry-lab 2>/dev/null)

# --- up -------------------------------------------------------------------------------------
check "a lab that is not up is not found" status_is 3 "$wherry" lab exec $a client-1 -- true
check "up makes a lab" status_is 0 "$wherry" lab up $a --clients 2
[ $failed = 0 ] || {
	cat "$dir/err"
	exit 1
}
check "up twice is a conflict" status_is 4 "$wherry" lab up $a
check "a conflict leaves the lab alone" status_is 0 in_a client-2 -- true
check "clients have their addresses" same "$("$wherry" lab status $a -j |
	jq -c '[.nodes[] | select(.kind == "client") | .addresses] | add')" \
	'["198.51.100.10","2001:db8:100::10","198.51.100.11","2001:db8:100::11"]'
check "a node has them on eth0" same \
	"$(in_a client-2 -- ip -br addr show eth0 scope global | tr -s ' ' | cut -d' ' -f3,4)" \
	"198.51.100.11/24 2001:db8:100::11/64"
check "eth0 has an MTU of 1500" same "$(in_a host-1 -- cat /sys/class/net/eth0/mtu)" 1500
check "a client reaches the host over IPv4" talk client-1 192.0.2.11 7001
check "a client reaches the host over IPv6" talk client-2 2001:db8:200::11 7002
check "the pool is routed to the host" \
	grep -q "via 192.0.2.11" <<<"$(in_a internet -- ip route get 203.0.113.77)"
check "nothing of it is on the host" \
	same "$(ip -br link | awk '{print $1}' | grep -c -E '^(client-|host-|clients|hosts)')" 0
check "the daemon runs" same "$(pid_of state)" running

# --- exec -----------------------------------------------------------------------------------
check "exec passes the exit status on" status_is 42 in_a client-1 -- sh -c 'exit 42'
check "exec works without the dashes" status_is 7 in_a client-1 sh -c 'exit 7'
check "exec passes standard input and output" same "$(echo hello | in_a client-1 -- cat)" hello
check "exec keeps standard error apart" same \
	"$(in_a client-1 -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
check "exec keeps the working directory" same "$(cd "$dir" && in_a client-1 -- pwd)" "$dir"
check "exec finds wherry in PATH" same \
	"$(in_a host-1 -- sh -c 'echo "${PATH%%:*}"')" "$(dirname "$wherry")"
check "exec says where it is" same \
	"$(in_a host-1 -- sh -c 'echo $WHERRY_LAB $WHERRY_NODE')" "e2e-lab-a host-1"
check "a missing program is 127" status_is 127 in_a client-1 -- no-such-program
check "a file that is no program is 126" status_is 126 in_a client-1 -- /etc/passwd
check "an unknown node is 3" status_is 3 in_a client-9 -- true
check "and the nodes are listed" grep -q "client-1, client-2" "$dir/err"
check "a lab inside a lab is refused" status_is 1 in_a client-1 -- "$wherry" lab status

in_a client-1 -- sleep 60 &
sleeper=$!
sleep 0.2
kill -TERM $sleeper
wait $sleeper 2>/dev/null
check "a signal to exec is a signal to the command" same $? 143

pids=()
for i in $(seq 20); do
	in_a client-1 -- sh -c "sleep 0.3; exit $i" &
	pids+=($!)
done
good=0
for i in $(seq 20); do
	wait "${pids[$((i - 1))]}"
	[ $? = "$i" ] && good=$((good + 1))
done
check "20 commands run at once" same $good 20

began=$(date +%s%N)
for _ in 1 2 3 4 5 6 7 8 9 10; do in_a client-1 -- true; done
took=$((($(date +%s%N) - began) / 10000000))
check "entering a node takes less than 200 ms (took $took)" [ $took -lt 200 ]

# --- what nodes see -------------------------------------------------------------------------
echo seen >"$dir/file"
check "a node sees the host's files" same "$(in_a client-1 -- cat "$dir/file")" seen
ip netns add e2e-lab-ns1
check "a node sees a namespace that the host makes" \
	status_is 0 in_a host-1 -- ip netns exec e2e-lab-ns1 true
ip netns del e2e-lab-ns1
in_a host-1 -- ip netns add e2e-lab-ns2
check "the host sees a namespace that a node makes" status_is 0 ip netns exec e2e-lab-ns2 true
check "another node sees it too" status_is 0 in_a client-1 -- ip netns exec e2e-lab-ns2 true
in_a host-1 -- ip netns del e2e-lab-ns2
check "and no one when it is gone" status_is 255 ip netns exec e2e-lab-ns2 true
in_a host-1 -- sh -c 'echo x >/var/lib/wherry/e2e; mount -t tmpfs x /mnt && echo y >/mnt/e2e'
check "a node's state is its own" status_is 1 in_a client-1 -- test -e /var/lib/wherry/e2e
check "a node's mounts are its own" [ ! -e /mnt/e2e ]
check "a node has a BPF file system of its own" same \
	"$(in_a host-1 -- findmnt -no FSTYPE -T /sys/fs/bpf)" bpf
if command -v podman >/dev/null; then
	check "a node sees the host's images" same \
		"$(in_a host-1 -- podman images -q | sort)" "$(podman images -q | sort)"
fi

# --- control --------------------------------------------------------------------------------
first=$(pid_of pid)
"$wherry" lab pause $a host-1 wherryd
check "a paused program is stopped" same "$(pid_of state)" stopped
"$wherry" lab resume $a host-1 wherryd
check "a resumed program runs" same "$(pid_of state) $(pid_of pid)" "running $first"
check "starting what runs is a conflict" status_is 4 "$wherry" lab start $a host-1 wherryd
"$wherry" lab kill $a host-1 wherryd
check "a killed program is dead" same "$(pid_of state)" dead
check "killing it again fails in words" status_is 1 "$wherry" lab kill $a host-1 wherryd
check "a killed program starts again" status_is 0 "$wherry" lab start $a host-1 wherryd
check "as another process" [ "$(pid_of pid)" != "$first" ]
check "the lab starts only its own programs" status_is 3 "$wherry" lab start $a host-1 sshd
in_a host-1 -- sleep 60 &
sleeper=$!
sleep 0.2
"$wherry" lab kill $a host-1
wait $sleeper 2>/dev/null
check "killing a node kills what runs in it" same $? 137
check "the node is down" same "$(node_state) $(pid_of state)" "down dead"
check "its cable is out" same "$(in_a host-1 -- cat /sys/class/net/eth0/carrier)" 0
check "resume brings it back" status_is 0 "$wherry" lab resume $a host-1
check "the node is up" same "$(node_state) $(pid_of state)" "up running"
check "it is reached again over IPv4" talk client-1 192.0.2.11 7003
check "it is reached again over IPv6" talk client-1 2001:db8:200::11 7004

# --- a second lab ---------------------------------------------------------------------------
check "a second lab comes up beside the first" status_is 0 "$wherry" lab up $b
check "status lists both" same "$("$wherry" lab status | grep -c 'lab e2e-lab-')" 2
check "its nodes are others" [ "$("$wherry" lab exec $b host-1 -- readlink /proc/self/ns/net)" != \
	"$(in_a host-1 -- readlink /proc/self/ns/net)" ]
"$wherry" lab down $b >/dev/null
check "its end leaves the first alone" talk client-1 192.0.2.11 7005
check "with its daemon" same "$(pid_of state)" running

# --- down -----------------------------------------------------------------------------------
in_a client-2 -- setsid sleep 3600 </dev/null >/dev/null 2>&1 &
# What a machine leaves when its daemon is killed: a directory, a namespace, processes in it.
in_a host-1 -- mkdir -p /var/lib/wherry/machines/$machine
in_a host-1 -- ip netns add wherry-$machine
in_a host-1 -- ip netns exec wherry-$machine setsid sleep 3600 </dev/null >/dev/null 2>&1 &
sleep 0.2
kill -9 "$(pid_of pid)"
check "a lab whose daemons were killed goes down" status_is 0 "$wherry" lab down $a
wait 2>/dev/null
check "down twice: there is no such lab" status_is 3 "$wherry" lab down $a
check "nothing is left" same "$(traces)" "$traces_before"

"$wherry" lab up $a >/dev/null &
up=$!
sleep 0.03
kill -KILL $up 2>/dev/null
wait $up 2>/dev/null
"$wherry" lab down $a >/dev/null 2>&1
check "a half-made lab goes down" same "$(traces)" "$traces_before"

# A daemon that ends at once, beside a copy of wherry.
cp "$wherry" "$dir/wherry"
printf '#!/bin/sh\necho first >&2\necho "level=error event=no-luck" >&2\nexit 1\n' >"$dir/wherryd"
chmod +x "$dir/wherryd"
check "up fails when the daemon does" status_is 1 "$dir/wherry" lab up $a
check "and says what the daemon said last" grep -q "no-luck" "$dir/err"
check "a failed up leaves nothing" same "$(traces)" "$traces_before"
printf '#!/bin/sh\nexec sleep 60\n' >"$dir/wherryd"
"$dir/wherry" lab up $a >/dev/null 2>&1 &
up=$!
sleep 0.5
kill -INT $up
wait $up
check "an interrupted up fails" same $? 1
check "an interrupted up leaves nothing" same "$(traces)" "$traces_before"

# Other labs on this machine, then or now, keep these directories alive.
if [ -z "$labs_before" ] && [ -z "$(ls /run/wherry-lab 2>/dev/null)" ]; then
	check "the host's directories are as before" same "$(host_dirs)" "$dirs_before"
fi
exit $failed
