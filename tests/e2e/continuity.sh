#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon may die, restart and bring new BPF programs at any time: at 1,000 echoes a second none
# is lost, known flows and new ones, and machines go on.
#
#   client-1: udpload paced -- internet -- host-1 -- udpapp
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

udpload=$build/bench/udpload
[ -x "$udpload" ] || udpload=$here/build/bench/udpload
[ -x "$udpload" ] || fail "$udpload is not built; run make test-tools"
lab_up
udp_config echo 5000
udp_app --port 5000 --bind fly-global-services
addr=$(address_of echo)
app=$(app_pid "$machine")

daemon_pid() { host cat /run/wherry/wherryd.pid; }
# Which programs are attached: their ids change when a daemon brings its own.
programs() {
	host sh -c 'for link in /sys/fs/bpf/wherry/links/*; do
		bpftool link show pinned "$link"; done' | grep -o 'prog [0-9]*' | sort | xargs
}
is_gone() { ! kill -0 "$1" 2>/dev/null; }
answers() { host wherry apps list >/dev/null 2>&1; }

begin() {
	client "$udpload" paced --to "$addr:5000" --rate 1000 --count "$1" >"$work/paced.json" &
	load=$!
	sleep 0.3
}
none_lost() { # WHAT
	wait $load || fail "echoes are lost, $1: $(cat "$work/paced.json")"
	expect_text '"lost": 0' "$(cat "$work/paced.json")"
	expect_text '"errors": 0' "$(cat "$work/paced.json")"
	kill -0 "$app" || fail "the app ended, $1"
}

# kill -9, a while without anyone, a new flow in that while, a new daemon.
begin 3000
expect "wherryd is not killed" wherry lab kill --name "$lab" host-1 wherryd
before=$(programs)
[ -n "$before" ] || fail "no program is attached without wherryd"
sleep 0.5
expect "a new flow without wherryd" probe --timeout 500 "$addr:5000" 0 100 3000
expect "wherryd does not start" wherry lab start --name "$lab" host-1 wherryd
expect "wherryd is not back" eventually 5 answers
none_lost "wherryd killed"

# A graceful stop and a start, twice, each of which replaces the programs in place.
begin 3000
for _ in 1 2; do
	pid=$(daemon_pid)
	kill "$pid"
	expect "wherryd does not stop" eventually 5 is_gone "$pid"
	expect "wherryd does not start" wherry lab start --name "$lab" host-1 wherryd
	expect "wherryd is not back" eventually 5 answers
done
none_lost "wherryd restarted"
after=$(programs)
[ "$before" != "$after" ] || fail "a new daemon did not bring its programs: $before"
[ "$(wc -w <<<"$before")" = "$(wc -w <<<"$after")" ] || fail "links: $before -> $after"

# Stopped in the middle of whatever it does, and gone on.
begin 1500
expect "wherryd is not paused" wherry lab pause --name "$lab" host-1 wherryd
sleep 0.5
expect "wherryd does not go on" wherry lab resume --name "$lab" host-1 wherryd
none_lost "wherryd paused"
[ "$(machine_field "$machine" state)" = started ] || fail "the machine is not started any more"
[ "$(machine_field "$machine" restarts)" = 0 ] || fail "the machine was restarted"
pass
