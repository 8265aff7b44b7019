#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nothing is dropped in silence: foreign sources, fragments without their first one and broken
# headers end at the host and are counted under their names.
#
#   client-1 -- internet -- host-1 -- two machines that send what they may not
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

lab_up
udp_config echo 5000
udp_config other 5000
udp_app --port 5000
first=$machine
machine_of other -- "$tools/udpapp" --port 5000
second=$machine
addr=$(address_of echo)
service=$(machine_field "$first" service)
on client-1 "$tools/udpapp" --port 7000 >"$work/client.log" 2>&1 &
at_exit "kill $! 2>/dev/null"
eventually 3 grep -q bound "$work/client.log" || fail "the client's server does not run"

# COUNTER N CMD...: CMD adds N to the counter, and nothing to another one.
drops() { host wherry doctor -j | sed -n '/"drops"/,/}/p' | tr -d ' ,'; }
have=$(drops)
adds() {
	local name=$1 count=$2 before=$have
	shift 2
	"$@" || fail "cannot send: $*"
	have=$(drops)
	count=$(($(sed -n "s/\"$name\"://p" <<<"$before") + count))
	[ "$(sed "s/^\(\"$name\":\).*/\1$count/" <<<"$before")" = "$have" ] ||
		fail "$name should be $count after $*: $have"
}
raw() { client "$tools/rawudp" "$@"; }
spoof() { in_machine "$1" "$tools/rawudp" "$2" 198.51.100.10:7000 20; }

# Foreign sources: the world's, the host's, the public address itself, the neighbour's.
for source in 198.51.100.99 192.0.2.11 "$addr" "$(machine_field "$second" primary)" \
	"$(machine_field "$second" service)" 127.0.0.1; do
	adds spoofed_source 1 spoof "$first" "$source:5000"
done
adds spoofed_source 0 spoof "$first" "$service:5001"
expect "what it may send does not arrive" \
	eventually 3 grep -q "20 bytes from $addr:5001" "$work/client.log"
[ "$(grep -c "^udp:" "$work/client.log")" = 1 ] ||
	fail "spoofed datagrams reached the client: $(cat "$work/client.log")"

# Fragments: the later one first, then alone, then of another id than the first.
got() { host wherry logs -a echo -n 1000 | grep -c "3000 bytes from 198.51.100.10:$1"; }
adds fragment_unknown 1 raw --id 1 --offset 2960 198.51.100.10:46001 "$addr:5000" 3000
raw --id 2 --length 1480 198.51.100.10:46001 "$addr:5000" 3000
adds fragment_unknown 1 raw --id 3 --offset 1480 --length 1480 198.51.100.10:46001 \
	"$addr:5000" 3000
# In order, it arrives; so it does when the last one overtakes the middle one.
raw --id 4 --length 1480 198.51.100.10:46002 "$addr:5000" 3000
adds fragment_unknown 0 raw --id 4 --offset 2960 198.51.100.10:46002 "$addr:5000" 3000
adds fragment_unknown 0 raw --id 4 --offset 1480 --length 1480 198.51.100.10:46002 "$addr:5000" 3000
arrived() { [ "$(got 46002)" = 1 ]; }
expect "a datagram in three fragments did not arrive" eventually 3 arrived
[ "$(got 46001)" = 0 ] || fail "pieces of several datagrams were made into one"

# A first fragment too short for a UDP header.
adds malformed 1 raw --id 5 --length 4 198.51.100.10:46003 "$addr:5000" 100

# From outside with an address that cannot be there. One such datagram between two apps that echo,
# or from an app to itself, would go round for ever.
other=$(address_of other)
for source in "$other" "$addr" 203.0.113.99 192.0.2.11 "$service"; do
	adds martian_source 1 raw "$source:5000" "$addr:5000" 20
done
traffic() { host wherry doctor -j | sed -n "s/.*\"[rt]x_packets\": *//p" | xargs; }
before=$(traffic)
sleep 0.3
[ "$before" = "$(traffic)" ] || fail "packets go round between the apps: $before, then $(traffic)"
expect "real clients are dropped, too" probe "$addr:5000" 0 100 3000
pass
