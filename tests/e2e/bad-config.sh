#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Configurations that are wrong: random bytes, 10 MB, ports and ranges that cannot be. `config
# validate` names file, line and column of every problem in one run, exits with 5, and needs neither
# root nor wherryd; `deploy` refuses the same and changes nothing.
. "$(dirname "$0")/../lib/e2e.sh"

lab_up
mkdir "$work/open" && chmod 755 "$work" "$work/open" && cd "$work/open" || exit 1
v1=$(image v1 "$(helper udp_app)" v1)
run_exit 0 wherry apps create web

# Outside of the lab no daemon answers, and this user may not do anything.
validate() {
	out=$(setpriv --reuid 65534 --regid 65534 --clear-groups env -u WHERRY_SOCKET \
		wherry config validate -c "$1" 2>&1)
	status=$?
}
invalid() { # FILE TEXT...: each TEXT is in what both commands say, both exit with 5
	local file=$1
	shift
	for tool in validate deploy; do
		if [ $tool = validate ]; then validate "$file"; else run timeout 20 wherry deploy -y -c "$file"; fi
		[ "$status" = 5 ] || fail "$tool $file exits with $status: $(echo "$out" | head -n 5 | cut -c1-300)"
		for text in "$@"; do expect_text "$text" "$out"; done
		[ "$(echo "$out" | wc -c)" -lt 20000 ] || fail "$tool $file says too much"
	done
}
service() { # PROTOCOL PORT-LINES...
	printf '[[services]]\n  protocol = "%s"\n' "$1"
	shift
	for port in "$@"; do printf '  [[services.ports]]\n    %b\n' "$port"; done
}
with_app() { printf 'app = "web"\n[build]\n  image = "%s"\n' "$v1"; }

# Bytes.
for i in 1 2 3; do
	head -c 4096 /dev/urandom >random$i.toml
	invalid random$i.toml "random$i.toml:"
done
printf 'app = "web"\n\0\0\0' >zeros.toml
invalid zeros.toml "zeros.toml:2:"
: >empty.toml
run_exit 5 wherry deploy -c empty.toml
expect_text "names no app" "$out"
{ with_app; head -c 10485760 /dev/zero | tr '\0' '#'; } >large.toml
invalid large.toml "large.toml"
{ with_app; yes '[[services]]' | head -n 700000; } >many.toml
invalid many.toml "many.toml"
mkdir directory.toml
invalid directory.toml "directory.toml"

# Ports. with_app is three lines, [[services]] and protocol two more, the first port's key the seventh.
one() { { with_app; service udp "$1"; } >"$2"; }
one 'port = 0' zero.toml
invalid zero.toml "zero.toml:7:12: error:" "1 to 65535"
one 'port = -1' negative.toml
invalid negative.toml "negative.toml:7:12: error:"
one 'port = 65536' beyond.toml
invalid beyond.toml "beyond.toml:7:12: error:"
one 'port = "5000x"' word.toml
invalid word.toml "word.toml:7:12: error:"
one 'start_port = 2000\n    end_port = 1000' reversed.toml
invalid reversed.toml "reversed.toml:" "2000"
one 'start_port = 2000' half.toml
invalid half.toml "half.toml:6:" "end_port"
{ with_app; service udp 'start_port = 1000\n    end_port = 2000' 'start_port = 1500\n    end_port = 2500'; } >overlap.toml
invalid overlap.toml "overlap.toml:" "1500"
{ with_app; service udp 'port = 53' 'port = 53'; } >twice.toml
invalid twice.toml "twice.toml:8:" "53"

# What UDP cannot do.
{ with_app; service udp 'port = 53' | sed 's/protocol.*/&\n  internal_port = 5353/'; } >internal.toml
invalid internal.toml "internal.toml:6:" "5353"
one 'port = 53\n    handlers = ["tls"]' handlers.toml
invalid handlers.toml "handlers.toml:8:" "handlers"

# All at once, in the order of the file.
{ with_app; service udp 'port = 0' 'port = -1' 'port = 65536'; printf '[processes]\n  "a b" = "x"\n'; } >all.toml
invalid all.toml "all.toml:7:" "all.toml:9:" "all.toml:11:" "all.toml:13:"
validate all.toml
[ "$(echo "$out" | grep -o 'all.toml:[0-9]*' | sort -t: -k2 -n -c 2>&1)" = "" ] || fail "not in order: $out"

# Unknown keys are warned about, those outside of networking are not.
{ with_app; service udp 'port = 53\n    handelrs = []'; printf '[mounts]\n  source = "x"\n'; } >typo.toml
validate typo.toml
[ "$status" = 0 ] || fail "a typo makes the file invalid: $out"
expect_text 'did you mean' "$out"
case "$out" in *mounts*) fail "[mounts] is warned about: $out" ;; esac
out=$(wherry config validate --strict -c typo.toml 2>&1)
[ $? = 5 ] || fail "--strict lets a warning pass: $out"

# Nothing was changed by all this, and what is right deploys.
expect_text '"Status": "pending"' "$(host wherry status -a web -j)"
[ "$(host wherry ips list -a web -j)" = "[]" ] || fail "a refused deploy left addresses"
run_exit 3 wherry config show -a web
one 'port = "5000"' good.toml
validate good.toml
[ "$status" = 0 ] || fail "the good file: $out"
run_exit 0 wherry deploy -y -c good.toml
shown=$(host wherry config show -a web)
expect_text '"port": 5000' "$shown"
expect_text '"kill_signal": "SIGINT"' "$shown"
[ "$(wherry config show -c good.toml)" = "$shown" ] || fail "the file and the release show differently"
pass
