#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a program finds inside its machine, an image's or one of the host: /etc/hosts and
# /etc/resolv.conf as Fly writes them, eth0 with its addresses in order and an MTU of 1500, the FLY_*
# environment and [env], its process group's command. `machine exec` passes input, output, status and a
# terminal; logs follow, outlive a crash and are bounded.
. "$(dirname "$0")/../lib/e2e.sh"

program=$(helper machine_app)
app=$(helper udp_app)
tool=$(image tool "$program" print up sleep)
v1=$(image v1 "$app" v1)
lab_up
cd "$work" || exit 1
cat >fly.toml <<-TOML
	app = "web"
	primary_region = "fra"
	[build]
	  image = "$tool"
	[env]
	  GREETING = "hello world"
	  COUNT = 7
	[processes]
	  web = "print 'one web' sleep"
	  worker = "print worker sleep"
	[[services]]
	  protocol = "udp"
	  processes = ["web"]
	  [[services.ports]]
	    start_port = 5000
	    end_port = 5010
TOML
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y
v6=$(host wherry ips list -j | sed -n 's/.*"Address": "\(.*:.*\)".*/\1/p')
of_group() { # GROUP: its machine
	local id
	for id in $(machine_ids web); do
		host wherry machine status "$id" -j | grep -q "\"process_group\": \"$1\"" && echo "$id"
	done
}
web=$(of_group web)
worker=$(of_group worker)
[ -n "$web" ] && [ -n "$worker" ] && [ "$web" != "$worker" ] || fail "not a machine a group: $(host wherry machine list)"
expect_text "] one web" "$(host sh -c "wherry logs -m $web | sed 's/ local \[info\]/]/'")"
expect_text "worker" "$(host wherry logs -m "$worker")"

check_network() { # ID, and a way to print a file of the machine
	local id=$1
	shift
	local json primary service private hosts
	json=$(host wherry machine status "$id" -j)
	primary=$(echo "$json" | field primary)
	service=$(echo "$json" | field service)
	private=$(echo "$json" | field private_ip)
	[ "${service##*.}" = $((${primary##*.} + 1)) ] || fail "$service is not $primary + 1"
	hosts=$("$@" /etc/hosts)
	[ "$(echo "$hosts" | grep -c fly-global-services)" = 1 ] || fail "not one fly-global-services: $hosts"
	[ "$(echo "$hosts" | awk '$2 == "fly-global-services" {print $1}')" = "$service" ] || fail "$hosts"
	[ "$(echo "$hosts" | awk '$2 == "fly-local-6pn" {print $1}')" = "$private" ] || fail "$hosts"
	expect_text "localhost" "$hosts"
	[ "$("$@" /etc/resolv.conf | tr -d '\r')" = "nameserver 192.0.2.1" ] || fail "resolv.conf: $("$@" /etc/resolv.conf)"
	local addresses
	addresses=$(host ip netns exec "wherry-$id" ip -4 -o address show dev eth0 | awk '{printf "%s ", $4}')
	[ "$addresses" = "$primary/29 $service/29 " ] || fail "eth0 has $addresses"
	expect_text "$private/112" "$(host ip netns exec "wherry-$id" ip -6 -o address show dev eth0)"
	expect_text "mtu 1500" "$(host ip netns exec "wherry-$id" ip link show dev eth0)"
}
image_cat() { host wherry machine exec "$web" -- /program cat "$1"; }
check_network "$web" image_cat
environment=$(host wherry machine exec "$web" -- /program env)
for variable in FLY_APP_NAME=web "FLY_MACHINE_ID=$web" "FLY_ALLOC_ID=$web" FLY_REGION=local \
	FLY_PROCESS_GROUP=web FLY_MACHINE_VERSION=1 "FLY_IMAGE_REF=$tool" "FLY_PUBLIC_IP=$v6" \
	FLY_PRIVATE_IP=fdaa: FLY_VM_MEMORY_MB= PRIMARY_REGION=fra "GREETING=hello world" COUNT=7; do
	expect_text "env $variable" "$environment"
done
expect_text "FLY_PROCESS_GROUP=worker" "$(host wherry machine exec "$worker" -- /program env)"
expect_text "host $web" "$(host wherry machine exec "$web" -- /program host)"

# A program of the host.
run_exit 0 wherry machine run -q --rootfs / -g worker -e COUNT=8 -- "$program" env print up sleep
rootfs=$(echo "$out" | tail -n 1)
rootfs_cat() { host wherry machine exec "$rootfs" -- cat "$1"; }
check_network "$rootfs" rootfs_cat
environment=$(host wherry logs -m "$rootfs")
for variable in FLY_APP_NAME=web "FLY_MACHINE_ID=$rootfs" FLY_PROCESS_GROUP=worker "GREETING=hello world" COUNT=8; do
	expect_text "env $variable" "$environment"
done

# exec: input, output, status, both kinds; a terminal.
[ "$(echo to the program | host wherry machine exec "$rootfs" -- cat)" = "to the program" ] || fail "no input"
run_exit 7 wherry machine exec "$web" -- /program exit 7
run_exit 7 wherry machine exec "$rootfs" -- sh -c 'exit 7'
[ "$(host wherry machine exec "$rootfs" -- sh -c 'echo err >&2' 2>/dev/null)" = "" ] || fail "errors are output"
run wherry machine exec "$rootfs" -- /no/such/program
[ "$status" != 0 ] || fail "a program that is not there"
expect_text "/no/such/program" "$out"
host script -qec "wherry machine exec $rootfs -- sh -c 'test -t 0 && echo a terminal'" /dev/null | grep -q "a terminal" ||
	fail "no terminal in a rootfs machine"
run_exit 2 wherry machine exec "$rootfs"
run_exit 3 wherry machine exec ffffffffffffff -- true
run_exit 0 wherry machine stop "$rootfs"
run_exit 4 wherry machine exec "$rootfs" -- true

# Logs: follow, through a crash, by machine; -n 0 is new lines only.
run_exit 0 wherry apps create talker
udp_toml talker "$v1" 53 >talker.toml
sed -i '1a [processes]\n  app = "talks 53"' talker.toml
sed -i 's/protocol = .*/&\n  processes = ["app"]/' talker.toml
run_exit 0 wherry deploy -y -c talker.toml
address=$(address_of talker)
ask "$address" 53 "say before" >/dev/null || fail "the talker does not answer"
wherry lab exec --name "$lab" host-1 -- wherry logs -f -n 0 -a talker >followed 2>&1 &
follower=$!
sleep 0.6
ask "$address" 53 "say while following" >/dev/null
eventually 3 grep -q "while following" followed || fail "logs -f shows nothing: $(cat followed)"
ask "$address" 53 "exit 9" >/dev/null
eventually 5 grep -q "talks listens" followed || fail "logs -f ends with a crash: $(cat followed)"
expect_text "[error] last words: exit 9" "$(cat followed)"
grep -q before followed && fail "-n 0 shows old lines: $(cat followed)"
kill $follower
wait $follower 2>/dev/null
expect_text "last words" "$(host wherry logs -a talker)"
[ "$(host wherry logs -a talker -n 2 | wc -l)" = 2 ] || fail "-n 2 shows $(host wherry logs -a talker -n 2)"
eventually 5 ask "$address" 53 hello || fail "the talker did not come back"

# Bounded: 30 MB of lines are not kept, the last ones are, and all that are kept can be read.
ask "$address" 53 "fill 30000" >/dev/null
ask "$address" 53 "say the end of it" >/dev/null
last_line() { host wherry logs -a talker -n 1 | grep -q "the end of it"; }
eventually 10 last_line || fail "the last line is not there: $(host wherry logs -a talker -n 1)"
kept=$(host du -sk "/var/lib/wherry/machines/$(machine_ids talker)" | cut -f 1)
[ "$kept" -lt 22000 ] || fail "$kept KiB of logs are kept"
lines=$(host wherry logs -a talker -n 20000 | wc -l)
[ "$lines" -ge 15000 ] || fail "only $lines of 20000 lines can be read"
expect_text '"message":"the end of it"' "$(host wherry logs -a talker -n 1 -j)"
pass
