#include <dirent.h>
#include <errno.h>

#include "nodeagent/runtime_local_priv.h"

char *local_image_user(const struct image_info *image)
{
	json_t *j = json_loads(image->config ? image->config : "{}", 0, NULL);
	const char *s = json_string_value(json_object_get(json_object_get(j, "config"), "User"));
	char *user = xstrdup(s ? s : "");
	json_decref(j);
	return user;
}

struct found {
	struct image_info info;
	struct runtime_image image;
	char *user;
};

static int find(struct local_op *op, struct err *err)
{
	struct found *f = op->result;
	const char *ref = json_string_value(json_object_get(op->request, "ref"));
	uint64_t uid;
	int r = image_find(op->rl->images, ref, &f->info, err);
	if (r < 0)
		return r;
	f->user = local_image_user(&f->info);
	f->user[strcspn(f->user, ":")] = 0;
	f->image.tags = (const char *const *)f->info.tags;
	f->image.digest = "";
	f->image.size_bytes = f->info.size_bytes;
	snprintf(f->image.id, sizeof(f->image.id), "%s", f->info.id);
	bool number = !*f->user || parse_u64(f->user, &uid) == 0;
	f->image.user = !number ? -1 : *f->user ? (int64_t)uid : 0;
	f->image.user_name = number ? "" : f->user;
	return 0;
}

static void answer_found(struct local_op *op)
{
	struct found *f = op->result;
	if (op->err.code == -ENOENT)
		err_done(&op->err); /* no such image is an answer, not a failure */
	op->image_cb(op->arg, &op->err, f->info.id[0] ? &f->image : NULL);
	image_info_done(&f->info);
	free(f->user);
	free(f);
}

void local_image_status(struct runtime *r, const char *ref, runtime_image_cb cb, void *arg)
{
	struct local_op *op = local_op_new(runtime_local__of(r), "", find);
	op->request = json_pack("{s:s}", "ref", ref);
	op->result = NEW(struct found);
	op->answer = answer_found;
	op->image_cb = cb;
	op->arg = arg;
	local_op_submit(op);
}

static int refuse(struct local_op *op, struct err *err)
{
	const char *ref = json_string_value(json_object_get(op->request, "ref"));
	return err_set(err, -ENOTSUP,
		       "image \"%s\" is not on this node, and pulling from registries is not supported: bring it "
		       "with `minictl image import FILE`",
		       ref ? ref : "");
}

static void answer_refused(struct local_op *op)
{
	op->image_cb(op->arg, &op->err, NULL);
}

void local_image_pull(struct runtime *r, const char *ref, runtime_image_cb cb, void *arg)
{
	struct local_op *op = local_op_new(runtime_local__of(r), "", refuse);
	op->request = json_pack("{s:s}", "ref", ref);
	op->answer = answer_refused;
	op->image_cb = cb;
	op->arg = arg;
	local_op_submit(op);
}

char **runtime_local_images(struct runtime *r)
{
	const struct runtime_local *rl = runtime_local__of(r);
	char **list = NEW_N(char *, 1);
	size_t n = 0;
	DIR *d = opendir(rl->bundles);
	for (struct dirent *e; d && (e = readdir(d));) {
		json_t *request;
		if (!oci_id_valid(e->d_name) || local_request_read(rl, e->d_name, &request, NULL) < 0)
			continue;
		const char *image = json_string_value(json_object_get(request, "image"));
		if (image) {
			list = xrealloc(list, sizeof(*list) * (n + 2));
			list[n++] = xstrdup(image);
			list[n] = NULL;
		}
		json_decref(request);
	}
	if (d)
		closedir(d);
	return list;
}
