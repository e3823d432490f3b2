/* The proxy in virtual time: an API in memory above it, a dataplane that only takes notes below. */
#include <errno.h>

#include "lib/core/env_sim.h"
#include "proxy/proxy.h"
#include "tests/support/fake_client.h"
#include "tests/support/tap.h"

#define MS 1000ull

/* Keeps each map as text; ends a sync when told to, or after `takes_us`. */
struct fake_plane {
	struct dataplane base;
	struct env *env;
	struct env_timer timer;
	uint64_t takes_us;
	unsigned syncs, fail_next;
	bool hold, running;
	struct buf last;
	void (*done)(void *, const struct err *);
	void *arg;
};

struct world {
	struct env *env;
	struct client *client;
	struct fake_plane plane;
	struct proxy *proxy;
	unsigned gone;
};

static void end_sync(struct fake_plane *f)
{
	struct err err = ERR_INIT;
	assert_true(f->running);
	f->running = false;
	if (f->fail_next) {
		f->fail_next--;
		err_set(&err, -EIO, "the kernel said no");
	}
	f->done(f->arg, &err);
}

static void on_timer(struct env_timer *t)
{
	end_sync(CONTAINER_OF(t, struct fake_plane, timer));
}

static void plane_sync(struct dataplane *d, const struct proxy_map *map, void (*done)(void *, const struct err *),
		       void *arg)
{
	struct fake_plane *f = CONTAINER_OF(d, struct fake_plane, base);
	assert_false(f->running);
	f->running = true;
	f->syncs++;
	f->done = done;
	f->arg = arg;
	buf_clear(&f->last);
	for (size_t i = 0; i < map->n_ports; i++) {
		const struct proxy_service_port *p = &map->ports[i];
		buf_addf(&f->last, "%s/%s:%s %s:%u", p->ns, p->name, p->port_name, p->cluster_ip, p->port);
		if (p->node_port)
			buf_addf(&f->last, " node:%u", p->node_port);
		for (size_t k = 0; k < p->n_endpoints; k++)
			buf_addf(&f->last, " %s:%u%s", p->endpoints[k].ip, p->endpoints[k].port,
				 p->endpoints[k].local ? "(here)" : "");
		buf_addc(&f->last, '\n');
	}
	if (!f->hold)
		env_timer_start(f->env, &f->timer, f->takes_us);
}

static const struct dataplane_ops plane_ops = {.sync = plane_sync};

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	w->env = env_sim_new(7, 1700000000000000);
	w->client = fake_client_new(w->env);
	w->plane = (struct fake_plane){.base.ops = &plane_ops, .env = w->env, .timer.fn = on_timer, .takes_us = 5 * MS};
	w->proxy = proxy_new(w->client, "node-0", &w->plane.base);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	proxy_free(w->proxy);
	if (w->plane.running)
		end_sync(&w->plane); /* the proxy is gone: nobody is told */
	env_timer_stop(w->env, &w->plane.timer);
	client_free(w->client);
	env_sim_free(w->env);
	buf_done(&w->plane.last);
	free(w);
	return 0;
}

static void add_service(struct world *w, const char *name, const char *ip)
{
	fake_add(
		w->client,
		"{'apiVersion':'v1','kind':'Service','metadata':{'name':'%s','namespace':'d'},'spec':{'clusterIP':'%s',"
		"'ports':[{'name':'http','port':80,'targetPort':8080}]}}",
		name, ip);
}

#define ENDPOINT(ip, node, conditions) "{'addresses':['" ip "'],'nodeName':'" node "','conditions':{" conditions "}}"
#define READY                          "'ready':true,'serving':true,'terminating':false"
#define ENDING                         "'ready':false,'serving':true,'terminating':true"
#define NOT_SERVING                    "'ready':false,'serving':false,'terminating':true"

static void add_slice(struct world *w, const char *name, const char *service, const char *endpoints)
{
	fake_add(
		w->client,
		"{'apiVersion':'discovery.k8s.io/v1','kind':'EndpointSlice','metadata':{'name':'%s','namespace':'d','labels':{"
		"'kubernetes.io/service-name':'%s'}},'addressType':'IPv4','ports':[{'name':'http','port':8080,'protocol':'TCP'"
		"}],'endpoints':[%s]}",
		name, service, endpoints);
}

static void set_endpoints(struct world *w, const char *endpoints)
{
	fake_patch(w->client, "EndpointSlice", "d", "web-1", "{'endpoints':[%s]}", endpoints);
}

static void run(struct world *w, uint64_t us)
{
	env_sim_run_for(w->env, us);
}

static void start(struct world *w)
{
	add_service(w, "web", "10.96.0.9");
	add_slice(w, "web-1", "web",
		  ENDPOINT("10.244.0.2", "node-0", READY) "," ENDPOINT("10.244.1.3", "node-1", READY));
	proxy_start(w->proxy);
	run(w, 100 * MS);
	assert_true(proxy_synced(w->proxy));
	assert_in_range(w->plane.syncs, 1, 2);
	w->plane.syncs = 0;
}

static void map_is(struct world *w, const char *want)
{
	assert_string_equal(buf_str(&w->plane.last), want);
}

static void first_sync_holds_everything(void **state)
{
	struct world *w = *state;
	assert_false(proxy_synced(w->proxy));
	start(w);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.0.2:8080(here) 10.244.1.3:8080\n");
}

/* Headless, external-name and IPv6 services are not the kernel's business; a service without a slice is. */
static void which_services(void **state)
{
	struct world *w = *state;
	add_service(w, "alone", "10.96.0.8");
	add_service(w, "headless", "None");
	add_service(w, "six", "fd00::1");
	fake_add(w->client,
		 "{'apiVersion':'v1','kind':'Service','metadata':{'name':'ext','namespace':'d'},'spec':{'type':"
		 "'ExternalName','externalName':'a.example'}}");
	start(w);
	map_is(w, "d/alone:http 10.96.0.8:80\n"
		  "d/web:http 10.96.0.9:80 10.244.0.2:8080(here) 10.244.1.3:8080\n");
}

static void ready_before_terminating(void **state)
{
	struct world *w = *state;
	start(w);
	set_endpoints(w, ENDPOINT("10.244.0.2", "node-0", ENDING) "," ENDPOINT("10.244.1.3", "node-1", READY));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.1.3:8080\n");
	/* none is ready: those that still serve are better than nothing */
	set_endpoints(w, ENDPOINT("10.244.0.2", "node-0", ENDING) "," ENDPOINT("10.244.1.3", "node-1", NOT_SERVING));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.0.2:8080(here)\n");
	set_endpoints(w, ENDPOINT("10.244.1.3", "node-1", NOT_SERVING));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80\n");
	/* conditions that are not given count as true */
	set_endpoints(w, ENDPOINT("10.244.1.3", "node-1", ""));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.1.3:8080\n");
}

static void slices_add_up(void **state)
{
	struct world *w = *state;
	start(w);
	add_slice(w, "web-2", "web",
		  ENDPOINT("10.244.1.3", "node-1", READY) "," ENDPOINT("10.244.0.1", "node-0", READY));
	add_slice(w, "other", "nobody", ENDPOINT("10.244.9.9", "node-1", READY));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.0.1:8080(here) 10.244.0.2:8080(here) 10.244.1.3:8080\n");
	fake_delete(w->client, "Service", "d", "web", NULL, -1);
	run(w, 100 * MS);
	map_is(w, "");
}

/* Servers at one address: a slice for each port. */
static void ports_of_their_own(void **state)
{
	struct world *w = *state;
	start(w);
	for (int port = 6443; port <= 8443; port += 1000)
		fake_add(
			w->client,
			"{'apiVersion':'discovery.k8s.io/v1','kind':'EndpointSlice','metadata':{'name':'web-%d','namespace':'d',"
			"'labels':{'kubernetes.io/service-name':'web'}},'addressType':'IPv4','ports':[{'name':'http','port':%d,"
			"'protocol':'TCP'}],'endpoints':[" ENDPOINT("10.244.1.9", "node-1", READY) "]}",
			port, port);
	set_endpoints(w, ENDPOINT("10.244.1.9", "node-1", NOT_SERVING));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.1.9:6443 10.244.1.9:7443 10.244.1.9:8443\n");
	fake_delete(w->client, "EndpointSlice", "d", "web-7443", NULL, -1);
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.1.9:6443 10.244.1.9:8443\n");
}

/* Any number of changes while a sync runs is one sync afterwards. */
static void changes_coalesce(void **state)
{
	struct world *w = *state;
	start(w);
	w->plane.hold = true;
	set_endpoints(w, ENDPOINT("10.244.0.2", "node-0", READY));
	run(w, 100 * MS);
	assert_int_equal(w->plane.syncs, 1);
	for (int i = 0; i < 50; i++) {
		fake_patch(w->client, "Service", "d", "web", "{'metadata':{'labels':{'n':'%d'}}}", i);
		run(w, MS);
	}
	assert_int_equal(w->plane.syncs, 1);
	assert_false(proxy_synced(w->proxy));
	w->plane.hold = false;
	end_sync(&w->plane);
	run(w, 100 * MS);
	assert_int_equal(w->plane.syncs, 2);
	assert_true(proxy_synced(w->proxy));
}

static void failure_is_tried_again(void **state)
{
	struct world *w = *state;
	start(w);
	w->plane.fail_next = 2;
	set_endpoints(w, ENDPOINT("10.244.0.2", "node-0", READY));
	run(w, 100 * MS);
	assert_int_equal(w->plane.syncs, 1);
	assert_false(proxy_synced(w->proxy));
	run(w, 500 * MS);
	assert_int_equal(w->plane.syncs, 1); /* not at once */
	run(w, 3000 * MS);
	assert_int_equal(w->plane.syncs, 3);
	assert_true(proxy_synced(w->proxy));
	map_is(w, "d/web:http 10.96.0.9:80 10.244.0.2:8080(here)\n");
}

static void on_gone(void *arg)
{
	((struct world *)arg)->gone++;
}

static void gone_when_the_kernel_knows(void **state)
{
	struct world *w = *state;
	start(w);
	proxy_when_gone(w->proxy, "10.244.7.7", on_gone, w); /* never was there */
	assert_int_equal(w->gone, 0);                        /* not inside the call */
	run(w, MS);
	assert_int_equal(w->gone, 1);
	proxy_when_gone(w->proxy, "10.244.0.2", on_gone, w);
	run(w, 1000 * MS);
	assert_int_equal(w->gone, 1);
	w->plane.hold = true;
	set_endpoints(w, ENDPOINT("10.244.0.2", "node-0", ENDING) "," ENDPOINT("10.244.1.3", "node-1", READY));
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.1.3:8080\n");
	assert_int_equal(w->gone, 1); /* the kernel has not said so yet */
	w->plane.fail_next = 1;
	end_sync(&w->plane);
	run(w, 500 * MS);
	assert_int_equal(w->gone, 1); /* it failed: the old rules may hold */
	w->plane.hold = false;
	run(w, 2000 * MS);
	assert_int_equal(w->gone, 2);
	/* the last one that serves, while it ends, is not waited for: nothing would ever replace it */
	set_endpoints(w, ENDPOINT("10.244.1.3", "node-1", ENDING));
	proxy_when_gone(w->proxy, "10.244.1.3", on_gone, w);
	run(w, 100 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.1.3:8080\n");
	assert_int_equal(w->gone, 3);
}

/* A sync under way holds an address from the moment it is handed out. */
static void gone_sees_what_is_coming(void **state)
{
	struct world *w = *state;
	start(w);
	w->plane.hold = true;
	set_endpoints(w, ENDPOINT("10.244.0.5", "node-0", READY));
	run(w, 10 * MS);
	proxy_when_gone(w->proxy, "10.244.0.5", on_gone, w);
	run(w, 10 * MS);
	assert_int_equal(w->gone, 0);
	w->plane.hold = false;
	end_sync(&w->plane);
	run(w, 100 * MS);
	assert_int_equal(w->gone, 0);
	set_endpoints(w, "");
	run(w, 100 * MS);
	assert_int_equal(w->gone, 1);
}

/* An address that a sync has yet to take up is waited for, too. */
static void gone_sees_what_waits_its_turn(void **state)
{
	struct world *w = *state;
	start(w);
	w->plane.hold = true;
	set_endpoints(w, ENDPOINT("10.244.0.4", "node-0", READY));
	run(w, 10 * MS);
	assert_true(w->plane.running);
	set_endpoints(w, ENDPOINT("10.244.0.5", "node-0", READY));
	run(w, 10 * MS);
	proxy_when_gone(w->proxy, "10.244.0.5", on_gone, w);
	proxy_when_gone(w->proxy, "10.244.7.7", on_gone, w);
	run(w, 10 * MS);
	assert_int_equal(w->gone, 0);
	end_sync(&w->plane);
	run(w, 10 * MS);
	map_is(w, "d/web:http 10.96.0.9:80 10.244.0.5:8080(here)\n");
	assert_int_equal(w->gone, 0);
	w->plane.hold = false;
	end_sync(&w->plane);
	run(w, 100 * MS);
	assert_int_equal(w->gone, 1); /* 7.7 */
	set_endpoints(w, "");
	run(w, 100 * MS);
	assert_int_equal(w->gone, 2);
}

/* The rules of the process before hold until the first sync. */
static void nothing_is_gone_before_the_first_sync(void **state)
{
	struct world *w = *state;
	w->plane.hold = true;
	add_service(w, "web", "10.96.0.9");
	add_slice(w, "web-1", "web", ENDPOINT("10.244.0.2", "node-0", READY));
	proxy_when_gone(w->proxy, "10.244.0.9", on_gone, w);
	proxy_start(w->proxy);
	run(w, 100 * MS);
	assert_int_equal(w->gone, 0);
	w->plane.hold = false;
	end_sync(&w->plane);
	run(w, 100 * MS);
	assert_int_equal(w->gone, 1);
}

/* teardown frees the proxy first, with a sync running and someone waiting. */
static void freed_while_syncing(void **state)
{
	struct world *w = *state;
	start(w);
	w->plane.hold = true;
	set_endpoints(w, ENDPOINT("10.244.0.5", "node-0", READY));
	proxy_when_gone(w->proxy, "10.244.0.2", on_gone, w);
	run(w, 10 * MS);
	assert_true(w->plane.running);
	assert_int_equal(w->gone, 0);
	proxy_free(STEAL(w->proxy));
	assert_int_equal(w->gone, 1); /* its owner may let go of what it waits with */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(first_sync_holds_everything),
	T(which_services),
	T(ready_before_terminating),
	T(slices_add_up),
	T(ports_of_their_own),
	T(changes_coalesce),
	T(failure_is_tried_again),
	T(gone_when_the_kernel_knows),
	T(gone_sees_what_is_coming),
	T(gone_sees_what_waits_its_turn),
	T(nothing_is_gone_before_the_first_sync),
	T(freed_while_syncing),
};
RUN_TESTS(tests)
