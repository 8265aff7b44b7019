#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `scale count` up and down, by group, while traffic flows; what does not work leaves first. `launch`
# in a directory with and without a fly.toml, twice, without deploying; `deploy DIR`.
. "$(dirname "$0")/../lib/e2e.sh"

probe=$(helper udp_probe)
app=$(helper udp_app)
v1=$(image v1 "$app" v1)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >fly.toml
sed -i 's/protocol = .*/&\n  processes = ["web"]/' fly.toml
printf '[processes]\n  web = "v1"\n  worker = "worker 9"\n' >>fly.toml
run_exit 0 wherry apps create web
run_exit 4 wherry scale count web=2
expect_text "never deployed" "$out"
run_exit 0 wherry deploy -y
address=$(address_of web)
count() { host wherry machine list -j | grep -c "\"process_group\": \"$1\""; }
[ "$(count web)$(count worker)" = 11 ] || fail "not one machine a group: $(host wherry machine list)"

run_exit 2 wherry scale count 3
expect_text "web" "$out"
run_exit 2 wherry scale count nothing=3
run_exit 0 wherry scale count web=3 worker=2
[ "$(count web)$(count worker)" = 32 ] || fail "scaled to 3 and 2: $(host wherry machine list)"
run_exit 0 wherry scale count 3 -g web
[ "$(count web)$(count worker)" = 32 ] || fail "scaling to what is there changes something"

# All three take flows, and scaling down loses none.
by=$(client "$probe" "$address" 5000 300 2 new) || fail "probes were lost: $by"
used=$(for id in $(machine_ids web); do
	host curl -s --unix-socket /run/wherry/wherryd.sock http://wherry/v1/counters | tr -d ' \n' |
		grep -o "\"$id\":{\"rx_packets\":[0-9]*" | grep -v ':0$'
done | wc -l)
[ "$used" = 3 ] || fail "$used of 3 machines took flows"
wherry lab exec --name "$lab" client-1 -- "$probe" "$address" 5000 100000 5 new >new-flows &
new_flows=$!
broken=$(host wherry machine list -j | grep -B 10 '"process_group": "web"' | field id | head -n 1)
run_exit 0 wherry machine stop "$broken"
run_exit 0 wherry scale count web=2
[ "$(count web)" = 2 ] || fail "scaled to 2: $(host wherry machine list)"
case "$(machine_ids web)" in *"$broken"*) fail "a machine that works left, a stopped one stayed" ;; esac
run_exit 0 wherry scale count web=1
kill $new_flows
wait $new_flows || fail "scaling down lost probes: $(cat new-flows)"
run_exit 0 wherry scale count worker=0
[ "$(count web)$(count worker)" = 10 ] || fail "scaled to 1 and 0: $(host wherry machine list)"

# The counts outlive a deploy; a machine by hand outlives both.
run_exit 0 wherry machine run -q --rootfs / -g worker -- sleep 600
by_hand=$(echo "$out" | tail -n 1)
run_exit 0 wherry scale count web=2
run_exit 0 wherry deploy
[ "$(count web)$(count worker)" = 21 ] || fail "after a deploy: $(host wherry machine list)"
expect_text "$by_hand" "$(machine_ids web)"
run_exit 0 wherry apps destroy web -y

# launch: a directory that has a fly.toml keeps it.
mkdir kept new
udp_toml kept "$v1" 53 >kept/fly.toml
sum=$(md5sum <kept/fly.toml)
run_exit 0 wherry launch kept --no-deploy
[ "$(md5sum <kept/fly.toml)" = "$sum" ] || fail "launch changed the fly.toml"
expect_text '"Status": "pending"' "$(host wherry status -a kept -j)"
run_exit 0 wherry launch kept -y --image "$(image dns "$app" dns 53)"
expect_text "App kept exists already" "$out"
expect_text "dns 198.51.100.10" "$(ask "$(address_of kept)" 53 hello)"
run_exit 0 wherry launch kept -y --image "$(image dns "$app" dns 53)"
expect_text "Release v2 of kept is live" "$out"

# Without one it is written, from what the Dockerfile exposes.
cp "$app" new/program
printf 'FROM scratch\nCOPY program /program\nEXPOSE 5000/udp\nCMD ["/program", "new"]\n' >new/Dockerfile
run_exit 0 wherry launch new -y --name fresh
expect_text "new 198.51.100.10" "$(ask "$(address_of fresh)" 5000 hello)"
expect_text 'protocol = "udp"' "$(cat new/fly.toml)"
expect_text "app = \"fresh\"" "$(cat new/fly.toml)"
run_exit 0 wherry config validate -c new/fly.toml
run_exit 0 wherry deploy new
expect_text "Release v2 of fresh is live" "$out"
mkdir nothing
run_exit 5 wherry launch nothing -y
expect_text "Dockerfile" "$out"
[ -z "$(ls nothing)" ] || fail "a launch that failed left $(ls nothing)"
run_exit 2 wherry launch new --name Wrong_Name
podman images --quiet --filter 'reference=localhost/wherry/fresh' | sort -u | xargs -r podman rmi --force >/dev/null 2>&1
pass
