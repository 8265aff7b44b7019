#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A DNS server as a machine: dig gets its answers over UDP from outside, large ones in fragments,
# and over TCP where the machine can be reached.
#
#   client-1: dig -- internet -- host-1 -- dnsserver on UDP and TCP 53
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

command -v dig >/dev/null || skip "needs dig"
lab_up
cat >"$work/dns.toml" <<'END'
app = "dns"
[[services]]
  protocol = "udp"
  internal_port = 53
  [[services.ports]]
    port = 53
[[services]]
  protocol = "tcp"
  internal_port = 53
  [[services.ports]]
    port = 53
END
machine_of dns -- "$tools/dnsserver"
addr=$(address_of dns)
primary=$(machine_field "$machine" primary)
dig_at() { # NODE ARGS...
	local node=$1
	shift
	on "$node" dig +time=2 +tries=1 "$@"
}

[ "$(dig_at client-1 "@$addr" +short example.org)" = 192.0.2.53 ] || fail "no answer over UDP"
expect "the server does not see the client" eventually 3 log_says dns \
	"udp: query from 198.51.100.10:"
answer=$(dig_at client-1 "@$addr" +notcp +ignore +bufsize=1232 example.org TXT)
expect_text "flags: qr aa tc" "$answer"

# 3 KB in one datagram: three fragments on the way.
capture client-1 large "udp or (ip[6:2] & 0x1fff != 0)" -v
answer=$(dig_at client-1 "@$addr" +notcp +ignore +bufsize=4096 example.org TXT)
expect_text "MSG SIZE  rcvd: 30" "$answer"
expect_text "llllllll" "$answer"
expect_text "offset 2960" "$(captured large)"

# Many at once, each from another port.
for n in $(seq 8); do
	for m in 1 2 3 4 5; do
		echo "q$n-$m.example.org A"
	done >"$work/queries.$n"
	dig_at client-1 "@$addr" +short -f "$work/queries.$n" >"$work/answers.$n" 2>&1 &
	digs[n]=$!
done
for n in $(seq 8); do wait "${digs[n]}"; done
[ "$(cat "$work"/answers.* | grep -cx 192.0.2.53)" = 40 ] || fail "some of 40 queries got no answer"

# TCP, straight to the machine until the public address serves it; and the whole text by it.
answer=$(dig_at host-1 "@$primary" +tcp example.org TXT)
expect_text "MSG SIZE  rcvd: 30" "$answer"
expect_text "(TCP)" "$answer"
expect_text "TCP" "$(host wherry services list -a dns 2>&1)"
pass
