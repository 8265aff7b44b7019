#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# wherryd may die at any time. Killed and started again it finds its machines running, with their
# status, restarts and logs, and whoever ended while it was away. Stopped in the middle of a deploy it
# leaves the old release serving, and the next one takes the half-made machine away. Two daemons do
# not work on one state directory.
. "$(dirname "$0")/../lib/e2e.sh"

app=$(helper udp_app)
v1=$(image v1 "$app" v1)
idle=$(image idle "$(helper machine_app)" print waiting sleep)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >web.toml
udp_toml idle "$idle" >idle.toml

kill_daemon() { wherry lab kill --name "$lab" host-1 wherryd || fail "cannot kill wherryd"; }
start_daemon() {
	wherry lab start --name "$lab" host-1 wherryd >/dev/null || fail "wherryd does not start"
}
pid_of_daemon() { host cat /run/wherry/wherryd.pid; }
machine_field() { host wherry machine status "$1" -j | field "$2" | head -n 1; }

run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y -c web.toml
address=$(address_of web)
image_machine=$(machine_ids web)
run_exit 0 wherry machine run -a web -q --rootfs / -- "$app" rootfs
rootfs_machine=$(echo "$out" | tail -n 1)
ask "$address" 5000 "say before the restart" >/dev/null || fail "it does not answer"
pid=$(machine_field "$image_machine" pid)
rootfs_pid=$(machine_field "$rootfs_machine" pid)

# Without it: traffic goes on, the command line says so.
kill_daemon
run_exit 6 wherry status -a web
expect_text "is it running? systemctl start wherryd" "$out"
ask "$address" 5000 "say while it was away" >/dev/null || fail "no answer without wherryd"
start_daemon

# Everything is as it was.
[ "$(machine_field "$image_machine" state)" = started ] || fail "the image machine was not adopted"
[ "$(machine_field "$image_machine" pid)" = "$pid" ] || fail "the image machine was restarted"
[ "$(machine_field "$rootfs_machine" pid)" = "$rootfs_pid" ] || fail "the rootfs machine was restarted"
[ "$(machine_field "$image_machine" restarts)" = 0 ] || fail "a restart of wherryd counts as the machine's"
ask "$address" 5000 hello >/dev/null || fail "no answer after the restart"
logs=$(host wherry logs -a web)
expect_text "before the restart" "$logs"
expect_text "while it was away" "$logs"

# Ends while it is away are noticed: the crash is made good, counted once, in the events.
kill_daemon
kill -9 "$pid"
sleep 0.3
start_daemon
restarted() {
	[ "$(machine_field "$image_machine" restarts)" = 1 ] &&
		[ "$(machine_field "$image_machine" state)" = started ]
}
eventually 5 restarted || fail "a machine that ended meanwhile: $(host wherry machine status "$image_machine")"
expect_text "ended by signal 9" "$(host wherry machine status "$image_machine" -j)"
kill_daemon
start_daemon
[ "$(machine_field "$image_machine" restarts)" = 1 ] || fail "an end is counted at each restart"

# A stop by hand holds over restarts.
run_exit 0 wherry machine stop "$rootfs_machine"
kill_daemon
start_daemon
[ "$(machine_field "$rootfs_machine" state)" = stopped ] || fail "a machine that was stopped was started"
run_exit 0 wherry machine start "$rootfs_machine"
run_exit 0 wherry machine destroy --force "$rootfs_machine"

# SIGTERM in the middle of a deploy (the program never binds, so that it takes 5 s).
serving=$(machine_ids web)
host wherry deploy -c web.toml --image "$idle" >deploy.log 2>&1 &
deploy=$!
eventually 5 grep -q Starting deploy.log
half_made() { [ "$(machine_ids web | wc -l)" = 2 ]; }
eventually 5 half_made || fail "no second machine"
half=$(machine_ids web | grep -v "$serving")
eventually 5 test -e "/run/netns/wherry-$half"
kill "$(pid_of_daemon)"
wait $deploy
status=$?
[ $status = 1 ] || [ $status = 6 ] || fail "the deploy's exit status is $status"
expect_text "nothing was changed" "$(cat deploy.log)"
stopped() { ! wherry lab status --name "$lab" | grep -q "wherryd running"; }
eventually 5 stopped || fail "wherryd does not stop: $(wherry lab status --name "$lab")"
ask "$address" 5000 hello >/dev/null || fail "no answer while wherryd is stopped"
start_daemon
eventually 5 gone "$half" || fail "the half-made machine is left: $(host wherry machine list -a web)"
[ "$(machine_ids web)" = "$serving" ] || fail "other machines than before: $(machine_ids web)"
expect_text '"release": 1' "$(host wherry machine status "$serving" -j)"
case "$(ask "$address" 5000 hello)" in "v1 "*) ;; *) fail "the old release does not serve" ;; esac

# Two daemons.
run_exit 1 wherryd
expect_text "another wherryd (pid $(pid_of_daemon)) uses /var/lib/wherry" "$out"
[ "$(echo "$out" | wc -l)" = 1 ] || fail "more than a line: $out"
run_exit 0 wherry status -a web
ask "$address" 5000 hello >/dev/null || fail "a second daemon disturbed the first"

# The command line of the daemon itself.
run_exit 2 wherryd --no-such-option
run_exit 2 wherryd word
run_exit 0 wherryd --version
pass
