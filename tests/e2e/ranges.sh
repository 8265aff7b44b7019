#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ranges of ports, several services and process groups on one address: each port leads to its own
# group and keeps its number, the neighbours of a range are closed, two apps do not meet.
#
#   client-1 -- internet -- host-1 -- app echo: "web" on 5000 and 20000-20100, "voice" on 5001 and
#                                     30001-30007; app other: 5000
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

cat >"$work/echo.toml" <<'END'
app = "echo"
[processes]
  web = "web"
  voice = "voice"
[[services]]
  protocol = "udp"
  processes = ["web"]
  [[services.ports]]
    port = 5000
  [[services.ports]]
    start_port = 20000
    end_port = 20100
[[services]]
  protocol = "udp"
  processes = ["voice"]
  [[services.ports]]
    port = 5001
  [[services.ports]]
    start_port = 30001
    end_port = 30007
END
both() { # ID PORT FIRST LAST: an app that serves a port and a range
	printf '#!/bin/sh\n%s --id %s --port %s --to-port %s --bind fly-global-services &\n' \
		"$tools/udpapp" "$1" "$3" "$4" >"$work/$1"
	printf 'exec %s --id %s --port %s\n' "$tools/udpapp" "$1" "$2" >>"$work/$1"
	chmod +x "$work/$1"
	options=(-g "$1")
	machine_of echo -- "$work/$1"
	options=()
}

lab_up 2
udp_config other 5000
both web 5000 20000 20100
both voice 5001 30001 30007
addr=$(address_of echo)
machine_of other -- "$tools/udpapp" --id other --port 5000
other=$(address_of other)
[ "$addr" != "$other" ] || fail "two apps have the address $addr"

says() { # WANT ADDR:PORT
	local have
	have=$(probe --text hello --timeout 1000 "$2")
	[ "$have" = "$1" ] || fail "$2 leads to \"$have\", not to $1"
}
refuses() { # NODE ADDR:PORT
	expect_exit 3 "$2 is not closed" quietly probe_at "$1" --timeout 1000 "$2" 10
}

says web "$addr:5000"
says voice "$addr:5001"
says other "$other:5000"
for port in 20000 20001 20031 20032 20063 20064 20095 20096 20099 20100; do
	says web "$addr:$port"
done
for port in 30001 30002 30003 30004 30005 30006 30007; do
	says voice "$addr:$port"
done
# The kernel gives a client a handful of errors at once: two clients ask.
for port in 4999 19999 30000; do refuses client-1 "$addr:$port"; done
for port in 5002 20101 30008; do refuses client-2 "$addr:$port"; done
refuses client-2 "$other:20000"

# Fragments know no ports and find the range all the same.
for port in $(seq 20000 7 20100); do
	on client-2 "$tools/udpprobe" --any-answer --timeout 1000 "$addr:$port" 0 3000 ||
		fail "port $port of the range does not answer"
done

# The other app's only machine goes: its port is closed, the first app's stay.
host wherry machine destroy --force "$machine" >/dev/null 2>&1 || fail "destroy fails"
says web "$addr:5000"
refuses client-1 "$other:5000"
[ "$(counter no_machine)" -gt 0 ] || fail "a service without machines is not counted as no_machine"
pass
