/* Clients of several servers: who is asked next when one is gone, what is asked twice and what is not, and where watches
 * go. Real connections on one loop; what takes seconds is decided on the virtual clock. */
#include "tests/support/tap.h"
#include "tests/support/wait.h"

#include <errno.h>

#include "lib/client/http_priv.h"
#include "lib/core/env_sim.h"
#include "lib/core/env_uv.h"

#define SERVERS 3

enum how { ANSWERS, CUTS_OFF, SAYS_503 };
struct fake {
	struct world *w;
	struct http_server *server;
	struct http_request *watching;
	char url[64];
	enum how how;
	unsigned asked, watched;
	char from[24]; /* resourceVersion of the last watch */
};
struct world {
	uv_loop_t loop;
	struct env *env;
	struct fake fakes[SERVERS];
	unsigned closing;
	struct servers *servers;
	struct client *client, *other;
	unsigned answers, events, ends;
	int code, end_code;
	char name[64];
	json_t *tree;
	struct client_watch *watch;
};

static void respond(struct http_request *r, int status, const char *text)
{
	const struct http_header headers[] = {{status == 503 ? "Retry-After" : "X", "1"}, {NULL, NULL}};
	http_respond(r, status, headers, text, strlen(text));
}

static void on_request(void *arg, struct http_request *r)
{
	struct fake *f = arg;
	f->asked++;
	if (f->how == CUTS_OFF) {
		http_abort(r);
	} else if (f->how == SAYS_503) {
		respond(r, 503, "{\"kind\":\"Status\",\"code\":503,\"reason\":\"ServiceUnavailable\"}");
	} else if (http_query(r, "watch")) {
		f->watched++;
		f->watching = r;
		snprintf(f->from, sizeof(f->from), "%s", http_query(r, "resourceVersion"));
		http_respond_start(r, 200, NULL);
		static const char event[] =
			"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
			"\"metadata\":{\"name\":\"p\",\"namespace\":\"x\",\"resourceVersion\":\"9\"}}}\n";
		http_write(r, event, sizeof(event) - 1);
	} else if (str_starts(http_path(r), "/mini")) {
		respond(r, 200, "{\"a\":1}");
	} else {
		_cleanup_free_ char *text = xasprintf("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
						      "\"of-%td\",\"namespace\":\"x\"}}",
						      f - f->w->fakes);
		respond(r, 200, text);
	}
}

static void on_close(void *arg, struct http_request *r)
{
	struct fake *f = arg;
	if (f->watching == r)
		f->watching = NULL;
}

static const struct http_server_ops server_ops = {.on_request = on_request, .on_close = on_close};

static void on_closed(void *arg)
{
	((struct world *)arg)->closing--;
}

/* Connections are refused from here on. */
static void take_down(struct world *w, unsigned i)
{
	w->closing++;
	http_server_close(STEAL(w->fakes[i].server), 0, on_closed, w);
	WAIT(w, w->closing == 0);
}

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	const char *urls[SERVERS];
	uv_loop_init(&w->loop);
	w->env = env_uv_new(&w->loop);
	for (unsigned i = 0; i < SERVERS; i++) {
		struct fake *f = &w->fakes[i];
		f->w = w;
		f->server = http_server_new(w->env, &w->loop, NULL, NULL, &server_ops, f);
		assert_int_equal(http_server_listen(f->server, "127.0.0.1", 0, NULL), 0);
		snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u", http_server_port(f->server));
		urls[i] = f->url;
	}
	const struct kubeconfig none = {0};
	assert_int_equal(servers_new(w->env, urls, SERVERS, &w->servers, NULL), 0);
	assert_int_equal(client_http_new_among(w->env, &w->loop, w->servers, &none, "t", &w->client, NULL), 0);
	assert_int_equal(client_http_new_among(w->env, &w->loop, w->servers, &none, "t", &w->other, NULL), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	client_free(w->client);
	client_free(w->other);
	servers_unref(w->servers);
	for (unsigned i = 0; i < SERVERS; i++)
		if (w->fakes[i].server)
			take_down(w, i);
	env_uv_free(w->env);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	json_decref(w->tree);
	free(w);
	return 0;
}

static void on_answer(void *arg, const struct client_response *resp)
{
	struct world *w = arg;
	w->answers++;
	w->code = resp->err->code;
	snprintf(w->name, sizeof(w->name), "%s", resp->object ? resp->object->name : "");
	json_decref(w->tree);
	w->tree = json_incref(resp->tree);
}

static const char *ask(struct world *w, enum client_verb verb)
{
	unsigned before = w->answers;
	_cleanup_json_ json_t *body = json_make("{s:{s:s}}", "metadata", "name", "p");
	const struct client_request req = {.verb = verb,
					   .kind = kind_by_word("pods"),
					   .ns = "x",
					   .name = "p",
					   .body = verb == CLIENT_GET ? NULL : body,
					   .grace_period_s = -1};
	client_do(w->client, &req, on_answer, w);
	assert_int_equal(w->answers, before);
	WAIT(w, w->answers > before);
	return w->name;
}

static void the_next_takes_its_place(void **state)
{
	struct world *w = *state;
	assert_string_equal(ask(w, CLIENT_GET), "of-0");
	take_down(w, 0);
	/* nothing was sent yet: a write is asked of the next, too */
	assert_string_equal(ask(w, CLIENT_CREATE), "of-1");
	assert_string_equal(servers_current(w->servers), w->fakes[1].url);
	/* a write that may have been sent is its owner's to repeat */
	w->fakes[1].how = CUTS_OFF;
	assert_string_equal(ask(w, CLIENT_CREATE), "");
	assert_int_not_equal(w->code, 0);
	assert_int_equal(w->fakes[2].asked, 0);
	assert_string_equal(ask(w, CLIENT_CREATE), "of-2");
	/* a read is repeated */
	w->fakes[1].how = ANSWERS;
	w->fakes[2].how = CUTS_OFF;
	assert_string_equal(ask(w, CLIENT_GET), "of-1");
	/* all are gone: an answer all the same; and then one is back */
	w->fakes[1].how = CUTS_OFF;
	assert_string_equal(ask(w, CLIENT_GET), "");
	assert_int_not_equal(w->code, 0);
	w->fakes[2].how = ANSWERS;
	assert_string_equal(ask(w, CLIENT_GET), "of-2");
}

static void what_is_no_object(void **state)
{
	struct world *w = *state;
	w->fakes[0].how = CUTS_OFF;
	client_http_ask(w->client, "/mini/v1/x", NULL, on_answer, w);
	WAIT(w, w->answers == 1);
	assert_int_equal(w->code, 0);
	assert_int_equal(json_get_int(w->tree, "a", 0), 1);
	assert_int_equal(w->fakes[1].asked, 1);
	_cleanup_json_ json_t *body = json_make("{s:i}", "b", 2);
	w->fakes[1].how = CUTS_OFF;
	client_http_ask(w->client, "/mini/v1/x", body, on_answer, w);
	WAIT(w, w->answers == 2);
	assert_int_not_equal(w->code, 0);
	/* nothing comes after a cancel, whoever is asked meanwhile */
	client_cancel(w->client, client_http_ask(w->client, "/mini/v1/x", NULL, on_answer, w));
	ask(w, CLIENT_GET);
	assert_int_equal(w->answers, 3);
}

static void watch_it(struct world *w, uint64_t rv);

static void on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct world *w = arg;
	assert_int_equal(type, WATCH_ADDED);
	assert_int_equal(obj->rv, 9);
	w->events++;
}

static void on_end(void *arg, const struct err *err)
{
	struct world *w = arg;
	w->ends++;
	w->end_code = err->code;
	w->watch = NULL;
	if (w->ends < 3)
		watch_it(w, 9);
}

static void watch_it(struct world *w, uint64_t rv)
{
	static const struct client_watch_ops ops = {.on_event = on_event, .on_end = on_end};
	const struct client_watch_request req = {.kind = kind_by_word("pods"), .ns = "x", .rv = rv, .bookmarks = true};
	w->watch = client_watch(w->other, &req, &ops, w);
}

static void watches_follow(void **state)
{
	struct world *w = *state;
	watch_it(w, 5);
	WAIT(w, w->events == 1);
	assert_string_equal(w->fakes[0].from, "5");
	/* the other client finds that the server does not answer: this one's stream is still open, and moves */
	w->fakes[0].how = CUTS_OFF;
	assert_string_equal(ask(w, CLIENT_GET), "of-1");
	WAIT(w, w->events == 2);
	assert_int_equal(w->ends, 1);
	assert_int_equal(w->end_code, 0);
	assert_string_equal(w->fakes[1].from, "9");
	WAIT(w, w->fakes[0].watching == NULL);
	/* a stream that breaks; the next look finds nobody there, and goes on to who is, at once */
	take_down(w, 1);
	WAIT(w, w->events == 3);
	assert_string_equal(w->fakes[2].from, "9");
	assert_string_equal(servers_current(w->servers), w->fakes[2].url);
	/* nobody at all: it ends with an error, for its owner to wait a while */
	w->fakes[2].how = CUTS_OFF;
	take_down(w, 2);
	WAIT(w, w->ends >= 3);
	assert_null(w->watch);
	assert_int_not_equal(w->end_code, 0);
}

static void a_list_changes(void **state)
{
	struct world *w = *state;
	const char *const less[] = {w->fakes[2].url, w->fakes[1].url, w->fakes[2].url, "https://127.0.0.1:1",
				    "nonsense://"},
			  *const none[] = {"http://h:0"}, *const last[] = {w->fakes[2].url};
	watch_it(w, 5);
	WAIT(w, w->events == 1);
	assert_false(servers_set(w->servers, none, 1));
	assert_int_equal(servers_count(w->servers), SERVERS);
	/* the one in use is out of it; one of another scheme does not get in */
	assert_true(servers_set(w->servers, less, ARRAY_LEN(less)));
	assert_false(servers_set(w->servers, less, 2));
	assert_int_equal(servers_count(w->servers), 2);
	assert_string_equal(servers_at(w->servers, 1), w->fakes[1].url);
	assert_null(servers_at(w->servers, 2));
	assert_string_equal(ask(w, CLIENT_GET), "of-2");
	WAIT(w, w->events == 2);
	assert_int_equal(w->fakes[2].watched, 1);
	/* the one in use stays, wherever in the list it is */
	assert_true(servers_set(w->servers, last, 1));
	assert_string_equal(ask(w, CLIENT_GET), "of-2");
	assert_int_equal(w->fakes[2].watched, 1);
	assert_int_equal(w->ends, 1);
	/* and one alone is asked once */
	w->fakes[2].how = SAYS_503;
	unsigned before = w->fakes[2].asked;
	ask(w, CLIENT_GET);
	assert_int_equal(w->code, -EHOSTUNREACH);
	assert_int_equal(w->fakes[2].asked, before + 1);
	client_unwatch(w->other, STEAL(w->watch));
}

/* An election takes a second; a server without a quorum says 503 for longer. */
static void who_refuses_for_long(void **state)
{
	(void)state;
	struct env *env = env_sim_new(1, 0);
	const char *const urls[] = {"https://a:1", "https://b:1"};
	struct servers *s;
	env_sim_run_for(env, 1000000);
	assert_int_equal(servers_new(env, urls, 2, &s, NULL), 0);
	assert_false(servers__answered(s, urls[0], 503, env_now_us(env)));
	env_sim_run_for(env, 2000000);
	assert_false(servers__answered(s, urls[0], 503, env_now_us(env)));
	assert_false(servers__answered(s, urls[0], 200, env_now_us(env)));
	env_sim_run_for(env, 2000000);
	assert_false(servers__answered(s, urls[0], 503, env_now_us(env)));
	env_sim_run_for(env, 3000000);
	assert_true(servers__answered(s, urls[0], 503, env_now_us(env)));
	assert_string_equal(servers_current(s), urls[1]);
	/* who asked the first one, too, is to ask the second */
	assert_true(servers__answered(s, urls[0], 503, env_now_us(env)));
	assert_string_equal(servers_current(s), urls[1]);
	/* one that takes its time to refuse has refused for that long */
	uint64_t asked_us = env_now_us(env);
	env_sim_run_for(env, 5000000);
	assert_true(servers__answered(s, urls[1], 503, asked_us));
	assert_string_equal(servers_current(s), urls[0]);
	servers_unref(s);
	env_sim_free(env);
}

static void no_list(void **state)
{
	(void)state;
	struct servers *s = NULL;
	struct err err = ERR_INIT;
	const char *const urls[] = {"https://a:1", "https://"};
	assert_int_equal(servers_new(NULL, urls, 0, &s, &err), -EINVAL);
	assert_int_equal(servers_new(NULL, urls, 2, &s, &err), -EINVAL);
	assert_null(s);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(the_next_takes_its_place, setup, teardown),
	cmocka_unit_test_setup_teardown(what_is_no_object, setup, teardown),
	cmocka_unit_test_setup_teardown(watches_follow, setup, teardown),
	cmocka_unit_test_setup_teardown(a_list_changes, setup, teardown),
	cmocka_unit_test(who_refuses_for_long),
	cmocka_unit_test(no_list),
};

RUN_TESTS(tests)
