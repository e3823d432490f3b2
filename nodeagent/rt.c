/* Runtime verbs cannot be taken back, so their answers go through a struct of their own that forgets who asked. */
#include "nodeagent/pod.h"

struct rt_call {
	struct list node; /* in nodeagent.calls */
	struct pod *pod;  /* NULL: forgotten */
	struct pod_container *c;
	rt_fn fn;
	rt_list_fn list_fn;
	rt_image_fn image_fn;
};

static struct rt_call *call_new(struct pod *p, struct pod_container *c)
{
	struct rt_call *call = NEW(struct rt_call);
	call->pod = p;
	call->c = c;
	list_push(&p->n->calls, &call->node);
	return call;
}

static void on_answer(void *arg, const struct err *err)
{
	struct rt_call *call = arg;
	list_del(&call->node);
	if (call->pod) {
		if (call->fn)
			call->fn(call->pod, call->c, err);
		pod_kick(call->pod);
	}
	free(call);
}

static void on_list(void *arg, const struct err *err, const struct runtime_container *list, size_t n)
{
	struct rt_call *call = arg;
	list_del(&call->node);
	if (call->pod) {
		call->list_fn(call->pod, call->c, err, list, n);
		pod_kick(call->pod);
	}
	free(call);
}

static void on_image(void *arg, const struct err *err, const struct runtime_image *image)
{
	struct rt_call *call = arg;
	list_del(&call->node);
	if (call->pod) {
		call->image_fn(call->pod, call->c, err, image);
		pod_kick(call->pod);
	}
	free(call);
}

static struct rt_call *plain(struct pod *p, struct pod_container *c, rt_fn fn)
{
	struct rt_call *call = call_new(p, c);
	call->fn = fn;
	return call;
}

void rt_run_sandbox(struct pod *p, const struct runtime_sandbox_config *k, rt_fn fn)
{
	struct runtime *r = p->n->runtime;
	r->ops->run_sandbox(r, k, on_answer, plain(p, NULL, fn));
}

void rt_stop_sandbox(struct pod *p, const char *id, rt_fn fn)
{
	struct runtime *r = p->n->runtime;
	r->ops->stop_sandbox(r, id, on_answer, plain(p, NULL, fn));
}

void rt_remove_sandbox(struct pod *p, const char *id, rt_fn fn)
{
	struct runtime *r = p->n->runtime;
	r->ops->remove_sandbox(r, id, on_answer, plain(p, NULL, fn));
}

void rt_create(struct pod_container *c, const struct runtime_container_config *k, rt_fn fn)
{
	struct runtime *r = c->pod->n->runtime;
	r->ops->create_container(r, k, on_answer, plain(c->pod, c, fn));
}

void rt_start(struct pod_container *c, rt_fn fn)
{
	struct runtime *r = c->pod->n->runtime;
	r->ops->start_container(r, c->cur.id, on_answer, plain(c->pod, c, fn));
}

void rt_stop(struct pod_container *c, unsigned grace_s, rt_fn fn)
{
	struct runtime *r = c->pod->n->runtime;
	r->ops->stop_container(r, c->cur.id, grace_s, on_answer, plain(c->pod, c, fn));
}

void rt_remove(struct pod_container *c, const char *id, rt_fn fn)
{
	struct runtime *r = c->pod->n->runtime;
	r->ops->remove_container(r, id, on_answer, plain(c->pod, c, fn));
}

void rt_list(struct pod *p, struct pod_container *c, const char *id, rt_list_fn fn)
{
	struct runtime *r = p->n->runtime;
	struct rt_call *call = call_new(p, c);
	call->list_fn = fn;
	r->ops->list(r, id, on_list, call);
}

void rt_image_status(struct pod_container *c, const char *ref, rt_image_fn fn)
{
	struct runtime *r = c->pod->n->runtime;
	struct rt_call *call = call_new(c->pod, c);
	call->image_fn = fn;
	r->ops->image_status(r, ref, on_image, call);
}

void rt_image_pull(struct pod_container *c, const char *ref, rt_image_fn fn)
{
	struct runtime *r = c->pod->n->runtime;
	struct rt_call *call = call_new(c->pod, c);
	call->image_fn = fn;
	r->ops->image_pull(r, ref, on_image, call);
}

void rt_forget_pod(struct pod *p)
{
	LIST_EACH (&p->n->calls, call, struct rt_call, node) {
		if (call->pod == p)
			call->pod = NULL;
	}
}

/* The answers still come, maybe after the agent has been freed: they only free themselves then. */
void rt_forget_all(struct nodeagent *n)
{
	LIST_EACH (&n->calls, call, struct rt_call, node) {
		call->pod = NULL;
		list_del(&call->node);
	}
}
