#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Joining a fleet: eight hosts that join at the same moment get ids and slices of their own; a copy of
# a host, two hosts with one name or one endpoint, another machine pool and an identity that is none are
# refused in one sentence; a host that dies and comes back is who it was.
#
#   host-1 .. host-8, each edge and worker, and one etcd
# shellcheck source=tests/lib/udp.sh
. "$(dirname "$0")/../lib/udp.sh"
command -v jq >/dev/null || skip "jq is not installed"

fleet_up --hosts 8 --clients 1
state=/var/lib/wherry
config=/etc/wherry/wherryd.toml

hosts_json() { on host-1 wherry hosts list -j; }
count_of() { hosts_json | jq "[.[] | select($1)] | length"; }
all_in() { [ "$(count_of true)" = 8 ]; }
log_of() { echo "/var/lib/wherry-lab/$lab/$1/wherryd.log"; }
stop_daemon() { expect "wherryd of $1 is not killed" wherry lab kill --name "$lab" "$1" wherryd; }
start_daemon() { wherry lab start --name "$lab" "$1" wherryd >"$work/start.log" 2>&1; }
answers() { on "$1" wherry apps list >/dev/null 2>&1; }
# Starts the daemon of a host, which is to say no; in one line.
refused() { # HOST WORDS...
	local node=$1 words
	shift
	: >"$(log_of "$node")"
	start_daemon "$node"
	said() { grep -q level=error "$(log_of "$node")" || grep -q "^wherryd:" "$(log_of "$node")"; }
	expect "$node does not refuse" eventually 10 said
	for words in "$@"; do
		expect_text "$words" "$(cat "$(log_of "$node")")"
	done
	ended() { ! answers "$node"; }
	expect "$node runs all the same" eventually 5 ended
}
edit() { on "$1" sed -i "$2" $config; } # HOST EXPRESSION
back() { # HOST: as it was
	start_daemon "$1"
	expect "$1 does not come back: $(tail -n 2 "$(log_of "$1")")" eventually 15 answers "$1"
}

# --- at the same moment ---------------------------------------------------------------------
expect "not all hosts are in the fleet" eventually 10 all_in
[ "$(hosts_json | jq -r '.[].id' | sort -n | xargs)" = "1 2 3 4 5 6 7 8" ] || fail "the ids are $(hosts_json | jq -r '.[].id' | xargs)"
key_count() { # PREFIX
	on store curl -s -m 5 http://192.0.2.5:2379/v3/kv/range -d "{\"key\":\"$(printf %s "wherry/$1" | base64 -w 0)\",\"range_end\":\"$(printf %s "wherry/${1%/}0" | base64 -w 0)\",\"count_only\":true}" | jq -r '.count // "0"'
}
[ "$(key_count slices/)" = 8 ] || fail "there are $(key_count slices/) slices for 8 hosts"
[ "$(key_count hosts/)" = 8 ] || fail "there are $(key_count hosts/) hosts"

# --- a copy of a host -----------------------------------------------------------------------
id_1=$(hosts_json | jq -r '.[] | select(.name == "host-1") | .id')
stop_daemon host-2
on host-2 cp -a $state/identity "$work/identity-2"
on host-2 cp -a $state/mesh.key "$work/key-2"
on host-1 cat $state/identity >"$work/identity-1"
on host-1 cat $state/mesh.key >"$work/key-1"
on host-2 cp "$work/identity-1" $state/identity
on host-2 cp "$work/key-1" $state/mesh.key
refused host-2 "host $id_1 (host-1) is alive" "has the same identity" "remove $state/identity"
expect "host-1 does not go on" answers host-1
[ "$(count_of '.name == "host-1"')" = 1 ] || fail "host-1 is not what it was: $(hosts_json)"
on host-2 bash -c 'echo nonsense >/var/lib/wherry/identity'
refused host-2 "$state/identity is not the identity of a host"
on host-2 cp "$work/identity-2" $state/identity
on host-2 cp "$work/key-2" $state/mesh.key
back host-2

# --- one name, one endpoint, another pool ---------------------------------------------------
stop_daemon host-3
on host-3 cp $config "$work/config-3"
edit host-3 's/^host_name.*/host_name = "host-4"/'
refused host-3 "is called host-4, too" "set another host_name"
on host-3 cp "$work/config-3" $config
# While the store thinks that the host lives where it was, another place is a copy's.
silent() { [ "$(key_count host-alive/)" = 7 ]; }
expect "the sign of life of host-3 does not go" eventually 15 silent
address_4=$(wherry lab status --name "$lab" -j | jq -r '.nodes[] | select(.name == "host-4") | .addresses[0]')
on host-3 bash -c "grep -v '^endpoint' $config >$config.new; { echo 'endpoint = \"$address_4\"'; cat $config.new; } >$config"
refused host-3 "host host-4 is reached at $address_4 as well"
on host-3 cp "$work/config-3" $config
on host-3 bash -c "grep -v '^machine_pool' $config >$config.new; { echo 'machine_pool = \"10.200.0.0/16\"'; cat $config.new; } >$config"
refused host-3 "machine_pool is 10.200.0.0/16 here and" "in the fleet"
on host-3 cp "$work/config-3" $config
back host-3
[ "$(count_of true)" = 8 ] || fail "there are $(count_of true) hosts now"

# --- a host that dies and comes back --------------------------------------------------------
main_host=host-5
udp_config echo 5000
udp_app --port 5000
id_5=$(hosts_json | jq -r '.[] | select(.name == "host-5") | .id')
network=$(machine_field "$machine" service)
addr=$(address_of echo)
expect "the client gets no echo" eventually 5 probe "$addr:5000" 100
expect "the host is not killed" wherry lab kill --name "$lab" host-5
main_host=host-1
is_lost() { ! hosts_json | jq -r '.[] | select(.name == "host-5") | .status' | grep -q ready; }
expect "nobody notices that the host died" eventually 15 is_lost
expect "the host does not start" wherry lab start --name "$lab" host-5
expect "wherryd of the host does not answer" eventually 15 answers host-5
[ "$(hosts_json | jq -r '.[] | select(.name == "host-5") | .id')" = "$id_5" ] || fail "the host has another id"
expect "the machine does not serve when its host is back" eventually 20 probe "$addr:5000" 100
[ "$(machine_field "$machine" service)" = "$network" ] || fail "the machine has another network"
[ "$(machine_ids echo)" = "$machine" ] || fail "there are other machines: $(machine_ids echo)"
[ "$(key_count slices/)" = 8 ] || fail "there are $(key_count slices/) slices for 8 hosts"
pass
