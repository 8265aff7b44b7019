#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Errors find their way in both directions: closed ports are refused at once, the app hears of
# clients that are gone, path MTU discovery works through the public address.
#
#   client-1 -- internet -- host-1 -- udpapp
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

lab_up 2
udp_config echo 5000
udp_app --port 5000 --bind fly-global-services,none
addr=$(address_of echo)
pid=$(app_pid "$machine")
netns=$(machine_field "$machine" netns)

is_closed() { [ -z "$(nsenter --net="$netns" ss -Huln)" ]; }
refused() { # WHAT NODE ARGS...
	local what=$1
	shift
	expect_exit 3 "$what" quietly probe_at "$@"
}
# To the client the app's closed port is as any closed port, wherever the socket was before.
kill -USR1 "$pid"
expect "the app does not close its socket" eventually 3 is_closed
capture client-1 error "icmp or udp"
refused "the app's port is closed after a bind to fly-global-services" \
	client-1 --from 198.51.100.10:42000 "$addr:5000" 100
expect_text "$addr > 198.51.100.10: ICMP $addr udp port 5000 unreachable" "$(captured error)"
refused "a large datagram to the app's closed port" client-1 "$addr:5000" 3000

# No service there: the host answers for it, and what listens on the host stays out of it.
refused "a port that no service declares" client-1 "$addr:5001" 100
refused "a large datagram to an undeclared port" client-1 "$addr:5001" 3000
host "$tools/udpapp" --port 5001 >"$work/host-app.log" 2>&1 &
at_exit "kill $! 2>/dev/null"
expect "the host's own program does not run" eventually 3 grep -q bound "$work/host-app.log"
expect "it does not answer on the host's own address" probe 192.0.2.11:5001 100
refused "a program of the host on 0.0.0.0 answers on an app's address" client-1 "$addr:5001" 100
refused "a program of the host on 0.0.0.0 answers on an unused address of the pool" \
	client-1 203.0.113.77:5001 100
[ "$(counter no_service)" -gt 0 ] || fail "undeclared ports are not counted as no_service"

# Nobody makes the host send more errors than it wants to: the kernel's own limit, 1/s after a few.
capture client-2 errors "icmp[icmptype] = icmp-unreach"
for _ in $(seq 10); do
	probe_at client-2 --burst 20 --timeout 30 "$addr:5001" 10 2>/dev/null
done
errors=$(captured errors | grep -c "port 5001 unreachable")
[ "$errors" -ge 1 ] || fail "no error for an undeclared port"
[ "$errors" -le 20 ] || fail "$errors errors within a second: they are not rate-limited"

# The app hears that a client's port is closed, connected or not, whichever address it is bound to.
next_app() {
	host wherry machine destroy --force "$machine" >/dev/null 2>&1 || fail "destroy fails"
	udp_app --port 5000 "$@"
}
hears_refusal() {
	client "$tools/rawudp" "198.51.100.10:$1" "$addr:5000" 10
	expect "the app heard nothing of it: $2" eventually 3 app_said "from 198.51.100.10:$1"
	expect "no refusal reached the app: $2" eventually 3 app_said "recv: Connection refused"
}
app_said() {
	log_of_machine | grep -qF "$1"
}
log_of_machine() { host wherry logs -a echo -m "$machine" -n 100; }
next_app --bind fly-global-services --errors
hears_refusal 43001 "an unconnected socket on fly-global-services"
next_app --errors
hears_refusal 43002 "an unconnected wildcard socket"
next_app --connect
hears_refusal 43003 "a connected wildcard socket"

# A link of 1300 bytes on the way to the client: the router says so to the public address.
path_mtu() { # WHAT
	client "$tools/udpprobe" --timeout 300 "$addr:5000" 1400 2>/dev/null &&
		fail "an answer of 1400 bytes with DF passed a link of 1300: $1"
	expect_exit 4 "the second one" quietly probe --timeout 300 "$addr:5000" 1400
	expect "the app did not hear of the path MTU: $1" \
		eventually 3 app_said "send of 1400 bytes: Message too long"
	expect "what fits does not arrive: $1" probe "$addr:5000" 1272
}
link=$(on internet ip -o route get 198.51.100.10 | sed -n 's/.* dev \([^ ]*\).*/\1/p')
on internet ip route add 198.51.100.10/32 dev "$link" mtu 1300 || fail "no route of 1300 bytes"
next_app --bind fly-global-services --df
path_mtu "fly-global-services"
next_app --df
path_mtu "a wildcard socket"
# Without DF the kernel learns it at the first loss, and sends fragments from then on.
next_app --bind fly-global-services
probe --timeout 300 "$addr:5000" 1400 2>/dev/null
expect "the app's kernel does not cut answers to the path MTU" probe "$addr:5000" 1400 1472 9000
pass
