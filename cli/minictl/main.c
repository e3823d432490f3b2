/* minictl: the command line. Finds the verb, runs it, turns its error into words and an exit code. */
#include <errno.h>
#include <signal.h>

#include "cli/minictl/verbs.h"

static int words_match(const char *name, int argc, char **argv)
{
	int words = 0;
	for (const char *p = name; *p; words++) {
		size_t n = strcspn(p, " ");
		if (words >= argc || strlen(argv[words]) != n || memcmp(argv[words], p, n) != 0)
			return 0;
		p += n + (p[n] == ' ');
	}
	return words;
}

/* The longest name that matches. */
const struct command *command_find(int argc, char **argv, int *ret_words)
{
	const struct command *best = NULL;
	int most = 0;
	for (const struct command *cmd = commands; cmd->name; cmd++) {
		int n = words_match(cmd->name, argc, argv);
		if (n > most) {
			best = cmd;
			most = n;
		}
	}
	if (best)
		*ret_words = most;
	return best;
}

/* "rollout" alone: the verbs below it. */
static bool is_group(const char *word, FILE *out)
{
	size_t n = strlen(word);
	bool any = false;
	for (const struct command *cmd = commands; cmd->name; cmd++) {
		if (strncmp(cmd->name, word, n) != 0 || cmd->name[n] != ' ')
			continue;
		if (!any)
			fprintf(out, "minictl %s COMMAND\n\n", word);
		any = true;
		fprintf(out, "  %-24s %s\n", cmd->name, cmd->summary);
	}
	return any;
}

void help_all(FILE *out)
{
	fputs("minictl controls a mini cluster, or any other Kubernetes cluster.\n\nminictl [options] COMMAND ...\n\n",
	      out);
	for (const struct command *cmd = commands; cmd->name; cmd++)
		fprintf(out, "  %-24s %s\n", cmd->name, cmd->summary);
	fputs("\n\"minictl COMMAND --help\" tells more, with examples and options.\n", out);
}

void help_command(const struct command *cmd, FILE *out)
{
	fprintf(out, "%s\n\nUsage:\n  minictl %s\n", cmd->summary, cmd->usage);
	if (cmd->examples)
		fprintf(out, "\nExamples:\n%s", cmd->examples);
}

static int verb_help(struct ctl *c, int argc, char **argv, struct err *err)
{
	int words;
	const struct command *cmd = command_find(argc, argv, &words);
	if (argc == 0) {
		help_all(stdout);
		return 0;
	}
	if (!cmd)
		return is_group(argv[0], stdout) ? 0 : ctl_usage(err, "unknown command \"%s\"", argv[0]);
	char flag[] = "--help", *ask[] = {flag};
	c->command = cmd;
	return cmd->run == verb_help ? (help_all(stdout), 0) : cmd->run(c, 1, ask, err);
}

/* clang-format off */
const struct command commands[] = {
	{"get", "get TYPE[,TYPE] [NAME...] | TYPE/NAME... [-o wide|yaml|json|name|jsonpath=...|custom-columns=...]", "Show resources",
	 "  minictl get pods -A -o wide\n  minictl get deployment web -o yaml\n  minictl get pods -l app=web -w\n", verb_get},
	{"describe", "describe TYPE [NAME...] | TYPE/NAME | -f FILE", "Show a resource, its state and its events in detail",
	 "  minictl describe pod web-6d5f\n  minictl describe nodes\n", verb_describe},
	{"create", "create -f FILE", "Create resources from files", "  minictl create -f pod.yaml\n", verb_create},
	{"create namespace", "create namespace NAME", "Create a namespace", "  minictl create namespace staging\n", verb_create_namespace},
	{"create ns", "create ns NAME", "Create a namespace", NULL, verb_create_namespace},
	{"create configmap", "create configmap NAME [--from-literal=K=V] [--from-file=[K=]PATH] [--from-env-file=FILE]", "Create a ConfigMap",
	 "  minictl create configmap app --from-literal=mode=fast --from-file=app.conf\n", verb_create_configmap},
	{"create cm", "create cm NAME ...", "Create a ConfigMap", NULL, verb_create_configmap},
	{"create secret generic", "create secret generic NAME [--from-literal=K=V] [--from-file=[K=]PATH] [--type=TYPE]", "Create a Secret",
	 "  minictl create secret generic db --from-literal=password=s3cret\n", verb_create_secret_generic},
	{"create serviceaccount", "create serviceaccount NAME", "Create a ServiceAccount", "  minictl create serviceaccount robot\n", verb_create_serviceaccount},
	{"create sa", "create sa NAME", "Create a ServiceAccount", NULL, verb_create_serviceaccount},
	{"create deployment", "create deployment NAME --image=IMAGE [--replicas=N] [--port=P] [-- COMMAND...]", "Create a Deployment",
	 "  minictl create deployment web --image=mini/demo:1 --replicas=3 --port=8080\n", verb_create_deployment},
	{"create service", "create service clusterip|nodeport NAME --tcp=PORT[:TARGET]", "Create a Service",
	 "  minictl create service clusterip web --tcp=80:8080\n", verb_create_service},
	{"create role", "create role NAME --verb=VERB --resource=RESOURCE", "Create a Role",
	 "  minictl create role reader --verb=get,list --resource=pods\n", verb_create_role},
	{"create clusterrole", "create clusterrole NAME --verb=VERB --resource=RESOURCE", "Create a ClusterRole",
	 "  minictl create clusterrole reader --verb=get --non-resource-url=/metrics\n", verb_create_clusterrole},
	{"create rolebinding", "create rolebinding NAME --role=ROLE|--clusterrole=ROLE [--user=U] [--group=G] [--serviceaccount=NS:NAME]", "Create a RoleBinding",
	 "  minictl create rolebinding r --clusterrole=view --serviceaccount=default:robot\n", verb_create_rolebinding},
	{"create clusterrolebinding", "create clusterrolebinding NAME --clusterrole=ROLE [--user=U] [--group=G] [--serviceaccount=NS:NAME]", "Create a ClusterRoleBinding",
	 "  minictl create clusterrolebinding a --clusterrole=cluster-admin --user=ann\n", verb_create_clusterrolebinding},
	{"create token", "create token SERVICEACCOUNT [--duration=1h] [--audience=A]", "Ask for a ServiceAccount's token",
	 "  minictl create token default\n", verb_create_token},
	{"apply", "apply -f FILE|DIR|-", "Make the cluster's objects say what the files say", "  minictl apply -f deployment.yaml\n  cat *.yaml | minictl apply -f -\n", verb_apply},
	{"replace", "replace -f FILE [--force]", "Replace objects by those in files", "  minictl replace -f pod.yaml\n", verb_replace},
	{"delete", "delete (-f FILE | TYPE NAME... | TYPE -l SELECTOR | TYPE --all)", "Delete resources and wait until they are gone",
	 "  minictl delete -f web.yaml\n  minictl delete pod web-6d5f --now\n  minictl delete pods --all\n", verb_delete},
	{"edit", "edit TYPE NAME", "Change an object in $EDITOR", "  minictl edit deployment/web\n", verb_edit},
	{"patch", "patch TYPE NAME -p PATCH [--type=strategic|merge|json]", "Change fields of an object",
	 "  minictl patch deployment web -p '{\"spec\":{\"replicas\":2}}'\n", verb_patch},
	{"label", "label TYPE NAME KEY=VALUE... KEY-...", "Set and remove labels", "  minictl label pod web-6d5f tier=front\n  minictl label pod web-6d5f tier-\n", verb_label},
	{"annotate", "annotate TYPE NAME KEY=VALUE... KEY-...", "Set and remove annotations", "  minictl annotate deployment web owner=ann\n", verb_annotate},
	{"scale", "scale TYPE NAME --replicas=N", "Set the number of replicas", "  minictl scale deployment/web --replicas=5\n", verb_scale},
	{"set image", "set image TYPE/NAME CONTAINER=IMAGE...", "Set the images of containers", "  minictl set image deployment/web web=mini/demo:2\n", verb_set_image},
	{"set env", "set env TYPE/NAME KEY=VALUE... KEY-...", "Set variables of containers", "  minictl set env deployment/web MODE=fast\n", verb_set_env},
	{"rollout status", "rollout status TYPE/NAME [--timeout=60s]", "Follow a rollout until it is done", "  minictl rollout status deployment/web\n", verb_rollout_status},
	{"rollout history", "rollout history TYPE/NAME [--revision=N]", "Show the revisions", "  minictl rollout history deployment/web\n", verb_rollout_history},
	{"rollout undo", "rollout undo TYPE/NAME [--to-revision=N]", "Go back to a revision", "  minictl rollout undo deployment/web\n", verb_rollout_undo},
	{"rollout restart", "rollout restart TYPE/NAME", "Replace all pods", "  minictl rollout restart deployment/web\n", verb_rollout_restart},
	{"rollout pause", "rollout pause TYPE/NAME", "Hold the rollout", "  minictl rollout pause deployment/web\n", verb_rollout_pause},
	{"rollout resume", "rollout resume TYPE/NAME", "Go on with the rollout", "  minictl rollout resume deployment/web\n", verb_rollout_resume},
	{"expose", "expose TYPE NAME --port=P [--target-port=P] [--type=T]", "Make a Service for pods", "  minictl expose deployment web --port=80 --target-port=8080\n", verb_expose},
	{"logs", "logs (POD | TYPE/NAME | -l SELECTOR) [-f] [-p] [-c CONTAINER]", "Print the logs of containers",
	 "  minictl logs -f deployment/web\n  minictl logs web-6d5f -p --tail=20\n", verb_logs},
	{"exec", "exec POD [-c CONTAINER] [-i] [-t] -- COMMAND [ARG...]", "Run a command in a container",
	 "  minictl exec deployment/web -- ps\n  minictl exec -it web-6d5f -- sh\n  echo hi | minictl exec -i web-6d5f -- cat\n", verb_exec},
	{"attach", "attach POD|TYPE/NAME [-c CONTAINER] [-i] [-t]", "Take part in what a container's process reads and writes",
	 "  minictl attach -it shell\n", verb_attach},
	{"run", "run NAME --image=IMAGE [-i] [-t] [--rm] [--restart=Never] [-- ARG...]", "Run a pod",
	 "  minictl run shell --image=mini/demo:1 -it --rm --restart=Never --command -- sh\n", verb_run},
	{"port-forward", "port-forward POD|TYPE/NAME [LOCAL:]PORT... [--address=IP]", "Make local ports lead into a pod",
	 "  minictl port-forward web-6d5f 8080:80\n  minictl port-forward svc/web :http\n", verb_port_forward},
	{"wait", "wait TYPE/NAME|TYPE -l SELECTOR|-f FILE --for=condition=X|delete|jsonpath=PATH=VALUE", "Wait until a condition holds",
	 "  minictl wait pod -l app=web --for=condition=Ready --timeout=60s\n  minictl wait pod/x --for=delete\n", verb_wait},
	{"cordon", "cordon NODE", "Keep new pods off a node", "  minictl cordon node1\n", verb_cordon},
	{"uncordon", "uncordon NODE", "Let pods onto a node again", "  minictl uncordon node1\n", verb_uncordon},
	{"drain", "drain NODE [--ignore-daemonsets] [--delete-emptydir-data] [--force]", "Move a node's pods away", "  minictl drain node1 --force\n", verb_drain},
	{"taint", "taint nodes NAME KEY[=VALUE]:EFFECT... KEY[:EFFECT]-...", "Set and remove taints of nodes", "  minictl taint nodes node1 disk=full:NoSchedule\n", verb_taint},
	{"auth can-i", "auth can-i VERB TYPE[/NAME] | /PATH | --list", "Ask whether one may", "  minictl auth can-i create pods\n", verb_auth_can_i},
	{"auth whoami", "auth whoami", "Who the server takes one for", NULL, verb_auth_whoami},
	{"explain", "explain TYPE[.FIELD...] [--recursive]", "What the fields of a kind mean", "  minictl explain pod.spec.containers\n", verb_explain},
	{"top", "top (pods|nodes)", "CPU and memory in use", NULL, verb_top},
	{"api-resources", "api-resources", "The resources the server serves", "  minictl api-resources --namespaced=true -o name\n", verb_api_resources},
	{"api-versions", "api-versions", "The group versions the server serves", NULL, verb_api_versions},
	{"cluster-info", "cluster-info", "Where the control plane is", NULL, verb_cluster_info},
	{"version", "version [--client] [-o yaml|json]", "Versions of client and server", NULL, verb_version},
	{"config view", "config view [--raw] [--minify] [--flatten] [-o yaml|json|jsonpath=...]", "Show the kubeconfig", NULL, verb_config_view},
	{"config current-context", "config current-context", "Print the current context", NULL, verb_config_current_context},
	{"config get-contexts", "config get-contexts [NAME...]", "List contexts", NULL, verb_config_get_contexts},
	{"config use-context", "config use-context NAME", "Change the current context", NULL, verb_config_use_context},
	{"config use", "config use NAME", "Change the current context", NULL, verb_config_use_context},
	{"config set-context", "config set-context NAME|--current [--cluster=] [--user=] [--namespace=]", "Change a context",
	 "  minictl config set-context --current --namespace=staging\n", verb_config_set_context},
	{"image import", "image import FILE... [--tag=NAME]", "Load images of a docker-archive or OCI layout into this host's node",
	 "  docker save web:1 >web.tar && minictl image import web.tar\n", verb_image_import},
	{"image ls", "image ls [-o json|name]", "List this host's images", NULL, verb_image_ls},
	{"image rm", "image rm NAME...", "Remove images from this host", NULL, verb_image_rm},
	{"image build", "image build --tag=NAME --rootfs=DIR [--entrypoint=ARG] [--cmd=ARG] [--env=K=V] [--workdir=DIR] [--user=U]",
	 "Make an image of a directory", "  minictl image build --tag web:1 --rootfs ./root --entrypoint /bin/web\n", verb_image_build},
	{"cluster status", "cluster status [-o json|yaml|jsonpath=...]",
	 "How each server of the cluster stands, in its own words", "  minictl cluster status\n  minictl cluster status -o json\n", verb_cluster_status},
	{"cluster member list", "cluster member list [-o json|yaml]",
	 "The servers of the cluster, and who leads", "  minictl cluster member list\n", verb_cluster_list},
	{"cluster member add", "cluster member add NAME [--learner|--witness]",
	 "Make a token for a new server, and show the command to run there", "  minictl cluster member add b\n  minictl cluster member add c --witness\n", verb_cluster_add},
	{"cluster member remove", "cluster member remove NAME|ID",
	 "Take a server out of the cluster for good", "  minictl cluster member remove b\n", verb_cluster_remove},
	{"cluster member promote", "cluster member promote NAME|ID",
	 "Make a learner a voter", "  minictl cluster member promote b\n", verb_cluster_promote},
	{"cluster member demote", "cluster member demote NAME|ID",
	 "Make a voter a learner", "  minictl cluster member demote b\n", verb_cluster_demote},
	{"cluster list", "cluster list [-o json|yaml]",
	 "The servers of the cluster, and who leads", "  minictl cluster list\n", verb_cluster_list},
	{"cluster add", "cluster add NAME [--learner|--witness]",
	 "Make a token for a new server, and show the command to run there", "  minictl cluster add b\n  minictl cluster add c --witness\n", verb_cluster_add},
	{"cluster remove", "cluster remove NAME|ID",
	 "Take a server out of the cluster for good", "  minictl cluster remove b\n", verb_cluster_remove},
	{"cluster promote", "cluster promote NAME|ID",
	 "Make a learner a voter", "  minictl cluster promote b\n", verb_cluster_promote},
	{"cluster demote", "cluster demote NAME|ID",
	 "Make a voter a learner", "  minictl cluster demote b\n", verb_cluster_demote},
	{"cluster move-leader", "cluster move-leader [NAME|ID]",
	 "Let another server lead: that one, or whichever has most", "  minictl cluster move-leader\n  minictl cluster move-leader b\n", verb_cluster_move_leader},
	{"snapshot save", "snapshot save FILE",
	 "Save a copy of the cluster's state, made while it works, checked as it comes", "  minictl snapshot save /backup/mini.snapshot\n", verb_snapshot_save},
	{"snapshot restore", "snapshot restore FILE --dir DIR",
	 "Put a snapshot where the next start of minid in DIR takes it", "  minictl snapshot restore /backup/mini.snapshot --dir /var/lib/mini\n  minid server --dir /var/lib/mini\n", verb_snapshot_restore},
	{"snapshot inspect", "snapshot inspect FILE [-o json|yaml]",
	 "Check a snapshot, and show what it holds", "  minictl snapshot inspect /backup/mini.snapshot\n", verb_snapshot_inspect},
	{"completion", "completion bash", "Print a completion script", "  source <(minictl completion bash)\n", verb_completion},
	{"help", "help [COMMAND]", "Help", NULL, verb_help},
	{NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */

static int dispatch(struct ctl *c, int argc, char **argv, struct err *err)
{
	int used, words;
	int rc = args_globals(c, argc, argv, &used, err);
	if (rc < 0)
		return rc;
	argc -= used;
	argv += used;
	if (argc == 0) {
		help_all(stdout);
		return 0;
	}
	c->command = command_find(argc, argv, &words);
	if (c->command)
		return c->command->run(c, argc - words, argv + words, err);
	bool asked = c->help || argc == 1 || argv[1][0] == '-';
	if (asked && is_group(argv[0], stdout))
		return 0;
	if (streq(argv[0], "cp") || streq(argv[0], "proxy") || streq(argv[0], "run") || streq(argv[0], "debug") ||
	    streq(argv[0], "autoscale"))
		return ctl_usage(err, "\"%s\" is not supported by this version of minictl", argv[0]);
	return ctl_usage(err, "unknown command \"%s\" for \"minictl\"",
			 argc > 1 && is_group(argv[0], stderr) ? argv[1] : argv[0]);
}

int main(int argc, char **argv)
{
	struct ctl c = {0};
	_cleanup_err_ struct err err = ERR_INIT;
	signal(SIGPIPE, SIG_IGN);
	int rc = dispatch(&c, argc - 1, argv + 1, &err);
	if (rc < 0) {
		ctl_fail(&c, &err, NULL);
		if (str_starts(err.message, "unknown flag") || str_starts(err.message, "unknown shorthand"))
			fprintf(stderr, "See 'minictl %s%s--help' for usage.\n", c.command ? c.command->name : "",
				c.command ? " " : "");
	}
	ctl_done(&c);
	if (fflush(stdout) != 0 && errno != EPIPE && rc >= 0) {
		fprintf(stderr, "error: writing the output: %s\n", strerror(errno));
		return 1;
	}
	return rc < 0 ? 1 : rc > 0 ? rc : c.failures > 0;
}
