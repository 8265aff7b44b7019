#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Datagrams of every size and make come through unchanged, both ways: 0 to 65,507 bytes, fragments,
# DF, no checksum, segmentation offload from client and app, IP options, many at once.
#
#   client-1 -- internet -- host-1 -- udpapp on fly-global-services and other sockets
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

all=(0 1 2 33 512 1232 1400 1471 1472 1473 1480 2952 2953 3000 9000 20000 65506 65507)
lab_up
udp_config echo 5000
udp_app --port 5000 --bind fly-global-services
addr=$(address_of echo)

# The app on fly-global-services, with the kernel's own handling of sizes.
expect "sizes are not echoed" probe "$addr:5000" "${all[@]}"
expect "fragments are not echoed" probe --fragment "$addr:5000" "${all[@]}"
expect "datagrams of 1500 bytes with DF are not echoed" probe --df "$addr:5000" 0 1 1472
expect_exit 5 "more than the link takes went out with DF" quietly probe --df "$addr:5000" 1473
expect "datagrams without checksum are not echoed" \
	probe --no-checksum "$addr:5000" 0 1 33 1472 1473 20000 65507
# 64 full segments; an odd last one; a single one.
expect "segmentation offload of the client breaks datagrams" \
	probe --segment 1000 "$addr:5000" 1000 5000 5001 63000
expect "segments of one byte are not echoed" probe --segment 1 "$addr:5000" 3 64
expect "segments of 1472 bytes are not echoed" probe --segment 1472 "$addr:5000" 20000 64768
for kind in nop record-route timestamp; do
	expect "datagrams with IP options ($kind) are not echoed" \
		probe --options "$kind" "$addr:5000" 0 1 512 1400 3000
done
# A flow at once: a full socket buffer would lose some, so they are kept to what it holds.
expect "some of 500 datagrams at once are lost" probe --burst 500 "$addr:5000" 64 1200
expect "some of 30 large datagrams at once are lost" probe --burst 30 "$addr:5000" 20000 3000

# Answers of other makes. Each in turn has the app to itself: one app, one machine.
replace() {
	host wherry machine destroy --force "$machine" >/dev/null 2>&1 ||
		fail "the machine is not destroyed"
	udp_app "$@"
}
replace --port 5000 --bind fly-global-services --df
expect "answers with DF do not arrive" probe --df "$addr:5000" 0 33 1472
replace --port 5000 --bind fly-global-services --segment 1000
expect "segmentation offload of the app breaks datagrams" \
	probe --segment 1000 "$addr:5000" 1000
for size in 5000 5001 20000 62000; do
	expect "an answer of $size bytes in segments breaks" \
		probe --segments-back 1000 "$addr:5000" $size
done
replace --port 5000 --bind fly-global-services --fragment
expect "fragmented answers do not arrive" probe --fragment "$addr:5000" "${all[@]}"
replace --port 5000
expect "a wildcard socket does not echo all sizes" probe "$addr:5000" "${all[@]}"
expect "a wildcard socket and segments" probe --segment 1000 "$addr:5000" 20000
replace --port 5000 --connect
expect "a connected socket does not echo all sizes" probe "$addr:5000" "${all[@]}"

for reason in malformed fragment_unknown spoofed_source stale_machine rewrite_failed; do
	[ "$(counter $reason)" = 0 ] || fail "$(counter $reason) packets were dropped: $reason"
done
pass
