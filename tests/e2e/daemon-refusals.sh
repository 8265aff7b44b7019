#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What keeps wherryd from starting is said in one sentence with exit status 1, and nothing that runs is
# disturbed: not root, a kernel without BTF, without bpf(2), without programs for tc, a config that is
# wrong, a catalog that is no database or garbage in parts, a state directory that cannot be written.
# A disk that is full refuses changes, not traffic, and what was asked works when there is room again.
. "$(dirname "$0")/../lib/e2e.sh"

app=$(helper udp_app)
nobpf=$(helper nobpf)
v1=$(image v1 "$app" v1)
v2=$(image v2 "$app" v2)
lab_up
cd "$work" || exit 1
udp_toml web "$v1" >web.toml
run_exit 0 wherry apps create web
run_exit 0 wherry deploy -y -c web.toml
address=$(address_of web)
serving=$(machine_ids web)

kill_daemon() { wherry lab kill --name "$lab" host-1 wherryd || fail "cannot kill wherryd"; }
start_daemon() {
	wherry lab start --name "$lab" host-1 wherryd >/dev/null || fail "wherryd does not start"
}
serves() { case "$(ask "$address" 5000 hello)" in "$1 "*) ;; *) return 1 ;; esac; }

refuses() { # WHAT TEXT CMD...
	local what=$1 text=$2
	shift 2
	run timeout 20 "$@"
	echo "$what: $out"
	[ "$status" = 1 ] || fail "$what: exit status $status: $out"
	[ "$(echo "$out" | grep -cv 'level=\(info\|warn\|debug\)')" = 1 ] || fail "$what: not one sentence: $out"
	expect_text "$text" "$out"
	serves v1 || fail "$what: traffic was disturbed"
}

# Beside a daemon that runs: the lock alone keeps it out.
refuses "not root" "needs root" setpriv --reuid 65534 --clear-groups wherryd

kill_daemon
refuses "no BTF" "BTF" unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec wherryd'
refuses "no bpf(2)" "BPF" "$nobpf" all wherryd
refuses "no programs for tc" "BPF" "$nobpf" load wherryd
printf 'regoin = "x"\npublic_pools = ["203.0.113.0/33"]\n' >wrong.toml
refuses "a wrong config" "wrong.toml:2:" wherryd --config "$PWD/wrong.toml"
refuses "an interface that is not there" "nosuch0" sh -c \
	'sed "s/^public_interface.*/public_interface = \"nosuch0\"/" /etc/wherry/wherryd.toml >no-interface.toml
	exec wherryd --config "$PWD/no-interface.toml"'
start_daemon
serves v1 || fail "it does not serve after the refusals"
[ "$(machine_ids web)" = "$serving" ] || fail "the machine was replaced"

# The catalog.
db=/var/lib/wherry/catalog.db
kill "$(host cat /run/wherry/wherryd.pid)"
stopped() { ! wherry lab status --name "$lab" | grep -q 'wherryd running'; }
eventually 5 stopped || fail "wherryd does not stop"
host cp $db "$work/good.db"
host sh -c "rm -f $db-wal $db-shm; head -c 8192 /dev/urandom >$db"
refuses "a catalog that is no database" "catalog.db" wherryd
host sh -c "head -c 100 $work/good.db >$db"
refuses "a catalog that is cut off" "catalog.db" wherryd
host sh -c "cat $work/good.db >$db; dd if=/dev/urandom of=$db bs=512 seek=8 count=40 conv=notrunc status=none"
refuses "a catalog with garbage in it" "catalog.db" wherryd
host sh -c "rm -f $db-wal $db-shm; cat $work/good.db >$db"
refuses "a read-only directory" "/var/lib/wherry" unshare -m sh -c \
	'mount --bind -o ro /var/lib/wherry /var/lib/wherry && mount -o remount,bind,ro /var/lib/wherry && exec wherryd'
start_daemon
[ "$(machine_ids web)" = "$serving" ] || fail "something was lost: $(host wherry machine list -a web)"
serves v1 || fail "it does not serve with the catalog of before"

# A full disk. The directory moves to a small file system of its own, which a file fills.
kill "$(host cat /run/wherry/wherryd.pid)"
eventually 5 stopped || fail "wherryd does not stop"
host cp -a /var/lib/wherry small || fail "cannot copy the state directory"
host sh -c 'mount -t tmpfs -o size=4m,nr_inodes=400 wherry-small /var/lib/wherry &&
	cp -a small/. /var/lib/wherry/' || fail "cannot move the state directory"
start_daemon
serves v1 || fail "it does not serve from the small disk"
host sh -c 'cat /dev/zero >/var/lib/wherry/filler 2>/dev/null'
run_exit 1 wherry apps create another
echo "a full disk: $out"
[ "$(echo "$out" | wc -l)" = 1 ] || fail "not one sentence: $out"
expect_text "nothing was changed" "$out"
run_exit 1 wherry deploy -c web.toml --image "$v2"
echo "a full disk: $out"
run_exit 3 wherry status -a another
serves v1 || fail "traffic ends on a full disk"
only_serving() { [ "$(machine_ids web)" = "$serving" ]; }
eventually 5 only_serving || fail "machines on a full disk: $(host wherry machine list -a web)"
kill_daemon
run timeout 10 sh -c 'wherryd & pid=$!; sleep 2; kill $pid 2>/dev/null; wait $pid'
echo "a start on a full disk: $out"
serves v1 || fail "a start on a full disk disturbs traffic"
host rm /var/lib/wherry/filler
start_daemon
run_exit 0 wherry apps create another
run_exit 0 wherry deploy -c web.toml --image "$v2"
serves v2 || fail "the deploy after the disk had room does not serve"
pass
