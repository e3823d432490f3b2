/* The rules' texts, chain by chain, and the names that upstream gives the chains. */
#include "proxy/rules.h"
#include "tests/support/tap.h"

static const struct dataplane_config config = {
	.instance = "", .cluster_cidr = "10.244.0.0/16", .service_cidr = "10.96.0.0/16", .bridge = "mini0"};

static const struct proxy_endpoint three[] = {
	{.ip = "10.244.0.2", .port = 8080, .local = true, .ready = true, .serving = true},
	{.ip = "10.244.0.3", .port = 8080, .ready = true, .serving = true},
	{.ip = "10.244.1.4", .port = 8080, .ready = true, .serving = true},
};

static struct proxy_service_port web(void)
{
	return (struct proxy_service_port){.ns = "default",
					   .name = "web",
					   .port_name = "http",
					   .proto = PROXY_TCP,
					   .cluster_ip = "10.96.0.20",
					   .port = 80,
					   .endpoints = three,
					   .n_endpoints = 3};
}

static struct rules build(const struct proxy_service_port *ports, size_t n)
{
	struct proxy_map map = {.ports = ports, .n_ports = n};
	struct rules r;
	rules_build(&map, &config, &r);
	return r;
}

/* For addresses of the service range that nobody has. */
#define NO_SUCH_SERVICE                                                                                                        \
	"-A KUBE-SERVICES -d 10.96.0.0/16 -p tcp -m comment --comment \"no such service\" -j REJECT --reject-with tcp-reset\n" \
	"-A KUBE-SERVICES -d 10.96.0.0/16 -m comment --comment \"no such service\" -j REJECT\n"

static void chain_is(const struct map *table, const char *chain, const char *want)
{
	const char *got = map_get(table, chain);
	if (!got != !want || (got && strcmp(got, want) != 0))
		fail_msg("%s is\n%s\nnot\n%s", chain, got ? got : "(not there)", want ? want : "(not there)");
}

/* What kube-proxy's users have seen in iptables-save for years. */
static void names(_unused_ void **state)
{
	static const struct {
		const char *prefix, *text, *name;
	} rows[] = {
		{"KUBE-SVC-", "default/kubernetes:httpstcp", "KUBE-SVC-NPX46M4PTMTKRN6Y"},
		{"KUBE-SVC-", "kube-system/kube-dns:dnsudp", "KUBE-SVC-TCOU7JCQXEZGVUNU"},
		{"KUBE-SVC-", "kube-system/kube-dns:dns-tcptcp", "KUBE-SVC-ERIFXISQEP7F7OF4"},
		{"KUBE-SVC-", "kube-system/kube-dns:metricstcp", "KUBE-SVC-JD5MR3NA4I4DYORP"},
		{"KUBE-SVC-", "ns1/svc1:p80tcp", "KUBE-SVC-XPGD46QRK7WJZT7O"},
		{"KUBE-EXT-", "ns1/svc1:p80tcp", "KUBE-EXT-XPGD46QRK7WJZT7O"},
		{"KUBE-SEP-", "ns1/svc1:p80tcp10.180.0.1:80", "KUBE-SEP-SXIVWICOYRO3J4NJ"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char got[32];
		rules_chain_name(rows[i].prefix, rows[i].text, got);
		assert_string_equal(got, rows[i].name);
	}
}

static char chains[8][32];
static const char *named(unsigned i, const char *prefix, const char *text)
{
	rules_chain_name(prefix, text, chains[i]);
	return chains[i];
}

#define SVC    named(0, "KUBE-SVC-", "default/web:httptcp")
#define EXT    named(1, "KUBE-EXT-", "default/web:httptcp")
#define SVL    named(2, "KUBE-SVL-", "default/web:httptcp")
#define SEP(n) named(2 + n, "KUBE-SEP-", sep_keys[n])
static const char *const sep_keys[] = {NULL, "default/web:httptcp10.244.0.2:8080", "default/web:httptcp10.244.0.3:8080",
				       "default/web:httptcp10.244.1.4:8080"};

static void cluster_ip(_unused_ void **state)
{
	struct proxy_service_port p = web();
	struct rules r = build(&p, 1);
	_cleanup_free_ char *svc = xasprintf(
		"-A %1$s ! -s 10.244.0.0/16 -d 10.96.0.20/32 -m comment --comment \"default/web:http cluster IP\" -m tcp -p tcp "
		"--dport 80 -j KUBE-MARK-MASQ\n"
		"-A %1$s -m comment --comment \"default/web:http -> 10.244.0.2:8080\" -m statistic --mode random --probability "
		"0.3333333333 -j %2$s\n"
		"-A %1$s -m comment --comment \"default/web:http -> 10.244.0.3:8080\" -m statistic --mode random --probability "
		"0.5000000000 -j %3$s\n"
		"-A %1$s -m comment --comment \"default/web:http -> 10.244.1.4:8080\" -j %4$s\n",
		SVC, SEP(1), SEP(2), SEP(3));
	_cleanup_free_ char *sep = xasprintf(
		"-A %1$s -m comment --comment \"default/web:http\" -s 10.244.0.3 -j KUBE-MARK-MASQ\n"
		"-A %1$s -m comment --comment \"default/web:http\" -m tcp -p tcp -j DNAT --to-destination 10.244.0.3:8080\n",
		SEP(2));
	_cleanup_free_ char *services = xasprintf(
		"-A KUBE-SERVICES -m comment --comment \"default/web:http cluster IP\" -m tcp -p tcp -d 10.96.0.20/32 --dport 80 "
		"-j %s\n"
		"-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this "
		"chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n",
		SVC);
	chain_is(&r.nat, SVC, svc);
	chain_is(&r.nat, SEP(2), sep);
	chain_is(&r.nat, "KUBE-SERVICES", services);
	chain_is(&r.nat, EXT, NULL);
	chain_is(&r.nat, SVL, NULL);
	chain_is(&r.filter, "KUBE-SERVICES", NO_SUCH_SERVICE);
	chain_is(&r.filter, "KUBE-EXTERNAL-SERVICES", "");
	rules_done(&r);
}

/* Refused at once, inside and at the node port; nothing is translated. */
static void no_endpoints(_unused_ void **state)
{
	static const char *const ips[] = {"203.0.113.7", NULL};
	struct proxy_service_port p = web();
	p.n_endpoints = 0;
	p.proto = PROXY_UDP;
	p.port_name = "";
	p.node_port = 30080;
	p.external_ips = ips;
	struct rules r = build(&p, 1);
	chain_is(
		&r.filter, "KUBE-SERVICES",
		"-A KUBE-SERVICES -m comment --comment \"default/web has no endpoints\" -m udp -p udp -d 10.96.0.20/32 --dport "
		"80 -j REJECT\n" NO_SUCH_SERVICE);
	chain_is(
		&r.filter, "KUBE-EXTERNAL-SERVICES",
		"-A KUBE-EXTERNAL-SERVICES -m comment --comment \"default/web has no endpoints\" -m udp -p udp -m addrtype "
		"--dst-type LOCAL --dport 30080 -j REJECT\n"
		"-A KUBE-EXTERNAL-SERVICES -m comment --comment \"default/web has no endpoints\" -m udp -p udp -d "
		"203.0.113.7/32 --dport 80 -j REJECT\n");
	chain_is(&r.nat, "KUBE-NODEPORTS", "");
	assert_int_equal(r.nat.count, 4); /* marking, services, node ports, postrouting */
	rules_done(&r);
	p.proto = PROXY_TCP;
	r = build(&p, 1);
	assert_non_null(strstr(map_get(&r.filter, "KUBE-SERVICES"), "--dport 80 -j REJECT --reject-with tcp-reset\n"));
	rules_done(&r);
}

static void node_port(_unused_ void **state)
{
	static const char *const ips[] = {"203.0.113.7", NULL};
	struct proxy_service_port p = web();
	p.node_port = 30080;
	p.external_ips = ips;
	struct rules r = build(&p, 1);
	_cleanup_free_ char *ports = xasprintf(
		"-A KUBE-NODEPORTS -m comment --comment \"default/web:http\" -m tcp -p tcp --dport 30080 -j %s\n", EXT);
	_cleanup_free_ char *ext = xasprintf(
		"-A %1$s -m comment --comment \"masquerade traffic for default/web:http external destinations\" -j "
		"KUBE-MARK-MASQ\n"
		"-A %1$s -j %2$s\n",
		EXT, SVC);
	_cleanup_free_ char *external = xasprintf(
		"-A KUBE-SERVICES -m comment --comment \"default/web:http external IP\" -m tcp -p tcp -d 203.0.113.7/32 --dport "
		"80 -j %s\n",
		EXT);
	chain_is(&r.nat, "KUBE-NODEPORTS", ports);
	chain_is(&r.nat, EXT, ext);
	assert_non_null(strstr(map_get(&r.nat, "KUBE-SERVICES"), external));
	rules_done(&r);
}

/* The client's address is kept, so only endpoints of this node serve those who come from outside. */
static void external_local(_unused_ void **state)
{
	struct proxy_service_port p = web();
	p.node_port = 30080;
	p.external_local = true;
	struct rules r = build(&p, 1);
	_cleanup_free_ char *ext = xasprintf(
		"-A %1$s -s 10.244.0.0/16 -m comment --comment \"pod traffic for default/web:http external destinations\" -j "
		"%2$s\n"
		"-A %1$s -m comment --comment \"masquerade LOCAL traffic for default/web:http external destinations\" -m "
		"addrtype --src-type LOCAL -j KUBE-MARK-MASQ\n"
		"-A %1$s -m comment --comment \"route LOCAL traffic for default/web:http external destinations\" -m addrtype "
		"--src-type LOCAL -j %2$s\n",
		EXT, SVC);
	_cleanup_free_ char *with = xasprintf("%s-A %s -j %s\n", ext, EXT, SVL);
	_cleanup_free_ char *svl =
		xasprintf("-A %s -m comment --comment \"default/web:http -> 10.244.0.2:8080\" -j %s\n", SVL, SEP(1));
	chain_is(&r.nat, EXT, with);
	chain_is(&r.nat, named(2, "KUBE-SVL-", "default/web:httptcp"), svl);
	rules_done(&r);
	/* none of them is here: what comes from outside is not sent elsewhere, but dropped */
	p.endpoints = three + 1;
	p.n_endpoints = 2;
	r = build(&p, 1);
	chain_is(&r.nat, EXT, ext);
	chain_is(&r.nat, SVL, NULL);
	chain_is(
		&r.filter, "KUBE-EXTERNAL-SERVICES",
		"-A KUBE-EXTERNAL-SERVICES -m comment --comment \"default/web:http has no local endpoints\" -m tcp -p tcp -m "
		"addrtype --dst-type LOCAL --dport 30080 -j DROP\n");
	rules_done(&r);
}

static void internal_local(_unused_ void **state)
{
	struct proxy_service_port p = web();
	p.internal_local = true;
	struct rules r = build(&p, 1);
	_cleanup_free_ char *jump = xasprintf("-d 10.96.0.20/32 --dport 80 -j %s\n", SVL);
	assert_non_null(strstr(map_get(&r.nat, "KUBE-SERVICES"), jump));
	rules_done(&r);
	p.endpoints = three + 1;
	p.n_endpoints = 2;
	r = build(&p, 1);
	assert_null(strstr(map_get(&r.nat, "KUBE-SERVICES"), "10.96.0.20"));
	assert_non_null(strstr(
		map_get(&r.filter, "KUBE-SERVICES"),
		"-A KUBE-SERVICES -m comment --comment \"default/web:http has no local endpoints\" -m tcp -p tcp "
		"-d 10.96.0.20/32 --dport 80 -j DROP\n"));
	rules_done(&r);
}

static void affinity(_unused_ void **state)
{
	struct proxy_service_port p = web();
	p.session_affinity = true;
	p.affinity_timeout_s = 10800;
	p.n_endpoints = 2;
	struct rules r = build(&p, 1);
	_cleanup_free_ char *first = xasprintf(
		"-A %1$s -m comment --comment \"default/web:http -> 10.244.0.2:8080\" -m recent --name %2$s --rcheck --seconds "
		"10800 --reap -j %2$s\n",
		SVC, SEP(1));
	_cleanup_free_ char *set = xasprintf(
		"-A %1$s -m comment --comment \"default/web:http\" -m recent --name %1$s --set -m tcp -p tcp -j DNAT "
		"--to-destination 10.244.0.2:8080\n",
		SEP(1));
	const char *svc = map_get(&r.nat, SVC);
	assert_non_null(strstr(svc, first));
	/* whoever has been here is looked for before dice are thrown */
	assert_true(strstr(svc, "--rcheck") < strstr(svc, "--probability"));
	assert_non_null(strstr(map_get(&r.nat, SEP(1)), set));
	rules_done(&r);
}

/* ---- differences ---- */

static char *diff(const struct rules *old, const struct rules *now)
{
	struct buf b = BUF_INIT;
	rules_diff(old, now, &b);
	return b.len ? buf_steal(&b) : xstrdup("");
}

static void differences(_unused_ void **state)
{
	struct proxy_service_port p = web();
	p.n_endpoints = 2;
	struct rules two = build(&p, 1), same = build(&p, 1);
	p.n_endpoints = 1;
	struct rules one = build(&p, 1);
	_cleanup_free_ char *none = diff(&two, &same), *less = diff(&two, &one), *more = diff(&one, &two);
	assert_string_equal(none, "");
	_cleanup_free_ char *removed = xasprintf("-X %s\nCOMMIT\n", SEP(2)),
			    *emptied = xasprintf(":%s - [0:0]\n", SEP(2));
	assert_int_equal(strncmp(less, "*nat\n:", 6), 0);
	assert_non_null(strstr(less, emptied));
	/* out of use before it goes, and nothing that stayed the same is said again */
	assert_true(strstr(less, removed) > strstr(less, SVC));
	assert_null(strstr(less, SEP(1)) ? strstr(less, "10.244.0.2:8080\n-A") : NULL);
	assert_null(strstr(less, "KUBE-SERVICES"));
	assert_null(strstr(less, "*filter"));
	assert_non_null(strstr(more, "--to-destination 10.244.0.3:8080\n"));
	assert_null(strstr(more, "-X"));
	/* the last endpoint goes: refused in the filter table */
	p.n_endpoints = 0;
	struct rules zero = build(&p, 1);
	_cleanup_free_ char *gone = diff(&one, &zero);
	assert_non_null(strstr(gone, "*filter\n"));
	assert_non_null(strstr(gone, "has no endpoints"));
	assert_true(strstr(gone, "*filter") < strstr(gone, "*nat"));
	rules_done(&two);
	rules_done(&same);
	rules_done(&one);
	rules_done(&zero);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names),     cmocka_unit_test(cluster_ip),     cmocka_unit_test(no_endpoints),
	cmocka_unit_test(node_port), cmocka_unit_test(external_local), cmocka_unit_test(internal_local),
	cmocka_unit_test(affinity),  cmocka_unit_test(differences),
};
RUN_TESTS(tests)
