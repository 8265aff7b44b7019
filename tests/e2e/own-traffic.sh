#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an app sends of its own accord: from its primary address by NAT, as the host's, untouched by
# the data plane; from fly-global-services from the public address and the same port, and the
# answer of a stranger comes back, whether or not a service declares the port.
#
#   client-1: a server on 7000, a DNS server -- internet -- host-1 -- machines that ask
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

# An app that leaves its port to others. It has it at first, which machine run waits for.
quiet_app() {
	udp_app --port 5000 --bind fly-global-services,none
	kill -USR1 "$(app_pid "$machine")"
}

lab_up
udp_config echo 5000
quiet_app
first=$machine
addr=$(address_of echo)

serve() { # NODE NAME CMD...
	local node=$1 name=$2
	shift 2
	on "$node" "$@" >"$work/$name.log" 2>&1 &
	at_exit "kill $! 2>/dev/null"
	eventually 3 grep -q "bound\|listening" "$work/$name.log" || fail "$name does not run"
}
serve client-1 peer "$tools/udpapp" --port 7000 --id peer
serve client-1 echo "$tools/udpapp" --port 7001
serve client-1 dns "$tools/dnsserver" 198.51.100.10:53
serve host-1 host "$tools/udpapp" --port 7001 --bind 192.0.2.11
machine_probe() { in_machine "$first" "$tools/udpprobe" "$@"; }

before=$(counter own_traffic)
for port in 50000 5000; do
	seen=$(machine_probe --from "0.0.0.0:$port" --text hello 198.51.100.10:7000)
	expect_text 192.0.2.11: "$seen"
done
[ "$(counter own_traffic)" -gt "$before" ] || fail "own traffic is not counted as such"
expect "the app's own datagrams do not get out and back by NAT" \
	machine_probe 198.51.100.10:7001 0 100 1472 1473 3000 65507
expect "segmentation offload of own traffic" \
	machine_probe --segment 1000 198.51.100.10:7001 20000
[ "$(in_machine "$first" dig +short +time=2 +tries=1 @198.51.100.10 example.org)" = 192.0.2.53 ] ||
	fail "a DNS lookup of the app gets no answer"
expect_text "query from 192.0.2.11:" "$(cat "$work/dns.log")"
expect "the app does not reach its host" machine_probe 192.0.2.11:7001 100 3000
expect_exit 3 "own traffic to a closed port" quietly machine_probe 198.51.100.10:7009 10

# From fly-global-services: an undeclared port, then the service's own.
for port in 6000 5000; do
	seen=$(machine_probe --from "fly-global-services:$port" --text hello 198.51.100.10:7000)
	[ "$seen" = "$addr:$port" ] || fail "from fly-global-services:$port the stranger saw \"$seen\""
	expect "answers to port $port do not come back" machine_probe \
		--from "fly-global-services:$port" 198.51.100.10:7001 0 100 1472 3000 65507
	expect "segments from port $port" machine_probe --segment 1000 \
		--from "fly-global-services:$port" 198.51.100.10:7001 20000
	expect_exit 3 "a stranger's closed port, from port $port" quietly machine_probe \
		--from "fly-global-services:$port" 198.51.100.10:7009 10
	expect "from fly-global-services to the host itself, port $port" machine_probe \
		--from "fly-global-services:$port" 192.0.2.11:7001 100 3000
done

# With several machines the answer comes back to the one that asked.
quiet_app
second=$machine
for stranger in "$first 7011" "$first 7012" "$second 7021" "$second 7022" "$second 7023"; do
	port=${stranger#* }
	serve client-1 "echo$port" "$tools/udpapp" --port "$port"
	for from in 5000 6000; do
		expect "the answer to $stranger from port $from goes to another machine" \
			in_machine "${stranger% *}" "$tools/udpprobe" --timeout 1000 \
			--from "fly-global-services:$from" "198.51.100.10:$port" 100 3000
	done
done
pass
