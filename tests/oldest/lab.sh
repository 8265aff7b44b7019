#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a first day with Wherry needs, a line a check. It is meant for slow, emulated machines: rates
# are low, and tests/e2e has the details. Exits with 1 when a check failed.
#
#   client-1 -- internet -- host-1 -- echo of the guide (a program, then a container), udpapp
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

passed=0 failed=0
# What fails is one of the checks: the others go on.
fail() {
	echo "$*" >&2
	return 1
}
check() { # CLAIM CMD...
	local claim=$1 start=$SECONDS code
	shift
	"$@" >"$work/check.log" 2>&1
	code=$?
	if [ $code = 0 ]; then
		passed=$((passed + 1))
		printf 'ok      %s (%s s)\n' "$claim" $((SECONDS - start))
	else
		failed=$((failed + 1))
		printf 'FAILED  %s: exit status %s\n' "$claim" $code
		tail -n 10 "$work/check.log" | sed 's/^/    | /'
	fi
}
summary() {
	# A test that was cut short has failed, whatever it had found out.
	[ "${is_complete-}" = 1 ] || failed=$((failed + 1))
	echo "$passed passed, $failed failed, 0 skipped" >&3
}
exec 3>&1
at_exit summary

udpload=$build/bench/udpload
answers() { host wherry apps list; }
nc_hello() { # NODE ADDRESS
	[ "$(echo hello | on "$1" nc -u -w 2 "$2" 5000)" = hello ]
}
exits() { # STATUS CMD...
	local want=$1 have
	shift
	"$@"
	have=$?
	[ $have = "$want" ] || { echo "exit status $have, not $want"; false; }
}
load_is_lossless() { # CMD: what happens in the meantime
	local load
	client "$udpload" paced --to "$addr:5000" --rate 50 --count 400 >"$work/paced.json" &
	load=$!
	sleep 1
	"$@" || return
	wait $load
	cat "$work/paced.json"
	grep -q '"lost": 0,' "$work/paced.json" && kill -0 "$app"
}
kill_and_start() {
	wherry lab kill --name "$lab" host-1 wherryd && sleep 1 &&
		probe "$addr:5000" 10 3000 && wherry lab start --name "$lab" host-1 wherryd && eventually 10 answers
}
stop_and_start() {
	local pid
	pid=$(host cat /run/wherry/wherryd.pid)
	kill "$pid" && eventually 10 host sh -c "! kill -0 $pid" &&
		wherry lab start --name "$lab" host-1 wherryd && eventually 10 answers
}
# The programs by clsact: "interface program id", one a line.
filters() {
	# shellcheck disable=SC2016 # expanded by the host's shell
	host sh -c 'for path in /sys/class/net/*; do
		link=${path##*/}
		tc filter show dev "$link" ingress | sed -nE "s/.* (wherry_[a-z]+).* id ([0-9]+).*/$link \1 \2/p"
	done'
}
places() { filters | cut -d ' ' -f 1,2; }
one_each() { # LINKS: so many machines, eth0 and lo
	filters
	[ "$(places | wc -l)" = $(($1 + 2)) ] && [ -z "$(places | uniq -d)" ]
}
was_replaced() {
	filters
	[ "$(places)" = "$(cut -d ' ' -f 1,2 <<<"$before")" ] && [ "$(filters)" != "$before" ]
}
is_hairpinned() {
	in_machine "$machine" "$tools/udpprobe" "$addr:5000" 10 1472 3000
}
deploy() {
	cp -r "$here/examples/udp-echo" "$work/app" &&
		cp "$build/examples/udp-echo/echo" "$work/app/udp-echo" &&
		host wherry launch "$work/app" -y
}
nothing_is_left() {
	host ip -o link
	[ "$(veth_count)" = 0 ] && { [ -z "$before" ] || one_each 0; }
}
destroy_all() {
	local name
	for name in guide echo closed udp-echo; do
		host wherry apps destroy "$name" -y || return
	done
}

check "the lab comes up" lab_up
check "wherry doctor finds nothing wrong" host wherry doctor
udp_config guide 5000
check "the guide's program runs as a machine" \
	machine_of guide -- "$build/examples/udp-echo/echo"
guide=$(address_of guide)
check "nc -u of a client is answered" nc_hello client-1 "$guide"
check "nc -u of the host is answered" nc_hello host-1 "$guide"

udp_config echo 5000
check "a second app runs" udp_app --port 5000 --bind fly-global-services
addr=$(address_of echo)
app=$(app_pid "$machine")
check "datagrams of all sizes come back whole" probe "$addr:5000" 0 1 1400 1472 1473 3000 20000 65507
check "those that come in fragments too" probe --fragment "$addr:5000" 1473 3000 65507
check "segments of the client too" probe --segment 1000 "$addr:5000" 5001
check "a port without a service is refused" exits 3 probe "$addr:5001" 10
udp_config closed 5000
machine_of closed -- "$tools/udpapp" --port 6000
check "an app's closed port is refused" exits 3 probe "$(address_of closed):5000" 10
check "a machine reaches another by its public address" is_hairpinned
before=$(filters)
[ -z "$before" ] || check "each interface has one program" one_each 3
check "kill -9 of wherryd, a time without, a start: no echo is lost" load_is_lossless kill_and_start
check "a stop and a start: no echo is lost" load_is_lossless stop_and_start
[ -z "$before" ] || check "the new daemon put its programs in place of those of before" was_replaced
check "a container of the guide's app is deployed" deploy
check "nc -u of a client is answered by it" nc_hello client-1 "$(address_of udp-echo)"
check "wherry doctor finds nothing wrong after all that" host wherry doctor
check "all apps are destroyed" destroy_all
check "nothing is left of their machines" nothing_is_left
is_complete=1
[ $failed = 0 ]
