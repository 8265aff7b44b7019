#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guide's app, from its Dockerfile, unchanged: it answers, it sees the client's real address,
# and the answer comes from the public one.
#
#   client-1 198.51.100.10 -- internet -- host-1 -- udp-echo under podman
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

command -v podman >/dev/null || skip "needs podman"

cp -r "$here/examples/udp-echo" "$work/app"
gcc -static -O2 -o "$work/app/udp-echo" "$work/app/echo.c" 2>"$work/gcc.log" ||
	fail "echo.c does not compile: $(cat "$work/gcc.log")"
lab_up
host wherry launch "$work/app" -y >"$work/launch.log" 2>&1 ||
	fail "launch fails: $(tail -n 3 "$work/launch.log")"
addr=$(address_of udp-echo)
expect_text 203.0.113. "$addr"

capture client-1 reply udp and src host "$addr"
answer=$(echo hello | client nc -u -w 1 -p 40001 "$addr" 5000)
[ "$answer" = hello ] || fail "nc -u got \"$answer\", not \"hello\""
expect_text "$addr.5000 > 198.51.100.10.40001: UDP" "$(captured reply)"
expect "the app's log does not say 198.51.100.10:40001: $(log_of udp-echo)" \
	eventually 3 log_says udp-echo "udp: 6 bytes from 198.51.100.10:40001"

# Every byte of a few sizes, and the app's services as the user sees them.
expect "echoes are not what was sent" probe "$addr:5000" 0 1 1400 1472 3000
expect_text "5000 => 5000" "$(host wherry services list -a udp-echo)"

# Nothing was dropped on the way.
for reason in malformed fragment_unknown spoofed_source stale_machine rewrite_failed; do
	[ "$(counter $reason)" = 0 ] || fail "$(counter $reason) packets were dropped: $reason"
done
pass
