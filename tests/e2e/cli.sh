#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line as a person and as a script meet it: each exit status, JSON with flyctl's names,
# tables that fit 80 columns, colour on terminals only and never under NO_COLOR, suggestions, help,
# completion, and the same answers by curl from the API's socket.
. "$(dirname "$0")/../lib/e2e.sh"

v1=$(image v1 "$(helper udp_app)" v1)
lab_up
cd "$work" || exit 1
udp_toml a-name-of-some-length "$v1" >fly.toml
web=a-name-of-some-length

# Exit statuses, each with its sentence.
run_exit 0 wherry version
run_exit 0 wherry apps create $web
run_exit 0 wherry deploy -y
run_exit 1 wherry deploy --image localhost/nothing:1
run_exit 2 wherry deploy --no-such-flag
run_exit 2 wherry ips list --app
run_exit 2 wherry scale count many
run_exit 3 wherry status -a nothing
expect_text "wherry apps create nothing" "$out"
run_exit 3 wherry machine status 00000000000000
run_exit 3 wherry ips release 203.0.113.77
run_exit 4 wherry apps create $web
run_exit 4 wherry machine destroy "$(machine_ids $web)"
printf 'app = "x"\n[[services]]\n protocol = "udp"\n [[services.ports]]\n  port = 70000\n' >bad.toml
run_exit 5 wherry deploy -c bad.toml
expect_text "bad.toml:5:" "$out"
run_exit 5 wherry config validate -c bad.toml
run_exit 5 wherry config validate -c no-such-file.toml
run_exit 6 wherry status --socket /nowhere.sock
expect_text "/nowhere.sock" "$out"
# A failure's JSON is one line on standard error; standard output stays empty.
[ -z "$(host wherry status -a nothing -j 2>/dev/null)" ] || fail "a failure prints to standard output"
expect_text '"code":"not_found"' "$(host wherry status -a nothing -j 2>&1)"
expect_text '"code":"invalid_config"' "$(host wherry deploy -c bad.toml -j 2>&1)"

# JSON.
ips=$(host wherry ips list -j)
expect_text '"Address": "203.0.113.1"' "$ips"
for type in v4 shared_v4 v6; do expect_text "\"Type\": \"$type\"" "$ips"; done
expect_text '"Region": "global"' "$ips"
machines=$(host wherry machine list -j)
for name in id name state region instance_id private_ip created_at updated_at image_ref config events checks; do
	expect_text "\"$name\": " "$machines"
done
status=$(host wherry status -j)
for name in ID Name Status Deployed Hostname Organization Machines; do expect_text "\"$name\": " "$status"; done
services=$(host wherry services list -j)
for name in Protocol Ports InternalPort Handlers ProcessGroup Regions Machines Addresses Served; do
	expect_text "\"$name\": " "$services"
done
doctor=$(host wherry doctor -j)
for name in checks mtu counters drops; do expect_text "\"$name\": " "$doctor"; done
expect_text '"Status": "deployed"' "$(host wherry apps list -j)"
expect_text '"commit": ' "$(host wherry version -j)"
for words in "ips list" "machine list" "status" "services list" "doctor" "apps list" "version" "config show"; do
	# shellcheck disable=SC2086 # words
	host wherry $words -j | host python3 -m json.tool >/dev/null 2>"$work/json.log" ||
		! command -v python3 >/dev/null || fail "$words -j is not JSON: $(cat "$work/json.log")"
done

# A terminal of 80 columns.
run_exit 0 wherry machine run --rootfs / -n a-machine-with-a-rather-long-name-of-its-own -- "$(helper udp_app)"
on_terminal() { # VAR=VALUE.. WORDS: what wherry prints there
	host env -u NO_COLOR TERM=xterm "${@:2}" script -qec "stty cols 80; wherry $1" /dev/null | tr -d '\r'
}
escape=$(printf '\033')
for words in "machine list" "status" "services list" "ips list" "apps list" doctor "help machine run"; do
	longest=$(on_terminal "$words" | sed "s/$escape\[[0-9;]*[mK]//g" | wc -L)
	[ "$longest" -gt 20 ] && [ "$longest" -le 80 ] || fail "wherry $words is $longest columns wide"
done
case "$(on_terminal "machine list")" in *"${escape}["*) ;; *) fail "no colour on a terminal" ;; esac
case "$(on_terminal "machine list" NO_COLOR=1)" in *"${escape}["*) fail "colour under NO_COLOR" ;; esac
case "$(host env -u NO_COLOR wherry machine list)" in *"${escape}["*) fail "colour in a pipe" ;; esac

# Slips of the finger.
run_exit 2 wherry statsu
expect_text 'did you mean "status"?' "$out"
run_exit 2 wherry machine lst
expect_text 'did you mean "machine list"?' "$out"
run_exit 2 wherry deploy --imgae x
expect_text 'did you mean --image?' "$out"

# Help for every command that help lists, one level down as well.
commands=$(host wherry help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ "$(echo "$commands" | wc -l)" -ge 14 ] || fail "help lists only: $commands"
for command in $commands; do
	run_exit 0 wherry help "$command"
	expect_text "Usage: wherry $command" "$out"
	for sub in $(echo "$out" | sed -n '/^Commands:/,/^$/s/^  \([a-z0-9-]*\) .*/\1/p'); do
		[ "$command" = lab ] || run_exit 0 wherry help "$command" "$sub"
	done
done
for shell in bash zsh fish; do
	host wherry completion $shell >"completion.$shell" || fail "no completion for $shell"
	! command -v $shell >/dev/null || $shell -n "completion.$shell" || fail "completion.$shell does not parse"
done
# shellcheck disable=SC2016 # for the inner shell
words=$(host bash -c '. ./completion.bash; COMP_WORDS=(wherry ma); COMP_CWORD=1; COMP_LINE="wherry ma"; COMP_POINT=9
	f=$(complete -p wherry | sed "s/.*-F \([^ ]*\).*/\1/"); $f wherry ma wherry; echo "${COMPREPLY[@]}"')
expect_text machine "$words"
expect_text "$web" "$(host wherry __complete wherry status -a "")"

# The API.
api() { host curl -sS --unix-socket /run/wherry/wherryd.sock "$@"; }
expect_text '"name":"wherryd"' "$(api http://wherry/v1/info | tr -d ' \n')"
expect_text '"Address":"203.0.113.1"' "$(api http://wherry/v1/apps/$web/ips | tr -d ' \n')"
code() { api -o body -w '%{http_code}' "$@"; }
[ "$(code http://wherry/v1/apps/nothing)" = 404 ] || fail "no 404"
[ "$(code http://wherry/v1/nothing)" = 404 ] || fail "no 404 for a path"
[ "$(code -X POST -d '{"name": "'$web'"}' http://wherry/v1/apps)" = 409 ] || fail "no 409"
[ "$(code -X POST -d '{"nmae": "x"}' http://wherry/v1/apps)" = 400 ] || fail "no 400"
expect_text 'nmae' "$(cat body)"
[ "$(code -X POST -d '{"name": ' http://wherry/v1/apps)" = 400 ] || fail "no 400 for bad JSON"
[ "$(code -X POST -d '{"config": "x", "dry_run": true}' http://wherry/v1/apps/$web/deploy)" = 422 ] || fail "no 422"
[ "$(code -X POST -d '{"counts": "all"}' http://wherry/v1/apps/$web/scale)" = 400 ] || fail "no 400 for counts"
[ "$(code -X PUT http://wherry/v1/apps)" = 405 ] || fail "no 405"
[ "$(code "http://wherry/v1/apps/$web/logs?lines=many")" = 400 ] || fail "no 400 for lines=many"
[ "$(host stat -c %a /run/wherry/wherryd.sock)" = 600 ] || fail "the socket is open to others"
setpriv_status=$(host setpriv --reuid 65534 --clear-groups wherry apps list >out.log 2>&1; echo $?)
[ "$setpriv_status" = 6 ] || fail "another user: exit status $setpriv_status: $(cat out.log)"
expect_text "root" "$(cat out.log)"
pass
