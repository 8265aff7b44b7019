#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bounds of time and memory. The deploy of an image that is there answers UDP within 2 s of the
# command's start. With 10,000 services, and ranges, and 100 apps, a wherryd that starts anew has all
# of it in order within 1 s and stays below 64 MiB.
. "$(dirname "$0")/../lib/e2e.sh"

app=$(helper udp_app)
v1=$(image v1 "$app" v1)
lab_up
cd "$work" || exit 1
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# The address is known beforehand, so that a client can ask all the while.
udp_toml web "$v1" >web.toml
run_exit 0 wherry apps create web
run_exit 0 wherry ips allocate-v4 -a web
address=$(address_of web)
wherry lab exec --name "$lab" client-1 -- sh -c "
	until timeout 0.05 '$(helper udp_probe)' $address 5000 ask hello 2>/dev/null; do :; done" >answered &
asking=$!
start=$(now_ms)
run_exit 0 wherry deploy -c web.toml &
wait $asking
took=$(($(now_ms) - start))
wait
expect_text "v1 198.51.100.10" "$(cat answered)"
echo "the first deploy of an image that is there answered after $took ms"
[ $took -lt 2000 ] || fail "$took ms to the first answer"

# 10,000 services of one app in a namespace that was there, with 100 ranges above them.
netns="$lab-box"
ip netns add "$netns" && at_exit "ip netns delete '$netns'"
{
	echo 'app = "many"'
	for ((i = 1; i <= 10000; i++)); do
		printf '[[services]]\n protocol = "udp"\n [[services.ports]]\n  port = %d\n' $i
	done
	for ((i = 0; i < 100; i++)); do
		printf '[[services]]\n protocol = "udp"\n [[services.ports]]\n  start_port = %d\n  end_port = %d\n' \
			$((20000 + i * 100)) $((20049 + i * 100))
	done
} >many.toml
run_exit 0 wherry apps create many
start=$(now_ms)
run_exit 0 wherry machine attach -y -a many -c many.toml --netns "$netns"
echo "attached with 10,100 services in $(($(now_ms) - start)) ms"
address=$(address_of many)
ip netns exec "$netns" sh -c "exec '$app' many 7777 0.0.0.0" >/dev/null &
at_exit "kill $!"
ip netns exec "$netns" sh -c "exec '$app' range 20149 0.0.0.0" >/dev/null &
at_exit "kill $!"
eventually 3 ask "$address" 7777 hello || fail "one of the services does not answer"
ask "$address" 20149 hello >/dev/null || fail "the end of a range does not answer"
ask "$address" 20150 hello && fail "a port behind a range answers"

# 99 apps more.
start=$(now_ms)
cat >apps.sh <<-'END'
	call() { curl -sSf -o /dev/null -d "$1" --unix-socket /run/wherry/wherryd.sock "http://wherry/v1/$2"; }
	for i in $(seq 98); do
		call "{\"name\": \"app-$i\"}" apps && call '{"type": "v4"}' "apps/app-$i/ips" || exit 1
	done
END
host bash apps.sh || fail "cannot make 98 apps"
echo "98 apps with addresses in $(($(now_ms) - start)) ms"
[ "$(host wherry apps list -j | grep -c '"ID"')" = 100 ] || fail "not 100 apps"

restart_ms() {
	wherry lab kill --name "$lab" host-1 wherryd
	start=$(now_ms)
	wherry lab start --name "$lab" host-1 wherryd >/dev/null || fail "it does not start"
	echo $(($(now_ms) - start))
}
took=$(restart_ms)
again=$(restart_ms)
[ "$again" -gt "$took" ] || took=$again # what else the machine does is not the matter here
rss=$(host awk '/^VmRSS:/ {print $2}' "/proc/$(host cat /run/wherry/wherryd.pid)/status")
echo "ready after $took ms with 10,100 services; $((rss / 1024)) MiB"
[ "$took" -lt 1000 ] || fail "$took ms from start to ready"
[ "$rss" -lt 65536 ] || grep -q __asan_init "$build/wherryd" || fail "wherryd takes $rss KiB"
ask "$address" 7777 hello >/dev/null || fail "no answer after the restart"
start=$(now_ms)
run_exit 0 wherry status -a many
echo "status in $(($(now_ms) - start)) ms"
start=$(now_ms)
run_exit 0 wherry apps destroy many -y
echo "destroyed in $(($(now_ms) - start)) ms"
ask "$address" 7777 hello && fail "a service of an app that is gone answers"
pass
