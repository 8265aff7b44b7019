#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Any bind works, and a change of it is seen at once, with and without wherryd: the data plane asks
# the kernel where the machine's socket is.
#
#   client-1 -- internet -- host-1 -- udpapp, which binds elsewhere on SIGUSR1
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

lab_up 2
udp_config echo 5000
# The primary address is what eth0 has first; an app finds it out as this script does.
cat >"$work/app" <<END
#!/bin/sh
primary=\$(ip -4 -o addr show dev eth0 | sed -n '1s/.*inet \([0-9.]*\).*/\1/p')
exec $tools/udpapp --port 5000 --bind \
	fly-global-services,0.0.0.0,\$primary,::,none,0.0.0.0,fly-global-services,0.0.0.0
END
chmod +x "$work/app"
machine_of echo -- "$work/app"
addr=$(address_of echo)
pid=$(app_pid "$machine")
netns=$(machine_field "$machine" netns)
primary=$(machine_field "$machine" primary)
service=$(machine_field "$machine" service)

is_bound() { # SOCKET as ss prints it; "" for none
	[ "$(nsenter --net="$netns" ss -Huln | awk '{print $4}' | sort | xargs)" = "$1" ]
}

rebind() { # SOCKET
	kill -USR1 "$pid"
	eventually 3 is_bound "$1" || fail "the app did not bind to \"$1\""
}

# One flow all the way, a new one beside it, and more than a packet of each.
echoes() {
	expect "no echo in a known flow: $1" probe --from 198.51.100.10:41000 "$addr:5000" 100 3000
	expect "no echo in a new flow: $1" probe_at client-2 "$addr:5000" 0 100 3000
}

expect "the app is not bound to fly-global-services" eventually 3 is_bound "$service:5000"
echoes "fly-global-services"
rebind "0.0.0.0:5000"
echoes "0.0.0.0 after fly-global-services"
rebind "$primary:5000"
echoes "the primary address"
rebind "*:5000"
echoes "[::], dual stack"
rebind ""
expect_exit 3 "a port that the app closed" quietly probe "$addr:5000" 10
# Now without anyone who could tell the data plane.
expect "wherryd is not killed" wherry lab kill --name "$lab" host-1 wherryd
rebind "0.0.0.0:5000"
echoes "0.0.0.0, without wherryd"
rebind "$service:5000"
echoes "fly-global-services after 0.0.0.0, without wherryd"
rebind "0.0.0.0:5000"
echoes "0.0.0.0 after fly-global-services, without wherryd"
expect "wherryd does not start" wherry lab start --name "$lab" host-1 wherryd
eventually 5 host wherry apps list || fail "wherryd is not back"
echoes "after wherryd came back"
host wherry machine destroy --force "$machine" >/dev/null 2>&1 || fail "destroy fails"

# A wildcard socket that connects to each client, as iperf3's server does: two clients, in turn.
udp_app --port 5000 --connect
for _ in 1 2 3; do
	expect "a connected socket does not answer" \
		probe --from 198.51.100.10:41000 "$addr:5000" 100 3000
	expect "a second connected socket does not answer" \
		probe_at client-2 --from 198.51.100.11:41000 "$addr:5000" 100 3000
done
connected=$(nsenter --net="$(machine_field "$machine" netns)" ss -Hun | awk '{print $NF}' | sort |
	xargs)
[ "$connected" = "198.51.100.10:41000 198.51.100.11:41000" ] ||
	fail "the app connected to \"$connected\""
host wherry machine destroy --force "$machine" >/dev/null 2>&1 || fail "destroy fails"

# A socket on fly-global-services beside a wildcard one takes it all; when it closes, the other.
udp_app --port 5000 --bind fly-global-services,none --also 0.0.0.0
netns=$(machine_field "$machine" netns)
pid=$(app_pid "$machine")
service=$(machine_field "$machine" service)
is_bound "0.0.0.0:5000 $service:5000" || fail "the app does not have both sockets"
echoes "two sockets"
rebind "0.0.0.0:5000"
echoes "the second socket of two"
pass
