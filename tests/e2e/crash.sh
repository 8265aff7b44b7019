#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What becomes of programs that end: one that crashes is started again, each time a little later, is
# counted and gets its traffic back; one that ends with success stays ended. Stop, start and destroy by
# hand. kill_signal reaches every process of a machine, also behind a shell that passes nothing on,
# and what is left after kill_timeout is killed.
. "$(dirname "$0")/../lib/e2e.sh"

app=$(helper udp_app)
program=$(helper machine_app)
v1=$(image v1 "$app" v1)
shell=$(image shell "$program" fork print up handle 10 sleep)
stubborn=$(image stubborn "$program" ignore 2 print up sleep)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >web.toml
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y -c web.toml
address=$(address_of web)
id=$(machine_ids web)
machine() { host wherry machine status "${2:-$id}" -j | field "$1" | head -n 1; }
answers() { ask "$address" 5000 hello >/dev/null; }
is() { [ "$(machine state "$2")" = "$1" ]; }

# Crashes.
for i in 1 2; do
	expect_text "exit 3" "$(ask "$address" 5000 "exit 3")"
	restarted() { [ "$(machine restarts)" = "$i" ] && is started "$id"; }
	eventually 5 restarted || fail "after crash $i: $(host wherry machine status "$id")"
	eventually 2 answers || fail "no traffic after crash $i"
done
[ "$(machine exit_code)" = 3 ] || fail "exit code $(machine exit_code), not 3"
expect_text "the program exited with code 3" "$(host wherry machine status "$id")"
expect_text "last words: exit 3" "$(host wherry logs -a web)"
crashed=$SECONDS
ask "$address" 5000 "exit 1" >/dev/null
sleep 0.7
is failed "$id" || fail "the third restart does not wait longer: $(machine state)"
# Who does not want to wait starts it.
run_exit 0 wherry machine start "$id"
answers || fail "no traffic after a start by hand"
[ $((SECONDS - crashed)) -le 3 ] || fail "a start by hand waits for the back-off"

# The end with success.
ask "$address" 5000 "exit 0" >/dev/null
eventually 3 is stopped "$id" || fail "a program that ended is $(machine state)"
sleep 1
is stopped "$id" || fail "a program that ended with success was started again"
expect_text '"Status": "suspended"' "$(host wherry status -a web -j)"
run_exit 0 wherry machine start "$id"
answers || fail "it cannot be started again"

# By hand.
run_exit 4 wherry machine destroy "$id"
expect_text "stop it first, or destroy it with --force" "$out"
run_exit 0 wherry machine stop "$id"
is stopped "$id" || fail "stop returned before it was stopped"
answers && fail "a stopped machine answers"
run_exit 0 wherry machine stop "$id"
run_exit 0 wherry machine start "${id:0:6}"
answers || fail "no traffic after stop and start"
run_exit 3 wherry machine stop ffffffffffffff
run_exit 2 wherry machine stop
run_exit 0 wherry machine stop "$id"
run_exit 0 wherry machine destroy "$id"
gone "$id" || fail "something is left of $id"
run_exit 3 wherry machine status "$id"

# kill_signal behind a shell: PID 1 waits for its child and handles nothing.
with_signal() { printf 'app = "%s"\nkill_signal = "%s"\nkill_timeout = %s\n' "$1" "$2" "$3"; }
run_exit 0 wherry apps create shell
with_signal shell SIGUSR1 5 >shell.toml
run_exit 0 wherry deploy -y -c shell.toml --image "$shell"
id=$(machine_ids shell)
start=$(date +%s%N)
run_exit 0 wherry machine stop "$id"
took_ms=$((($(date +%s%N) - start) / 1000000))
[ $took_ms -lt 3000 ] || fail "the signal did not reach the child: stopped after $took_ms ms"
expect_text "bye" "$(host wherry logs -a shell)"
expect_text "done" "$(host wherry logs -a shell)"

# The same for a program of the host, by a real shell.
run_exit 0 wherry machine run -a shell -q --rootfs / -- /bin/sh -c "$program print up handle 10 sleep; true"
id=$(echo "$out" | tail -n 1)
expect_text '"release": 1' "$(host wherry machine status "$id" -j)"
child_is_up() { host wherry logs -a shell -m "$id" | grep -q up; }
eventually 5 child_is_up || fail "the program of the host does not print: $(host wherry logs -a shell -m "$id")"
run_exit 0 wherry machine stop "$id"
expect_text "done" "$(host wherry logs -a shell -m "$id")"

# Who ignores it is killed after kill_timeout.
run_exit 0 wherry apps create stubborn
with_signal stubborn SIGINT 2 >stubborn.toml
run_exit 0 wherry deploy -y -c stubborn.toml --image "$stubborn"
id=$(machine_ids stubborn)
start=$(date +%s%N)
run_exit 0 wherry machine stop "$id"
took_ms=$((($(date +%s%N) - start) / 1000000))
[ $took_ms -ge 1900 ] && [ $took_ms -lt 4000 ] || fail "killed after $took_ms ms, not 2000"
[ "$(machine exit_code)" = 137 ] || fail "exit code $(machine exit_code), not 137"
ids="$(machine_ids shell) $(machine_ids stubborn)"
run_exit 0 wherry apps destroy shell -y
run_exit 0 wherry apps destroy stubborn -y
# shellcheck disable=SC2086 # words
gone $ids || fail "something is left of $ids"
pass
