#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "lib/core/file.h"
#include "nodeagent/image/store_priv.h"

#define STORE_VERSION 1

void image_record_done(struct image_record *r)
{
	for (unsigned i = 0; i < r->n_tags; i++)
		free(r->tags[i]);
	free(r->tags);
	free(r->layers);
	*r = (struct image_record){0};
}

void image_info_done(struct image_info *i)
{
	if (!i)
		return;
	image_names_free(i->tags);
	image_names_free(i->layers);
	free(i->config);
	*i = (struct image_info){0};
}

void image_names_free(char **names)
{
	for (char **p = names; p && *p; p++)
		free(*p);
	free(names);
}

char *image_store__layer_path(const struct image_store *s, const char *hex)
{
	return xasprintf("%s/layers/%s", s->dir, hex);
}

char *image_store__blob_path(const struct image_store *s, const char *hex)
{
	return xasprintf("%s/blobs/sha256/%s", s->dir, hex);
}

struct image_record *image_store__by_id(struct image_store *s, const char *id)
{
	const char *hex = str_starts(id, "sha256:") ? id + 7 : id;
	size_t n = strlen(hex);
	struct image_record *found = NULL;
	if (n < 12 || n > 64 || strspn(hex, "0123456789abcdef") != n)
		return NULL;
	for (unsigned i = 0; i < s->n; i++) {
		if (strncmp(s->records[i].id + 7, hex, n) != 0)
			continue;
		if (found)
			return NULL; /* a prefix of two */
		found = &s->records[i];
	}
	return found;
}

static struct image_record *by_tag(struct image_store *s, const char *tag)
{
	for (unsigned i = 0; i < s->n; i++)
		for (unsigned k = 0; k < s->records[i].n_tags; k++)
			if (streq(s->records[i].tags[k], tag))
				return &s->records[i];
	return NULL;
}

struct image_record *image_store__by_ref(struct image_store *s, const char *ref)
{
	_cleanup_free_ char *tag = NULL;
	struct image_record *r = image_normalize(ref, &tag, NULL) == 0 ? by_tag(s, tag) : NULL;
	return r ? r : image_store__by_id(s, ref);
}

static void add_tag(struct image_record *r, const char *tag)
{
	r->tags = xrealloc(r->tags, sizeof(char *) * (r->n_tags + 2));
	r->tags[r->n_tags++] = xstrdup(tag);
	r->tags[r->n_tags] = NULL;
}

static void drop_tag(struct image_record *r, const char *tag)
{
	for (unsigned i = 0; i < r->n_tags; i++) {
		if (!streq(r->tags[i], tag))
			continue;
		free(r->tags[i]);
		memmove(&r->tags[i], &r->tags[i + 1], sizeof(char *) * (r->n_tags - i));
		r->n_tags--;
		return;
	}
}

/* ---- images.json ---- */

static int save(struct image_store *s, struct err *err)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < s->n; i++) {
		struct image_record *r = &s->records[i];
		json_t *tags = json_array(), *layers = json_array();
		for (unsigned k = 0; k < r->n_tags; k++)
			json_array_append_new(tags, json_string(r->tags[k]));
		for (unsigned k = 0; k < r->n_layers; k++)
			json_array_append_new(layers, json_string(r->layers[k]));
		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:I, s:I}", "id", r->id, "tags", tags, "layers",
						      layers, "size", (json_int_t)r->size_bytes, "created",
						      (json_int_t)r->created_s));
	}
	json_t *top = json_pack("{s:i, s:o}", "version", STORE_VERSION, "images", list);
	_cleanup_free_ char *text = top ? json_dumps(top, JSON_INDENT(1)) : NULL;
	json_decref(top);
	MUST(text != NULL);
	_cleanup_free_ char *path = xasprintf("%s/images.json", s->dir);
	return file_write_atomic(path, text, strlen(text), 0600, err);
}

static bool hex64(const char *s)
{
	return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int load_record(const json_t *j, struct image_record *ret)
{
	const char *id = json_string_value(json_object_get(j, "id"));
	const json_t *tags = json_object_get(j, "tags"), *layers = json_object_get(j, "layers"), *v;
	size_t i;
	if (!id || !str_starts(id, "sha256:") || !hex64(id + 7) || json_array_size(layers) > IMAGE_LAYERS_MAX)
		return -EPROTO;
	struct image_record r = {.size_bytes = (uint64_t)json_integer_value(json_object_get(j, "size")),
				 .created_s = json_integer_value(json_object_get(j, "created"))};
	snprintf(r.id, sizeof(r.id), "%s", id);
	r.layers = xcalloc(json_array_size(layers) + 1, sizeof(*r.layers));
	json_array_foreach(layers, i, v)
	{
		if (!hex64(json_string_value(v))) {
			image_record_done(&r);
			return -EPROTO;
		}
		memcpy(r.layers[r.n_layers++], json_string_value(v), 65);
	}
	json_array_foreach(tags, i, v) if (json_is_string(v)) add_tag(&r, json_string_value(v));
	*ret = r;
	return 0;
}

static int load(struct image_store *s, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/images.json", s->dir);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!file_exists(path))
		return 0;
	int r = file_read(path, 64u << 20, &b, err);
	if (r < 0)
		return r;
	json_t *top = json_loadb(buf_str(&b), b.len, 0, NULL), *v;
	const json_t *list = json_object_get(top, "images");
	size_t i;
	if (!top || json_integer_value(json_object_get(top, "version")) != STORE_VERSION || !json_is_array(list))
		r = err_set(err, -EPROTO,
			    "%s is of another version or damaged: move the folder away and import the images again",
			    path);
	json_array_foreach(list, i, v)
	{
		struct image_record rec;
		if (r < 0 || load_record(v, &rec) < 0)
			continue;
		GROW(s->records, s->cap, s->n + 1);
		s->records[s->n++] = rec;
	}
	json_decref(top);
	return r;
}

int image_store_open(const char *dir, struct image_store **ret, struct err *err)
{
	static const char *const subs[] = {"blobs/sha256", "layers", "tmp"};
	struct image_store *s = NEW(struct image_store);
	s->dir = xstrdup(dir);
	s->lock_fd = -1;
	pthread_mutex_init(&s->writer, NULL);
	pthread_mutex_init(&s->mutex, NULL);
	int r = 0;
	_cleanup_free_ char *tmp = xasprintf("%s/tmp", dir), *lock = xasprintf("%s/lock", dir);
	for (unsigned i = 0; i < ARRAY_LEN(subs) && r == 0; i++) {
		_cleanup_free_ char *sub = xasprintf("%s/%s", dir, subs[i]);
		r = mkdir_p(sub, 0700, err);
	}
	if (r == 0) {
		s->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (s->lock_fd < 0)
			r = err_errno(err, "open %s", lock);
		else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
			r = err_set(err, -EBUSY, "the image store %s is in use by another process", dir);
	}
	if (r == 0)
		r = rm_rf(tmp, err);
	if (r == 0)
		r = mkdir_p(tmp, 0700, err);
	if (r == 0)
		r = load(s, err);
	if (r < 0) {
		image_store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++)
		image_record_done(&s->records[i]);
	free(s->records);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->writer);
	pthread_mutex_destroy(&s->mutex);
	free(s->dir);
	free(s);
}

int image_store__put(struct image_store *s, struct image_record *r, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	struct image_record *there = image_store__by_id(s, r->id);
	if (!there) {
		GROW(s->records, s->cap, s->n + 1);
		there = &s->records[s->n++];
		*there = *r;
		there->tags = NULL;
		there->n_tags = 0;
		r->layers = NULL;
	}
	for (unsigned i = 0; i < r->n_tags; i++) {
		struct image_record *owner = by_tag(s, r->tags[i]);
		if (owner == there)
			continue;
		if (owner)
			drop_tag(owner, r->tags[i]);
		add_tag(there, r->tags[i]);
	}
	image_record_done(r);
	int code = save(s, err);
	pthread_mutex_unlock(&s->mutex);
	return code;
}

static int info_of(struct image_store *s, const struct image_record *r, struct image_info *ret, struct err *err)
{
	struct image_info i = {.size_bytes = r->size_bytes, .created_s = r->created_s};
	_cleanup_free_ char *path = image_store__blob_path(s, r->id + 7);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int code = file_read(path, IMAGE_JSON_MAX, &b, err);
	if (code < 0)
		return code;
	memcpy(i.id, r->id, sizeof(i.id));
	i.config = buf_steal(&b);
	i.tags = NEW_N(char *, r->n_tags + 1);
	for (unsigned k = 0; k < r->n_tags; k++)
		i.tags[k] = xstrdup(r->tags[k]);
	i.layers = NEW_N(char *, r->n_layers + 1);
	for (unsigned k = 0; k < r->n_layers; k++)
		i.layers[k] = xasprintf("%s/layers/%s/fs", s->dir, r->layers[k]);
	*ret = i;
	return 0;
}

int image_find(struct image_store *s, const char *ref, struct image_info *ret, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	struct image_record *r = image_store__by_ref(s, ref);
	/* what can name no image is told apart from what names one that is not here */
	_cleanup_free_ char *name = NULL;
	int code = r ? info_of(s, r, ret, err) : image_normalize(ref, &name, err);
	if (!r && code == 0)
		code = err_set(err, -ENOENT, "no image \"%.200s\" on this node", ref);
	pthread_mutex_unlock(&s->mutex);
	return code;
}

int image_list(struct image_store *s, struct image_info **ret, size_t *ret_n, struct err *err)
{
	pthread_mutex_lock(&s->mutex);
	struct image_info *list = NEW_N(struct image_info, s->n + 1);
	size_t n = 0;
	int code = 0;
	for (unsigned i = 0; i < s->n && code == 0; i++) {
		code = info_of(s, &s->records[i], &list[n], err);
		n += code == 0;
	}
	pthread_mutex_unlock(&s->mutex);
	if (code < 0) {
		for (size_t i = 0; i < n; i++)
			image_info_done(&list[i]);
		free(list);
		return code;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static bool layer_wanted(const struct image_store *s, const char *hex)
{
	for (unsigned i = 0; i < s->n; i++)
		for (unsigned k = 0; k < s->records[i].n_layers; k++)
			if (streq(s->records[i].layers[k], hex))
				return true;
	return false;
}

static bool config_wanted(const struct image_store *s, const char *hex)
{
	for (unsigned i = 0; i < s->n; i++)
		if (streq(s->records[i].id + 7, hex))
			return true;
	return false;
}

static int collect_in(struct image_store *s, const char *sub, bool (*wanted)(const struct image_store *, const char *),
		      struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", s->dir, sub);
	DIR *d = opendir(dir);
	if (!d)
		return err_errno(err, "open %s", dir);
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		pthread_mutex_lock(&s->mutex);
		bool keep = !hex64(e->d_name) || wanted(s, e->d_name);
		pthread_mutex_unlock(&s->mutex);
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		if (!keep)
			r = rm_rf(path, err);
	}
	closedir(d);
	return r;
}

int image_store__collect(struct image_store *s, struct err *err)
{
	int r = collect_in(s, "layers", layer_wanted, err);
	return r < 0 ? r : collect_in(s, "blobs/sha256", config_wanted, err);
}

static bool in_list(const char *const *list, const char *s)
{
	for (; list && *list; list++)
		if (streq(*list, s))
			return true;
	return false;
}

/* With the last tag the image goes, unless something runs from it. By id: all of its tags go at once. */
static int forget(struct image_store *s, const char *ref, const char *const *in_use, struct err *err)
{
	_cleanup_free_ char *tag = NULL;
	struct image_record *r = image_normalize(ref, &tag, NULL) == 0 ? by_tag(s, tag) : NULL;
	bool by_name = r != NULL;
	if (!r)
		r = image_store__by_id(s, ref);
	if (!r)
		return err_set(err, -ENOENT, "no image \"%.200s\" on this node", ref);
	if (by_name && r->n_tags > 1) {
		drop_tag(r, tag);
		return save(s, err);
	}
	if (in_list(in_use, r->id))
		return err_set(err, -EBUSY, "the image %s is used by a container: delete its pod first", ref);
	image_record_done(r);
	memmove(r, r + 1, sizeof(*r) * (size_t)(&s->records[s->n] - (r + 1)));
	s->n--;
	return save(s, err);
}

int image_remove(struct image_store *s, const char *ref, const char *const *in_use, struct err *err)
{
	pthread_mutex_lock(&s->writer);
	pthread_mutex_lock(&s->mutex);
	int r = forget(s, ref, in_use, err);
	pthread_mutex_unlock(&s->mutex);
	if (r == 0)
		r = image_store__collect(s, err);
	pthread_mutex_unlock(&s->writer);
	return r;
}
