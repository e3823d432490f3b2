/* Golden traces: tests/raft/traces/NAME.trace holds commands ("> tick 1 20") and, below each, what must happen then.
 * REWRITE=1 in the environment writes what does happen into the files; read the difference before you keep it.
 *
 *   nodes VOTERS [LEARNERS [WITNESSES]]   new ID [witness] (a server that is to join)
 *   tick ID N     campaign ID     propose ID TEXT   forward ID TEXT    read ID NUMBER
 *   run [ROUNDS]  cut A B         isolate ID        heal               lose (all that is under way)
 *   hold ID (its disk)            release ID        crash ID           start ID           compact ID INDEX
 *   change ID MEMBERS (1 2 3? 4w: ? a learner, w a witness)            transfer ID TARGET log ID          members ID
 *   deliver N (of what is under way, from 0)        again N (deliver, and keep it)        steps N (N deliveries)
 *   option no-prevote | no-checkquorum | inflight BYTES | message BYTES | chunk BYTES  (before nodes)
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/check.h"
#include "tests/support/raft/cluster.h"
#include "tests/support/tap.h"

static const char dir[] = "tests/raft/traces";

static void show_log(struct cluster *c, size_t i)
{
	const struct node *n = &c->nodes[i];
	fprintf(c->out, "  %" PRIu64 " has after %" PRIu64 "/%" PRIu64 ":", n->id, n->base_term, n->base);
	for (size_t k = 0; k < n->n_log; k++)
		check_entry(c, &(struct raft_entry){.term = n->log[k].term,
						    .index = n->base + k + 1,
						    .type = n->log[k].type,
						    .len = n->log[k].len,
						    .data = n->log[k].data});
	fprintf(c->out, "\n");
}

static void change(struct cluster *c, size_t i, const char *line)
{
	struct raft_member members[RAFT_MEMBERS_MAX];
	size_t n = 0;
	const char *p = strchr(line + 9, ' ');
	while (p && *p && n < RAFT_MEMBERS_MAX) {
		char *end;
		uint64_t id = strtoull(p, &end, 10);
		if (end == p)
			break;
		enum raft_role role = *end == '?' ? RAFT_LEARNER : *end == 'w' ? RAFT_WITNESS : RAFT_VOTER;
		members[n++] = (struct raft_member){.id = id, .role = role};
		p = *end == ' ' || !*end ? end : end + 1;
	}
	int rc = cluster_change(c, i, members, n);
	if (rc)
		fprintf(c->out, "  not possible: %s\n",
			rc == -EAGAIN   ? "does not lead"
			: rc == -EBUSY  ? "busy"
			: rc == -EINVAL ? "not a configuration that can be"
					: "it is so already");
}

static void show_members(struct cluster *c, size_t i)
{
	static const char *const roles[] = {"", "?", "w"};
	struct raft_membership m;
	raft_get_membership(c->nodes[i].raft, &m);
	fprintf(c->out, "  %" PRIu64 " goes by:", c->nodes[i].id);
	for (size_t k = 0; k < m.n_old; k++)
		fprintf(c->out, " %" PRIu64 "%s%s", m.old[k].id, roles[m.old[k].role], k + 1 == m.n_old ? " ->" : "");
	for (size_t k = 0; k < m.n_members; k++)
		fprintf(c->out, " %" PRIu64 "%s", m.members[k].id, roles[m.members[k].role]);
	fprintf(c->out, "\n");
}

static bool command(struct cluster *c, const char *line, struct cluster *options)
{
	char verb[16] = "", text[24] = "";
	uint64_t a = 0, b = 0;
	int n = sscanf(line, "> %15s %" SCNu64 " %" SCNu64, verb, &a, &b);
	bool is = strcmp(verb, "option") == 0;
	if (is) {
		sscanf(line, "> option %23s %" SCNu64, text, &a);
		if (strcmp(text, "no-prevote") == 0)
			options->rng |= 1;
		else if (strcmp(text, "no-checkquorum") == 0)
			options->rng |= 2;
		else if (strcmp(text, "inflight") == 0)
			options->max_inflight = a;
		else if (strcmp(text, "message") == 0)
			options->max_message = a;
		else if (strcmp(text, "chunk") == 0)
			options->chunk = a;
		else
			return false;
		return true;
	}
	if (strcmp(verb, "nodes") == 0) {
		FILE *out = c->out;
		cluster_done(c);
		uint64_t witnesses = 0;
		sscanf(line, "> nodes %*s %*s %" SCNu64, &witnesses);
		cluster_init(c, a, n > 2 ? b : 0, witnesses, 1);
		c->out = out;
		c->pre_vote = !(options->rng & 1);
		c->check_quorum = !(options->rng & 2);
		c->max_inflight = options->max_inflight;
		c->max_message = options->max_message;
		c->chunk = options->chunk;
		for (size_t i = 0; i < c->n; i++) {
			cluster_crash(c, i);
			cluster_start(c, i);
		}
		return true;
	}
	size_t i = (size_t)a - 1;
	if (strcmp(verb, "run") == 0) {
		cluster_run(c, n > 1 ? (unsigned)a : 100);
		return true;
	}
	if (strcmp(verb, "heal") == 0) {
		memset(c->cut, 0, sizeof(c->cut));
		return true;
	}
	if (strcmp(verb, "lose") == 0) {
		while (c->n_net)
			cluster_deliver(c, 0, LOSE);
		return true;
	}
	if (strcmp(verb, "deliver") == 0 || strcmp(verb, "again") == 0) {
		if (a < c->n_net)
			cluster_deliver(c, a, verb[0] == 'd' ? DELIVER : DOUBLE);
		else
			fprintf(c->out, "  nothing is under way there\n");
		return true;
	}
	if (strcmp(verb, "steps") == 0) {
		for (; a && c->n_net; a--) {
			cluster_deliver(c, 0, DELIVER);
			for (size_t k = 0; k < c->n; k++)
				cluster_process(c, k);
		}
		return true;
	}
	if (strcmp(verb, "new") == 0) {
		cluster_add(c, strstr(line, "witness") != NULL);
		return a == c->n;
	}
	if (a < 1 || a > c->n)
		return false;
	if (strcmp(verb, "tick") == 0) {
		for (uint64_t k = 0; k < b; k++) {
			raft_tick(c->nodes[i].raft);
			cluster_process(c, i);
		}
	} else if (strcmp(verb, "campaign") == 0) {
		raft_campaign(c->nodes[i].raft);
	} else if (strcmp(verb, "propose") == 0) {
		sscanf(line, "> %*s %*s %23s", text);
		int rc = cluster_propose(c, i, text);
		if (rc)
			fprintf(c->out, "  %" PRIu64 " %s\n", a, rc == -EBUSY ? "is busy" : "does not lead");
	} else if (strcmp(verb, "forward") == 0) {
		sscanf(line, "> %*s %*s %23s", text);
		int rc = cluster_forward(c, i, text);
		if (rc)
			fprintf(c->out, "  %" PRIu64 " %s\n", a, rc == -EINVAL ? "leads itself" : "knows no leader");
	} else if (strcmp(verb, "change") == 0) {
		change(c, i, line);
	} else if (strcmp(verb, "transfer") == 0) {
		int rc = raft_transfer(c->nodes[i].raft, b);
		if (rc)
			fprintf(c->out, "  not possible: %s\n", rc == -EAGAIN ? "does not lead" : strerror(-rc));
	} else if (strcmp(verb, "members") == 0) {
		show_members(c, i);
	} else if (strcmp(verb, "read") == 0) {
		if (raft_read_index(c->nodes[i].raft, b))
			fprintf(c->out, "  %" PRIu64 " knows no leader\n", a);
	} else if (strcmp(verb, "cut") == 0) {
		c->cut[i][b - 1] = true;
	} else if (strcmp(verb, "isolate") == 0) {
		for (size_t k = 0; k < c->n; k++)
			c->cut[i][k] = c->cut[k][i] = true;
	} else if (strcmp(verb, "hold") == 0) {
		c->nodes[i].held = true;
	} else if (strcmp(verb, "release") == 0) {
		c->nodes[i].held = false;
		cluster_finish(c, i);
	} else if (strcmp(verb, "crash") == 0) {
		cluster_crash(c, i);
	} else if (strcmp(verb, "start") == 0) {
		cluster_start(c, i);
	} else if (strcmp(verb, "compact") == 0) {
		cluster_compact(c, i, b);
	} else if (strcmp(verb, "log") == 0) {
		show_log(c, i);
	} else {
		return false;
	}
	return true;
}

/* Runs the commands of a trace; returns commands and what happened, as the file should read. */
static char *replay(const char *text, bool *ret_ok)
{
	char *result = NULL;
	size_t size = 0;
	struct cluster *c = calloc(1, sizeof(*c)), *options = calloc(1, sizeof(*options));
	c->out = open_memstream(&result, &size);
	*ret_ok = true;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		char *line = strndup(p, len);
		p += len + (p[len] == '\n');
		if (line[0] == '>') {
			fprintf(c->out, "%s\n", line);
			if (!command(c, line, options)) {
				fprintf(c->out, "  no such command\n");
				*ret_ok = false;
			}
		} else if (line[0] == '#' || !line[0]) {
			fprintf(c->out, "%s\n", line);
		}
		free(line);
	}
	if (c->broken[0])
		*ret_ok = false;
	FILE *out = c->out;
	cluster_done(c);
	fclose(out);
	free(c);
	free(options);
	return result;
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	char *text = calloc(1, 1u << 20);
	size_t n = fread(text, 1, (1u << 20) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void first_difference(const char *want, const char *have)
{
	unsigned line = 1;
	const char *start_w = want, *start_h = have;
	for (; *want && *want == *have; want++, have++)
		if (*want == '\n') {
			line++;
			start_w = want + 1;
			start_h = have + 1;
		}
	print_error("line %u: the trace has \"%.*s\", now it is \"%.*s\"\n", line, (int)strcspn(start_w, "\n"), start_w,
		    (int)strcspn(start_h, "\n"), start_h);
}

static void trace(void **state)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/%s", dir, (const char *)*state);
	char *want = slurp(path);
	bool ok;
	char *have = replay(want, &ok);
	if (getenv("REWRITE")) {
		FILE *f = fopen(path, "w");
		assert_non_null(f);
		fputs(have, f);
		fclose(f);
	} else if (strcmp(want, have) != 0) {
		first_difference(want, have);
		ok = false;
	}
	free(want);
	free(have);
	assert_true(ok);
}

static int only_traces(const struct dirent *e)
{
	size_t n = strlen(e->d_name);
	return n > 6 && strcmp(e->d_name + n - 6, ".trace") == 0;
}

int main(void)
{
	struct dirent **names;
	int n = scandir(dir, &names, only_traces, alphasort);
	if (n <= 0) {
		printf("1..1\nnot ok 1 - no traces in %s\n", dir);
		return 1;
	}
	struct CMUnitTest *tests = calloc((size_t)n, sizeof(*tests));
	for (int i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){
			.name = names[i]->d_name, .test_func = trace, .initial_state = names[i]->d_name};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	int rc = _cmocka_run_group_tests("traces", tests, (size_t)n, NULL, NULL);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	free(tests);
	return rc;
}
