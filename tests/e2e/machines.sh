#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several machines: flows are spread over all of them and stay where they are, when another one
# comes and when one goes; those of the one that goes stay with it until it has drained.
#
#   client-1: 300 flows -- internet -- host-1 -- four machines, later five, later four
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"

flows=300

lab_up 2
udp_config echo 5000
ids=()
for n in 1 2 3 4; do
	udp_app --port 5000 --id "$n"
	ids[n]=$machine
done
addr=$(address_of echo)

coproc CLIENT { client "$tools/udpprobe" --flows $flows --timeout 1000 "$addr:5000"; }
at_exit "kill $CLIENT_PID 2>/dev/null"
# One datagram of each flow; the answers, in the flows' order.
round() {
	echo >&"${CLIENT[1]}"
	read -r -t 20 answers <&"${CLIENT[0]}" || fail "the client does not answer"
	case " $answers " in
	*" - "*) fail "flows without an answer, $1: $answers" ;;
	esac
}
share() { # MACHINE
	tr ' ' '\n' <<<"$answers" | grep -cx "$1"
}
between() { # LOW HIGH FLOWS WHO
	[ "$3" -ge "$1" ] || fail "$4 has only $3 of $flows flows"
	[ "$3" -le "$2" ] || fail "$4 has $3 of $flows flows"
}

round "at first"
at_first=$answers
for n in 1 2 3 4; do
	# A quarter is 75; beyond 45..105 is four sigma.
	between 45 105 "$(share $n)" "machine $n"
done
for _ in 1 2 3; do
	round "again"
	[ "$answers" = "$at_first" ] || fail "flows moved by themselves: $at_first -> $answers"
done

# A fifth one: what is known stays, also without wherryd; what is new is spread over five.
udp_app --port 5000 --id 5
ids[5]=$machine
round "after a machine came"
[ "$answers" = "$at_first" ] || fail "a machine came and flows moved: $at_first -> $answers"
new=$(echo | client "$tools/udpprobe" --flows $flows "$addr:5000")
expect_text 5 "$new"
fives=$(tr ' ' '\n' <<<"$new" | grep -cx 5)
between 35 95 "$fives" "the new machine"

# The second one goes: while it drains its flows are its own and no new one (of a client that
# was not there before: a port used again is a known flow) comes to it.
host wherry machine destroy --force "${ids[2]}" >"$work/destroy.log" 2>&1 &
destroy=$!
is_draining() { host wherry machine status "${ids[2]}" -j | grep -q '"draining": true'; }
expect "a machine that is to go does not drain" eventually 3 is_draining
round "while a machine drains"
[ "$answers" = "$at_first" ] || fail "a machine drains and flows moved: $at_first -> $answers"
new=$(echo | on client-2 "$tools/udpprobe" --flows 100 "$addr:5000")
case " $new " in
*" 2 "*) fail "a machine that drains got a new flow: $new" ;;
esac
wait $destroy || fail "destroy fails: $(cat "$work/destroy.log")"
round "after a machine left"
moved=0
read -r -a was <<<"$at_first"
read -r -a is <<<"$answers"
for i in "${!was[@]}"; do
	[ "${is[i]}" != 2 ] || fail "the machine that left answers"
	[ "${was[i]}" = "${is[i]}" ] && continue
	[ "${was[i]}" = 2 ] || fail "flow $i moved from machine ${was[i]} to ${is[i]}"
	moved=$((moved + 1))
done
[ $moved = "$(tr ' ' '\n' <<<"$at_first" | grep -cx 2)" ] || fail "$moved flows moved"
round "and again"
[ "$answers" = "${is[*]}" ] || fail "flows moved by themselves at the end"
pass
