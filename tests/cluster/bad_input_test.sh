#!/bin/bash
# Bad manifests: a clear error with upstream's code and reason, all faults at once, and nothing stored.
. "$(dirname "$0")/lib.sh"
need_kubectl
start_demo || { not_ok "start"; exit 1; }
API=https://127.0.0.1:6443
k config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$WORK/cert.pem"
k config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >>"$WORK/cert.pem"
ask() { curl -sk --max-time $((10 * SLOW)) -w '\n%{http_code}' -E "$WORK/cert.pem" "$@"; }
# send TYPE PATH: what stdin says, POSTed
send() { ask -H "Content-Type: $1" -H Expect: --data-binary @- "$API$2"; }
CM=/api/v1/namespaces/default/configmaps DEPLOY=/apis/apps/v1/namespaces/default/deployments
json() { send application/json "$1"; }
yaml() { send application/yaml "$1"; }
# says NAME CODE REASON PATTERN OUTPUT
says() {
	if [ "${5##*$'\n'}" = "$2" ] && grep -qE "\"reason\": ?\"$3\"" <<<"$5" && grep -qE -- "$4" <<<"$5"; then ok "$1"; else
		not_ok "$1"
		echo "# wanted: $2 $3 $4"
		echo "# got: ${5:0:900}"
	fi
}
deployment() { # NAME, and changes to it as sed commands
	local name=$1
	shift
	cat <<YAML | sed -E "$@"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: $name
spec:
  replicas: 1
  selector:
    matchLabels: {app: a}
  template:
    metadata:
      labels: {app: a}
    spec:
      containers:
      - name: main
        image: mini/demo:1
YAML
}

# ---- what cannot be read ----
says "broken YAML names the line" 400 BadRequest 'line 2' "$(printf 'metadata: {name: a}\n  x: [1, 2\ny: }\n' | yaml $CM)"
says "broken JSON" 400 BadRequest "line 2, column 1: expected" "$(echo '{"metadata": {"name": "a"' | json $CM)"
says "no body" 400 BadRequest . "$(printf '' | json $CM)"
says "not an object" 400 BadRequest . "$(echo '[1]' | json $CM)"
bomb='a: &a [x,x,x,x,x,x,x,x,x,x]'$'\n'
p=a
for q in b c d e f g h i; do bomb+="$q: &$q [*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p]"$'\n' p=$q; done
begin=${EPOCHREALTIME/./}
says "an alias bomb" 400 BadRequest 'alias' "$(echo "$bomb" | yaml $CM)"
[ $((${EPOCHREALTIME/./} - begin)) -lt $((1000000 * SLOW)) ] && ok "is defused at once" || not_ok "is defused at once"
nested() { awk -v n=20000 -v a="$1" -v b="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", a; for (i = 0; i < n; i++) printf "%s", b }'; }
says "20,000 levels of JSON" 400 BadRequest 'deep|depth|nest' "$( (printf '{"metadata":{"name":"deep"},"data":'; nested '{"a":' '}'; echo '}') | json $CM)"
says "20,000 lists" 400 BadRequest 'deep|depth|nest' "$(nested '[' ']' | json $CM)"
says "20,000 levels of YAML" 400 BadRequest 'deep|depth|nest' "$( (printf 'metadata: {name: deep}\ndata: '; nested '[' ']') | yaml $CM)"
big=$(head -c 3200000 /dev/zero | tr '\0' x >"$WORK/x"; (printf '{"metadata":{"name":"big"},"data":{"a":"'; cat "$WORK/x"; echo '"}}') | json $CM)
says "a body over 3 MiB" 413 RequestEntityTooLarge 'limit is 3145728' "$big"
expect "an encoding that is none" '415$' sh -c "echo hello | curl -sk -w '%{http_code}' -E '$WORK/cert.pem' -H 'Content-Type: text/plain' --data-binary @- '$API$CM'"
says "a wrong kind for the path" 400 BadRequest 'Deployment' "$(deployment d '' | yaml $CM)"
says "a wrong namespace" 400 BadRequest 'the namespace of the provided object does not match' \
	"$(echo '{"metadata":{"name":"a","namespace":"other"}}' | json $CM)"
says "a namespace that is not there" 404 NotFound 'namespaces \\"none\\" not found' "$(echo '{"metadata":{"name":"a"}}' | json /api/v1/namespaces/none/configmaps)"
says "no such resource" 404 NotFound . "$(ask $API/apis/apps/v1/nothings)" 2>/dev/null

# ---- what can be read but not meant ----
says "a wrong type" 400 BadRequest 'spec.replicas|replicas' "$(deployment d 's/replicas: 1/replicas: many/' | yaml $DEPLOY)"
says "a text where an object belongs" 400 BadRequest . "$(echo '{"metadata":"x"}' | json $CM)"
says "an unknown field, strict" 400 BadRequest 'strict decoding error: unknown field \\"spec.replicsa\\"' \
	"$(deployment d 's/replicas: 1/replicsa: 1/' | yaml "$DEPLOY?fieldValidation=Strict")"
says "a field twice, strict" 400 BadRequest 'strict decoding error.*(duplicate field|already set)' \
	"$(echo '{"metadata":{"name":"a"},"data":{"a":"1","a":"2"}}' | json "$CM?fieldValidation=Strict")"
expect "an unknown field, warn" '^< [Ww]arning: 299 - "unknown field .*spec.replicsa' \
	sh -c "$(declare -f deployment); deployment w 's/replicas: 1/replicsa: 1/' | curl -skv -E '$WORK/cert.pem' -H 'Content-Type: application/yaml' --data-binary @- '$API$DEPLOY?fieldValidation=Warn&dryRun=All' 2>&1" 2>&1
says "an invalid name" 422 Invalid 'metadata.name: Invalid value: \\"Not_Good\\": a lowercase RFC 1123 subdomain' "$(echo '{"metadata":{"name":"Not_Good"}}' | json $CM)"
says "no name" 422 Invalid 'name or generateName is required' "$(echo '{"metadata":{}}' | json $CM)"
says "negative replicas" 422 Invalid 'spec.replicas: Invalid value: -1: must be greater than or equal to 0' "$(deployment d 's/replicas: 1/replicas: -1/' | yaml $DEPLOY)"
says "a selector that does not match" 422 Invalid 'spec.template.metadata.labels: Invalid value: .*`selector` does not match template `labels`' \
	"$(deployment d 's/labels: .app: a./labels: {app: b}/;s/matchLabels: .app: b./matchLabels: {app: a}/' | yaml $DEPLOY)"
many=$(deployment Bad_Name 's/replicas: 1/replicas: -1/;s/name: main/name: Main/;s/image: .*/image: ""/;s/labels: .app: a./labels: {app: "?"}/' | yaml $DEPLOY)
says "all faults at once: the name" 422 Invalid '"field": ?"metadata.name"' "$many"
says "the replicas" 422 Invalid '"field": ?"spec.replicas"' "$many"
says "the container's name" 422 Invalid '"field": ?"spec.template.spec.containers\[0\].name"' "$many"
says "the image" 422 Invalid '"field": ?"spec.template.spec.containers\[0\].image"' "$many"
says "the label" 422 Invalid '"field": ?"spec.template.(metadata.)?labels"' "$many"
says "a port out of range" 422 Invalid 'spec.ports\[0\].port: Invalid value: 70000: must be between 1 and 65535, inclusive' \
	"$(echo '{"metadata":{"name":"s"},"spec":{"ports":[{"port":70000}]}}' | json /api/v1/namespaces/default/services)"
says "a quantity that is none" 400 BadRequest 'quantities must match|quantity' \
	"$(deployment d 's/( *)image: .*/\1image: x\n\1resources: {limits: {memory: lots}}/' | yaml $DEPLOY)"
says "a service address that is none" 422 Invalid 'spec.clusterIPs?(\[0\])?: Invalid value' \
	"$(echo '{"metadata":{"name":"s"},"spec":{"clusterIP":"1.2.3.4","ports":[{"port":80}]}}' | json /api/v1/namespaces/default/services)"
is "nothing was stored" "" "$(k get deployments,configmaps -o name | grep -v kube-root-ca)"
is "no service either" service/kubernetes "$(k get services -o name)"

# ---- what cannot be changed ----
deployment good '' | k apply -f - >/dev/null
fails "an immutable field" 'spec.selector: Invalid value: .*field is immutable' k patch deployment good --type=merge -p '{"spec":{"selector":{"matchLabels":{"x":"y"}},"template":{"metadata":{"labels":{"x":"y"}}}}}'
k run p --image=mini/demo:1 >/dev/null
fails "a pod's fields" 'pod updates may not change fields other than' k patch pod p -p '{"spec":{"hostNetwork":true}}'
fails "a secret's type" 'field is immutable' sh -c "k() { kubectl \"\$@\"; }; k create secret generic s --from-literal=a=b >/dev/null; k patch secret s -p '{\"type\":\"Other\"}'"
fails "immutable means it" 'field is immutable when .immutable. is set' sh -c "kubectl create configmap im --from-literal=a=b >/dev/null; kubectl patch configmap im -p '{\"immutable\":true}' >/dev/null; kubectl patch configmap im -p '{\"data\":{\"a\":\"c\"}}'"
fails "one that exists" 'deployments.apps "good" already exists' sh -c "kubectl create deployment good --image=x"
fails "an old revision" 'Conflict.*the object has been modified; please apply your changes to the latest version' sh -c \
	"kubectl get deployment good -o yaml >$WORK/old.yaml; kubectl scale deployment good --replicas=0 >/dev/null; kubectl replace -f $WORK/old.yaml"
fails "a patch that is none" 'BadRequest|unable to parse|cannot' k patch deployment good --type=json -p '[{"op":"nonsense","path":"/x"}]'
fails "a JSON patch of what is not there" 'The request is invalid: .*/spec/none' k patch deployment good --type=json -p '[{"op":"remove","path":"/spec/none"}]'
fails "a selector that is none" 'BadRequest|unable to parse requirement' k get pods -l 'a in ('
fails "a field selector that is none" 'field label not supported: spec.nothing' k get pods --field-selector spec.nothing=1

# ---- kubectl with a file ----
printf 'apiVersion: v1\nkind: ConfigMap\n  bad: [\n' >"$WORK/broken.yaml"
fails "kubectl names file and line" 'error parsing .*broken.yaml.*line' k apply -f "$WORK/broken.yaml"
deployment typo 's/replicas: 1/replicsa: 1/' >"$WORK/typo.yaml"
fails "kubectl's strict validation" 'strict decoding error: unknown field "spec.replicsa"|unknown field' k apply -f "$WORK/typo.yaml"
is "nothing was stored" "" "$(k get deployment typo -o name 2>/dev/null)"
expect "the server is well" '^ok' k get --raw /readyz
check "stop" stop_demo
