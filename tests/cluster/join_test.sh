#!/bin/bash
# A cluster of servers on one host: tokens, joining, what each of them serves, restarts, losses, members, a node.
. "$(dirname "$0")/lib.sh"
need_kubectl
DIR=$WORK/a # what lib.sh ends and shows
export KUBECONFIG=$DIR/admin.kubeconfig
declare -A PORT=([a]=6443 [b]=7443 [c]=8443 [d]=9443)
server() { # NAME FLAGS...: in the background of nobody, ready when this returns
	local n=$1
	shift
	"$MINID" server --dir "$WORK/$n" --detach "$@" 2>&1
}
first_start() { # NAME FLAGS...
	local n=$1 p=${PORT[$1]}
	shift
	server "$n" --listen "127.0.0.1:$p" --peer-listen "127.0.0.1:$((p + 1))" "$@"
}
stop() { "$MINID" stop --dir "$WORK/$1"; }
kill_hard() { kill -9 "$(cut -d' ' -f1 "$WORK/$1/server.lock")"; }
kc() { local n=$1; shift; k --kubeconfig "$WORK/$n/admin.kubeconfig" "$@"; }
ctl() { local n=$1; shift; "$MINICTL" --kubeconfig "$WORK/$n/admin.kubeconfig" "$@"; }
token() { "$MINID" token create --dir "$WORK/a" "$@"; }
members() { ctl "$1" cluster member list --no-headers | awk '{print $1, $4, $5}' | sort; }
listed() { ctl "$1" cluster list --no-headers | wc -l; }
same_lists() { [ "$(ctl a cluster list)" = "$(ctl b cluster list)" ] && [ "$(ctl a cluster list)" = "$(ctl c cluster list)" ]; }
API=https://127.0.0.1:6443

# ---- the first, and its tokens ----
expect "the first server starts" 'mini is ready' first_start a --name a
is_alone() { [ "$(members a)" = "a voter leader" ]; }
check "it is alone, votes and leads" eventually 5 is_alone
T=$(token)
expect "a token names the CA by its key's hash" '^[a-z0-9]{6}\.[a-z0-9]{16}@sha256:[0-9a-f]{64}$' echo "$T"
hash=$(openssl x509 -in "$WORK/a/pki/ca.crt" -pubkey -noout | openssl pkey -pubin -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1)
is "and the hash is openssl's" "$hash" "${T#*sha256:}"
secret() { k get secret -n kube-system "bootstrap-token-${T%%.*}" -o "jsonpath=$1"; }
is "it is a Secret of upstream's type" bootstrap.kubernetes.io/token "$(secret '{.type}')"
is "for upstream's group, and one of its own below it" system:bootstrappers:mini:servers "$(secret '{.data.auth-extra-groups}' | base64 -d)"
expect "token list" "^${T%%.*} +(24h00m|23h59m) +server" "$MINID" token list --dir "$WORK/a"
dead=$(token --ttl 1s)
gone=$(token)
check "token delete" "$MINID" token delete "$gone" --dir "$WORK/a"

# ---- who does not come in ----
join() { first_start b --name b --join "$API" --token "$1"; }
flipped=$(tr a-z0-9 b-z0-9a <<<"${T%@*}" | sed 's/^....../'"${T%%.*}"'/')@${T#*@}
fails "a false token" 'refuses the token: it has expired, was deleted, or is none of this cluster' join "$flipped"
fails "a deleted one" 'refuses the token' join "$gone"
fails "another CA's hash: nothing is sent" 'is not of the cluster that the token names' join "${T%@*}@sha256:$(printf '%064d' 7)"
fails "half a token" 'not whole: it reads' join "${T%@*}"
fails "no token" '--join needs --token' first_start b --join $API
fails "nobody there" '127.0.0.1:1 does not answer as a server of mini' first_start b --join https://127.0.0.1:1 --token "$T"
fails "a token for agents" 'does not let a server join' join "$(token --role agent)"
fails "a name that is taken" 'a server named "a" is in the cluster already: choose another' first_start b --name a --join $API --token "$T"
check "an expired token goes" k wait -n kube-system "secret/bootstrap-token-${dead%%.*}" --for=delete --timeout=10s
fails "and is refused" 'refuses the token' join "$dead"

# ---- two more ----
# a first start there was killed early
mkdir -p "$WORK/b/pki"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$WORK/b/pki/ca.key" 2>/dev/null
expect "the second joins" 'mini is ready' join "$T"
expect "the third joins through the second, with a name of its own making" 'mini is ready' \
	first_start c --join https://127.0.0.1:7443 --token "$T"
C=$(sed -n 's/.*"name": "\(.*\)",/\1/p' "$WORK/c/server.json")
is "three voters" 3 "$(members c | grep -c ' voter ')"
is "one of which leads" 1 "$(members c | grep -c ' leader$')"
check "each of them says the same" eventually 10 same_lists
is "keys are for their owner alone" "600 600 600 600" "$(stat -c %a "$WORK"/b/pki/{ca,sa,server}.key "$WORK/b/admin.kubeconfig" | xargs)"
check "write at one" kc a create configmap x --from-literal=k=1
is "read at another" 1 "$(kc b get configmap x -o 'jsonpath={.data.k}')"
kc b patch configmap x -p '{"data":{"k":"2"}}' >/dev/null
is "write there, read at the third" 2 "$(kc c get configmap x -o 'jsonpath={.data.k}')"
is "list with what was just written" 2 "$(kc a get configmaps -o 'jsonpath={.items[?(@.metadata.name=="x")].data.k}')"
rv=$(kc a get configmap x -o 'jsonpath={.metadata.resourceVersion}')
kc a patch configmap x -p '{"data":{"k":"3"}}' >/dev/null
check "a revision of one is a revision of all: watch from it" see 10 '"k":"3"' \
	"$KUBECTL" --kubeconfig "$WORK/c/admin.kubeconfig" get --raw "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=40&resourceVersion=$rv"
expect "a service account's token of one is good at another" '^200$' \
	curl -sk -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(kc b create token default)" https://127.0.0.1:8443/apis
endpoints() { kc a get endpoints kubernetes -o 'jsonpath={.subsets[*].ports[*].port}'; }
all_listed() { [ "$(endpoints)" = "6443 7443 8443" ]; }
check "the kubernetes service has them all" eventually 15 all_listed
soon "status: each in its own words" '^b +https://127.0.0.1:7443 +voter +(-|leader) +ready ' ctl c cluster status
expect "and for programs" '"leader": "[0-9a-f]{16}"' ctl c cluster status -o json
fails "the keys are not for admins" 'for the servers of the cluster alone' kc a get --raw /mini/v1/keys
fails "nor members for those without a role" 'cannot get path' kc a --as nobody get --raw /mini/v1/cluster
soon "metrics of the store" '^mini_store_revision [1-9]' kc b get --raw /metrics

# ---- the lead, a restart of all, a copy ----
check "the lead moves to b" ctl a cluster move-leader b
soon "and b leads" '^b voter leader' members c
check "a snapshot" ctl c snapshot save "$WORK/snap"
expect "is whole, and says what it has" '^Keys: +[1-9]' "$MINICTL" snapshot inspect "$WORK/snap"
cp "$WORK/snap" "$WORK/bad"
printf XXXXXXXXXXXXXXXX | dd of="$WORK/bad" bs=1 seek=5000 conv=notrunc 2>/dev/null
fails "a damaged one is refused" 'damaged' "$MINICTL" snapshot inspect "$WORK/bad"
fails "a store is not restored over" 'has a store' "$MINICTL" snapshot restore "$WORK/snap" --dir "$WORK/b"
for n in a b c; do stop $n & done
wait
start_all() {
	local n pids=() rc=0
	for n in a b c; do server "$n" >"$WORK/$n.start" & pids+=($!); done
	for n in "${pids[@]}"; do wait "$n" || rc=1; done
	cat "$WORK"/?.start
	return $rc
}
check "all start again without any flag" start_all
is "and have what they had" 3 "$(kc c get configmap x -o 'jsonpath={.data.k}')"
is "with the names they had" "$(printf '%s\n' a b "$C" | sort | xargs)" "$(members b | cut -d' ' -f1 | sort | xargs)"
mkdir -p "$WORK/d"
check "a snapshot is put in place" "$MINICTL" snapshot restore "$WORK/snap" --dir "$WORK/d"
expect "and a server starts with it" 'mini is ready' first_start d
is "which has it all" 3 "$(kc d get configmap x -o 'jsonpath={.data.k}')"
is "as a cluster of its own" 1 "$(ctl d cluster list --no-headers | wc -l)"
stop d
rm -rf "$WORK/d"

# ---- losses ----
kill_hard c
check "writes go on without one" eventually 10 kc a patch configmap x -p '{"data":{"k":"4"}}'
rm -rf "$WORK/c/store"
fails "a demo is not started in its place" "is a server's among others" "$MINID" demo --dir "$WORK/c"
expect "who lost its store comes back as another member" 'mini is ready' server c
is "with everything" 4 "$(kc c get configmap x -o 'jsonpath={.data.k}')"
three_voters() { [ "$(members a | grep -c ' voter ')" = 3 ]; }
check "three members still" eventually 10 three_voters
[ "$TAP_BAD" = 0 ] || ctl a cluster status
kill_hard b
kill_hard c
fails "without a quorum, writes are refused with a reason" 'no quorum: a majority of its voters must be up' \
	ctl a patch configmap x -p '{"data":{"k":"5"}}'
is "what may be old is read" 4 "$(kc a get --raw '/api/v1/namespaces/default/configmaps/x?resourceVersion=0' | sed 's/.*"k":"\([0-9]*\)".*/\1/')"
expect "readyz says why" 'etcd failed: the store has no quorum' kc a get --raw '/readyz?verbose'
soon "status shows who is missing" '^b .* unreachable' ctl a cluster status
check "they come back" server b
check "both" server c
check "and it goes on by itself" eventually 10 kc a patch configmap x -p '{"data":{"k":"5"}}'

# ---- members ----
add=$(ctl a cluster member add d --learner | sed -n 's/^ *minid server //p')
expect "member add says what to run" '^--name d --join https://127.0.0.1:[678]443 --token ' echo "$add"
fails "the token is for that name" 'this token is for the server "d"' first_start d --name e ${add#--name d}
# shellcheck disable=SC2086
expect "a learner joins" 'mini is ready' first_start d $add
soon "and does not vote" '^d learner -' members a
check "promoted" ctl a cluster member promote d
soon "it votes" '^d voter' members b
check "removed" ctl a cluster member remove d
soon "it is out" '^3$' listed b
check "and ends" eventually 10 sh -c "! kill -0 $(cut -d' ' -f1 "$WORK/d/server.lock") 2>/dev/null"
fails "it does not start again" 'was removed from its cluster' server d

# ---- a node ----
agent_token=$(token --role agent --name n1)
fails "a node's token is for no witness" 'a node is neither' token --role agent --witness
fails "nor for another node, where it names one" 'this token is for the node "n1"' \
	"$MINID" agent --dir "$WORK/n2" --join $API --token "$agent_token" --node-name n2
fails "a server's token does not make nodes" 'does not let a agent join|does not let an agent join' \
	"$MINID" agent --dir "$WORK/n" --join $API --token "$T" --node-name n1
"$MINID" agent --dir "$WORK/n" --join https://127.0.0.1:7443 --token "$agent_token" --node-name n1 --detach >"$WORK/n.out" 2>&1
expect "a node joins" 'mini is ready' cat "$WORK/n.out"
check "is registered" eventually 10 kc a get node n1
check "and is ready" kc a wait node/n1 --for=condition=Ready --timeout=20s
is "it has no CA key" "" "$(ls "$WORK/n/pki/ca.key" 2>/dev/null)"
expect "and is node n1, nothing else" 'subject=.*O *= *system:nodes.*CN *= *system:node:n1|subject=.*CN *= *system:node:n1.*O *= *system:nodes' \
	openssl x509 -in "$WORK/n/pki/kubelet-client.crt" -noout -subject
stop n
rm "$WORK/n/pki/kubelet-client.crt"
fails "without its certificate it says what to do" 'join again, with --join and --token$' "$MINID" agent --dir "$WORK/n" --node-name n1
"$MINID" agent --dir "$WORK/n" --join $API --token "$agent_token" --node-name n1 --detach >"$WORK/n.out" 2>&1
expect "and with a token has new ones, and all it had" 'mini is ready' cat "$WORK/n.out"
stop n
"$MINID" demo --reset --dir "$WORK/n" >/dev/null 2>&1
for n in c b a; do stop $n; done
check "nothing is left" no_leftovers
