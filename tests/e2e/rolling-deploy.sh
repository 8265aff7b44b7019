#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A deploy over a running release: every probe is answered during the change, a flow that lives stays
# with the machine of before until that has drained, and the old machine is gone afterwards. A deploy
# that fails, whatever the reason, says why in one sentence, exits with 1, leaves the old release
# serving and no machine of its own behind.
. "$(dirname "$0")/../lib/e2e.sh"

probe=$(helper udp_probe)
app=$(helper udp_app)
v1=$(image v1 "$app" v1)
v2=$(image v2 "$app" v2)
quits=$(image quits "$app" quits 5000 192.0.2.99)
ends=$(image ends "$(helper machine_app)" print enough exit 0)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >v1.toml
udp_toml web "$v2" >v2.toml
sed -i '1i kill_timeout = 10' v1.toml v2.toml
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y -c v1.toml
address=$(address_of web)
old=$(machine_ids web)

ask_says() { case "$(ask "$address" 5000 who)" in "$1 "*) ;; *) return 1 ;; esac; }

# One flow all the time, and new flows all the time, 200 probes a second each.
wherry lab exec --name "$lab" client-1 -- "$probe" "$address" 5000 100000 5 >one-flow &
one_flow=$!
wherry lab exec --name "$lab" client-1 -- "$probe" "$address" 5000 100000 5 new >new-flows &
new_flows=$!
sleep 0.5
host wherry deploy -c v2.toml >deploy.log 2>&1 &
deploy=$!
eventually 5 ask_says v2 || fail "the new release does not serve: $(cat deploy.log)"
# The living flow keeps the old machine, which takes no new ones.
sleep 1.5
[ -e "/run/netns/wherry-$old" ] || fail "the old machine is gone while a flow of it lives"
expect_text '"draining": true' "$(host wherry machine status "$old" -j)"
kill $one_flow
wait $one_flow || fail "the flow that was there lost probes: $(cat one-flow)"
expect_text "by=v1:" "$(cat one-flow)"
expect_text "changes=0" "$(cat one-flow)"
wait $deploy || fail "the deploy failed: $(cat deploy.log)"
kill $new_flows
wait $new_flows || fail "new flows lost probes: $(cat new-flows)"
expect_text "changes=1" "$(cat new-flows)"
expect_text "refused=0" "$(cat new-flows)"
gone "$old" || fail "the old machine is still there"
[ "$(machine_ids web | wc -l)" = 1 ] || fail "not one machine: $(machine_ids web)"
grep -q "Release v2 of web is live" deploy.log || fail "$(cat deploy.log)"

# Deploys that fail.
serving=$(machine_ids web)
wherry lab exec --name "$lab" client-1 -- "$probe" "$address" 5000 100000 5 >while-failing &
while_failing=$!

fails() { # WHAT, then the deploy's words
	local what=$1
	shift
	run_exit 1 wherry deploy "$@"
	echo "$what: $(echo "$out" | tail -n 1)"
	[ "$(echo "$out" | grep -c Error:)" = 1 ] || fail "$what: not one sentence: $out"
	[ "$(machine_ids web | grep -c "$serving")" = 1 ] || fail "$what: the machine that served is gone"
	eventually 5 only_serving || fail "$what left machines: $(host wherry machine list -a web)"
	ask_says v2 || fail "$what: the release of before does not serve"
	expect_text '"release": 2' "$(host wherry config show -a web -j; host wherry machine status "$serving" -j)"
}
only_serving() { [ "$(machine_ids web)" = "$serving" ] && [ "$(veth_count)" = 1 ]; }

grep -v 'build\|image' v2.toml >unbuilt.toml
printf 'FROM scratch\nCOPY nothing-of-this-name /\n' >Dockerfile
fails "a Dockerfile that fails" -c unbuilt.toml
expect_text "nothing-of-this-name" "$out"
fails "an image that does not exist" -c v2.toml --image localhost/nothing:1
expect_text "there is no image localhost/nothing:1" "$out"
fails "an app that exits at once" -c v2.toml --image "$quits"
expect_text "exited with code 1" "$out"
expect_text "its last words: 192.0.2.99: Cannot assign requested address" "$out"
expect_text "release v2 goes on serving" "$out"
fails "an app that ends with success" -c v2.toml --image "$ends"
expect_text "exited with code 0; its last words: enough" "$out"
with_command() { # COMMAND
	sed 's/protocol = .*/&\nprocesses = ["app"]/' v2.toml
	printf '[processes]\n  app = "%s"\n' "$1"
}
with_command "v2 5000 192.0.2.98" >command.toml
fails "a command that is wrong" -c command.toml
with_command "say 'open" >quotes.toml
run_exit 5 wherry deploy -c quotes.toml
expect_text "quotes.toml:" "$out"
kill -0 $while_failing 2>/dev/null || fail "the probe ended early"
kill $while_failing
wait $while_failing || fail "probes were lost while deploys failed: $(cat while-failing)"
expect_text "changes=0" "$(cat while-failing)"

# A second deploy while one is under way is refused.
host wherry deploy -c v1.toml >deploy.log 2>&1 &
deploy=$!
eventually 5 grep -q Starting deploy.log
run_exit 4 wherry deploy -c v2.toml
expect_text "being deployed" "$out"
wait $deploy || fail "$(cat deploy.log)"
ask_says v1 || fail "the last deploy does not serve"
pass
