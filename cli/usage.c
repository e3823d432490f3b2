#include "cli/usage.h"

#define DEMO    "demo"
#define SERVER  "server"
#define SERVERS "server, demo"
#define NODES   "agent, demo"
#define ALL     "demo, server, agent"

static const struct {
	const char *flag, *value, *verbs, *help;
} flags[] = {
	{"--dir", "DIR", "demo, server, agent, token, stop", "all state (default /var/lib/mini)"},
	{"--listen", "HOST[:PORT]", SERVERS,
	 "where the API listens (default: demo 127.0.0.1 and the bridge, server 0.0.0.0)"},
	{"--port", "N", ALL, "port of the API (default 6443)"},
	{"--node-port", "N", NODES, "port of the node's API (default 10250)"},
	{"--node-name", "NAME", ALL, "default: the host name"},
	{"--node-ip", "ADDRESS", ALL, "default: demo the bridge's, else the source of the default route"},
	{"--server", "URL", "agent",
	 "the API that is asked first (default: that of the server in DIR, or as it was joined)"},
	{"--cluster-cidr", "RANGE", ALL, "addresses of pods (default 10.244.0.0/16)"},
	{"--service-cidr", "RANGE", ALL, "addresses of services (default 10.96.0.0/16)"},
	{"--join", "URL", ALL, "https://HOST:PORT of any server of the cluster to join; needed once"},
	{"--token", "TOKEN", ALL, "what `minid token create` printed there"},
	{"--name", "NAME", "server, demo, token",
	 "of this server in its cluster (default: the host name, and an id made of DIR); of whom a token is for"},
	{"--peer-listen", "HOST:PORT", SERVER, "where other servers find this one (default 0.0.0.0:6444)"},
	{"--peer", "NAME=HOST[:PORT]", SERVER,
	 "where that other server is now; again for each, when all have moved at once"},
	{"--advertise", "ADDRESS", SERVERS,
	 "what the others are told (default: what it listens on, else as --node-ip)"},
	{"--learner", NULL, "server, token", "it has all data, and does not vote"},
	{"--witness", NULL, "server, token", "it votes, and has no data"},
	{"--etcd-servers", "URL[,URL]", SERVERS, "keep everything in that etcd (3.4 or later), not in DIR"},
	{"--etcd-cafile", "FILE", SERVERS, "what verifies it"},
	{"--etcd-certfile", "FILE", SERVERS, "what it verifies"},
	{"--etcd-keyfile", "FILE", SERVERS, "the key of that"},
	{"--etcd-prefix", "PREFIX", SERVERS, "of all keys there (default /mini)"},
	{"--history", "TIME", SERVERS, "how long old revisions are kept (default 5m)"},
	{"--history-size", "SIZE", SERVERS, "... and how much room they take in DIR, about (default: any)"},
	{"--history-bytes", "SIZE", SERVERS, "how much of them is kept in memory (default 64Mi)"},
	{"--role", "ROLE", "token", "server (default) or agent: whom it lets in"},
	{"--ttl", "TIME", "token", "how long it is good (default 24h; 0: it does not expire)"},
	{"--detach", NULL, ALL, "return once it is ready, leave it running; it logs to DIR/minid.log"},
	{"--reset", NULL, ALL, "forget all state in DIR, undo what is left on the host, and exit"},
	{"--log-format", "FORMAT", "demo, server, agent, token, stop", "text or json"},
	{"--verbose", NULL, "demo, server, agent, token, stop", "or -v: log more"},
};

static const struct {
	const char *verb, *form, *help, *examples;
} verbs[] = {
	{"demo", "demo [flags]", "a whole cluster on this host, in one process",
	 "  minid demo --detach && minictl get nodes\n"
	 "  minid demo --dir /tmp/c1 --port 7443\n"
	 "  minid demo --reset --dir /tmp/c1                          # and forget it\n"},
	{"server", "server [flags]", "a control plane; with --join one more server of a cluster",
	 "  minid server                                              # the first one\n"
	 "  minid token create                                        # there; then, on another host:\n"
	 "  minid server --join https://10.0.0.1:6443 --token TOKEN\n"
	 "  minid server                                              # from then on: what was said is remembered\n"},
	{"agent", "agent [flags]", "a node: of the server that lives in the same DIR, or with --join of any cluster",
	 "  minid token create --role agent                           # at a server; then, on another host:\n"
	 "  minid agent --join https://10.0.0.1:6443 --token TOKEN\n"
	 "  minid agent                                               # from then on, with whichever server is there\n"},
	{"token", "token create|list|delete ID [flags]",
	 "what lets servers and nodes join the cluster of the server in DIR",
	 "  minid token create                                        # for servers, for a day\n"
	 "  minid token create --role agent --name n1 --ttl 10m       # for the node n1, soon\n"
	 "  minid token list\n"
	 "  minid token delete abcdef\n"},
	{"stop", "stop [flags]", "end the minid that runs in DIR, and wait until it has",
	 "  minid stop --dir /tmp/c1\n"},
	{"completion", "completion bash", "print a completion script", "  source <(minid completion bash)\n"},
	{"version", "version", "print the version", "  minid version\n"},
};

static bool is_word_of(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

const char *usage_flag(size_t i)
{
	return i < ARRAY_LEN(flags) ? flags[i].flag : NULL;
}

const char *usage_verbs_of(const char *flag)
{
	if (streq(flag, "-v"))
		flag = "--verbose";
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (streq(flags[i].flag, flag))
			return flags[i].verbs;
	return NULL;
}

bool usage_has(const char *verb, const char *flag)
{
	const char *of = usage_verbs_of(flag);
	return of && is_word_of(of, verb);
}

static void add_flags(struct buf *out, const char *verb)
{
	bool title = false;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		_cleanup_free_ char *left = NULL;
		if (*verb && !is_word_of(flags[i].verbs, verb))
			continue;
		if (!title)
			buf_adds(out, "\nFlags:\n");
		title = true;
		left = flags[i].value ? xasprintf("%s %s", flags[i].flag, flags[i].value) : xstrdup(flags[i].flag);
		buf_addf(out, "  %-26s %s\n", left, flags[i].help);
	}
}

void usage_text(const char *verb, struct buf *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!streq(verbs[i].verb, verb))
			continue;
		buf_addf(ret, "minid %s: %s\n\nUsage:\n  minid %s\n", verb, verbs[i].help, verbs[i].form);
		add_flags(ret, verb);
		buf_addf(ret, "\nExamples:\n%s", verbs[i].examples);
		return;
	}
	buf_adds(ret, "minid runs a Kubernetes-compatible cluster.\n\nUsage:\n");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		buf_addf(ret, "  minid %-36s %s\n", verbs[i].form, verbs[i].help);
	add_flags(ret, "");
	buf_adds(
		ret,
		"\nEach verb says with --help which of them it has, and shows examples. Servers and joined nodes remember in DIR\n"
		"what they were told; a later start needs no flags.\n\nExamples:\n");
	buf_adds(ret,
		 "  minid demo --detach && minictl get nodes\n"
		 "  minid token create                                        # at a server; then, on another host:\n"
		 "  minid server --join https://10.0.0.1:6443 --token TOKEN\n"
		 "  minid stop\n");
}

void usage_completion(struct buf *ret)
{
	buf_adds(ret, "# minid completion for bash\n_minid() {\n"
		      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
		      "  case $prev in\n"
		      "  --dir) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n"
		      "  --etcd-*file) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
		      "  --role) words='server agent' ;;\n"
		      "  --log-format) words='text json' ;;\n"
		      "  minid) words='");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		buf_addf(ret, "%s%s", i ? " " : "", verbs[i].verb);
	buf_adds(
		ret,
		"' ;;\n  token) words='create list delete' ;;\n  completion) words=bash ;;\n  *) case ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		buf_addf(ret, "     %s) words='--help", verbs[i].verb);
		for (size_t k = 0; k < ARRAY_LEN(flags); k++)
			if (is_word_of(flags[k].verbs, verbs[i].verb))
				buf_addf(ret, " %s", flags[k].flag);
		buf_adds(ret, "' ;;\n");
	}
	buf_adds(ret, "     esac ;;\n  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
		      "complete -F _minid minid\n");
}
