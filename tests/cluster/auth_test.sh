#!/bin/bash
# Who may: strangers and nonsense 401, nobody 403, a service account only what a role gives it.
. "$(dirname "$0")/lib.sh"
need_kubectl
start_demo || { not_ok "start"; exit 1; }
API=https://127.0.0.1:6443
# The body and the status code, on one line.
ask() { curl -sk --max-time $((5 * SLOW)) -w ' %{http_code}' "$@" | tr -d '\n'; }
CA=$DIR/ca.pem
k config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$CA"
check "the CA in the kubeconfig is the server's" curl -sS --cacert "$CA" $API/version
expect "and 10.96.0.1 is a name of it" '"gitVersion"' curl -sS --max-time $((5 * SLOW)) --cacert "$CA" https://10.96.0.1/version

# ---- nobody ----
for path in /healthz /livez /readyz; do
	expect "no credentials: $path is open" '^ok 200$' ask $API$path
done
expect "no credentials: /version is open" '"major": *"1".* 200$' ask $API/version
expect "no credentials: the rest is not" '"reason": ?"Forbidden".*"code": ?403.* 403$' ask $API/api/v1/namespaces/default/pods
expect "and says who it is" 'pods is forbidden: User \\"system:anonymous\\" cannot list resource \\"pods\\" in API group \\"\\" in the namespace \\"default\\"' \
	ask $API/api/v1/namespaces/default/pods
expect "of a cluster-wide resource" 'nodes is forbidden: User \\"system:anonymous\\" cannot list resource \\"nodes\\" in API group \\"\\" at the cluster scope' \
	ask $API/api/v1/nodes
expect "of one object" 'secrets \\"x\\" is forbidden: User \\"system:anonymous\\" cannot delete resource \\"secrets\\"' \
	ask -X DELETE $API/api/v1/namespaces/default/secrets/x
expect "of a path" 'forbidden: User \\"system:anonymous\\" cannot get path \\"/metrics\\"' ask $API/metrics
expect "discovery is not for nobody" ' 403$' ask $API/apis

# ---- strangers ----
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /O=system:masters/CN=admin \
	-keyout "$WORK/stranger.key" -out "$WORK/stranger.pem" 2>/dev/null
expect "a stranger's certificate: 401" '"reason": ?"Unauthorized".* 401$' ask --cert "$WORK/stranger.pem" --key "$WORK/stranger.key" $API/api/v1/pods
fails "and kubectl says so" 'must be logged in|Unauthorized' k --kubeconfig /dev/null -s $API --insecure-skip-tls-verify \
	--client-certificate "$WORK/stranger.pem" --client-key "$WORK/stranger.key" get pods
for token in garbage a.b.c eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ. "$(head -c 20000 /dev/zero | tr '\0' a)"; do
	expect "a token that is not one: 401 (${token:0:12})" ' (401|431)$' ask -H "Authorization: Bearer $token" $API/api/v1/pods
done
expect "even where nobody may" ' 401$' ask -H "Authorization: Bearer garbage" $API/version

# ---- a service account ----
k create serviceaccount robot >/dev/null
expect "an account's token" '^ey' k create token robot
token=$(k create token robot)
as_robot() { ask -H "Authorization: Bearer $token" "$@"; }
forged=${token%?????}AAAAA
expect "a forged signature: 401" ' 401$' ask -H "Authorization: Bearer $forged" $API/api/v1/pods
payload=$(cut -d. -f2 <<<"$token" | tr _- /+ | base64 -d 2>/dev/null | sed s/robot/admin/g | base64 -w0 | tr /+ _- | tr -d =)
expect "a forged name: 401" ' 401$' ask -H "Authorization: Bearer $(cut -d. -f1 <<<"$token").$payload.$(cut -d. -f3 <<<"$token")" $API/api/v1/pods
expect "without a role: 403 with verb, resource and user" \
	'pods is forbidden: User \\"system:serviceaccount:default:robot\\" cannot list resource \\"pods\\" in API group \\"\\" in the namespace \\"default\\"' \
	as_robot $API/api/v1/namespaces/default/pods
expect "the group is named" 'deployments.apps is forbidden: .* cannot create resource \\"deployments\\" in API group \\"apps\\" in the namespace \\"default\\"' \
	as_robot -H 'Content-Type: application/json' -d '{"metadata":{"name":"x"}}' $API/apis/apps/v1/namespaces/default/deployments
expect "the subresource too" 'cannot get resource \\"pods/log\\"' as_robot $API/api/v1/namespaces/default/pods/x/log
expect "discovery it may" ' 200$' as_robot -o /dev/null $API/apis
check "a role" k create role reader --verb=get,list --resource=pods
check "and its binding" k create rolebinding reader --role=reader --serviceaccount=default:robot
soon "now it may" '"kind": ?"PodList".* 200$' as_robot $API/api/v1/namespaces/default/pods
expect "only that verb" 'cannot watch resource' as_robot "$API/api/v1/namespaces/default/pods?watch=1"
expect "only there" 'in the namespace \\"kube-system\\"' as_robot $API/api/v1/namespaces/kube-system/pods
expect "auth can-i" '^yes' k auth can-i list pods --as=system:serviceaccount:default:robot
expect "auth can-i, no" '^no' k auth can-i delete pods --as=system:serviceaccount:default:robot
expect "impersonation gets the same answer" 'cannot list resource "pods".*kube-system' k get pods -n kube-system --as=system:serviceaccount:default:robot
expect "may it give itself more? no" 'cannot (create|get|list)' \
	k create clusterrolebinding mine --clusterrole=cluster-admin --serviceaccount=default:robot --as=system:serviceaccount:default:robot
k create role giver --verb=create,get,list --resource=rolebindings,roles >/dev/null
k create rolebinding giver --role=giver --serviceaccount=default:robot >/dev/null
expect "who may bind still can't give what it has not" 'attempting to grant RBAC permissions not currently held|cannot' \
	k create rolebinding more --clusterrole=admin --serviceaccount=default:robot --as=system:serviceaccount:default:robot
expect "nor write it in a role" 'attempting to grant RBAC permissions not currently held' \
	k create role more --verb='*' --resource=secrets --as=system:serviceaccount:default:robot
check "the binding goes" k delete rolebinding reader
soon "and the right with it" ' 403$' as_robot $API/api/v1/namespaces/default/pods
k delete serviceaccount robot >/dev/null
soon "a deleted account's token: 401" ' 401$' as_robot $API/api/v1/namespaces/default/pods
# ---- a node ----
node=$(field nodes '{.items[0].metadata.name}')
as_node() { ask --cert "$DIR/pki/kubelet-client.crt" --key "$DIR/pki/kubelet-client.key" "$@"; }
NS=$API/api/v1/namespaces/default
k create secret generic wanted --from-literal=a=b >/dev/null
k create secret generic other --from-literal=a=b >/dev/null
expect "a node may not list secrets" 'cannot list resource \\"secrets\\".* 403$' as_node $NS/secrets
expect "nor get one that none of its pods needs" "no relationship found between node '$node' and this object.* 403$" as_node $NS/secrets/wanted
k apply -f - >/dev/null <<-YAML
	apiVersion: v1
	kind: Pod
	metadata: {name: reader}
	spec:
	  nodeName: $node
	  terminationGracePeriodSeconds: 0
	  containers: [{name: c, image: "none:1", envFrom: [{secretRef: {name: wanted}}]}]
YAML
soon "but what its pod refers to" '"kind": ?"Secret".* 200$' as_node $NS/secrets/wanted
expect "and only that" ' 403$' as_node $NS/secrets/other
expect "its own Node" '"kind": ?"Node".* 200$' as_node $API/api/v1/nodes/$node
expect "no other" "cannot read 'other', only its own Node object" as_node $API/api/v1/nodes/other
expect "pods of its own" ' 200$' as_node "$API/api/v1/pods?fieldSelector=spec.nodeName%3D$node"
expect "not all pods" 'can only list/watch pods with spec.nodeName field selector' as_node $API/api/v1/pods
k delete pod reader >/dev/null
soon "when the pod is gone, so is the right" ' 403$' as_node $NS/secrets/wanted
expect "the admin may all" '^yes' k auth can-i '*' '*'
check "stop" stop_demo
