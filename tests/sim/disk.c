#include "tests/sim/disk.h"

#include <errno.h>
#include <inttypes.h>

#include "tests/sim/sim.h"

struct store_file {
	struct sim_disk *disk;
	struct sim_vnode *node;
	bool lock;
};

static struct sim_disk *disks[SIM_DISKS];

struct sim_disk *sim_disk_of(const char *path)
{
	MUST(path[0] == '/' && path[1] == 's' && path[2] >= '0' && path[2] < '0' + SIM_DISKS);
	return disks[path[2] - '0'];
}

/* ---- files ---- */

struct sim_vnode *sim_vnode_anonymous(void)
{
	struct sim_vnode *n = NEW(struct sim_vnode);
	n->refs = 1;
	n->temporary = true;
	return n;
}

static void writes_clear(struct sim_vnode *n)
{
	for (size_t i = 0; i < n->n_writes; i++)
		free(n->writes[i].data);
	n->n_writes = 0;
}

void sim_vnode_unref(struct sim_vnode *n)
{
	if (!n || --n->refs)
		return;
	writes_clear(n);
	for (int i = 0; i < n->n_shm; i++)
		free(n->shm[i]);
	free(n->shm);
	free(n->writes);
	free(n->now);
	free(n->synced);
	free(n);
}

static void resize(char **data, uint64_t *size, uint64_t *cap, uint64_t to)
{
	if (to > *cap) {
		uint64_t c = MAX(to, *cap * 2);
		*data = xrealloc(*data, c);
		*cap = c;
	}
	if (to > *size)
		memset(*data + *size, 0, to - *size);
	*size = to;
}

static void put(char **data, uint64_t *size, uint64_t *cap, const void *from, size_t len, uint64_t off)
{
	if (off + len > *size)
		resize(data, size, cap, off + len);
	if (len)
		memcpy(*data + off, from, len);
}

static void remember(struct sim_vnode *n, bool is_resize, uint64_t off, const void *data, size_t len)
{
	if (n->temporary)
		return;
	GROW(n->writes, n->cap_writes, n->n_writes + 1);
	struct sim_write *w = &n->writes[n->n_writes++];
	*w = (struct sim_write){.resize = is_resize, .off = off, .len = len};
	if (len) {
		w->data = xmalloc(len);
		memcpy(w->data, data, len);
	}
}

static void to_platter(struct sim_vnode *n, const struct sim_write *w)
{
	if (w->resize)
		resize(&n->synced, &n->synced_size, &n->synced_cap, w->off);
	else
		put(&n->synced, &n->synced_size, &n->synced_cap, w->data, w->len, w->off);
}

/* ---- names ---- */

static struct sim_name *lookup(struct sim_names *names, const char *path)
{
	for (size_t i = 0; i < names->n; i++)
		if (streq(names->list[i].path, path))
			return &names->list[i];
	return NULL;
}

static void name_del(struct sim_names *names, const char *path)
{
	struct sim_name *e = lookup(names, path);
	if (!e)
		return;
	free(e->path);
	sim_vnode_unref(e->node);
	size_t i = (size_t)(e - names->list);
	memmove(e, e + 1, (names->n - i - 1) * sizeof(*e));
	names->n--;
}

static void name_set(struct sim_names *names, const char *path, struct sim_vnode *node)
{
	node->refs++;
	name_del(names, path);
	GROW(names->list, names->cap, names->n + 1);
	names->list[names->n++] = (struct sim_name){.path = xstrdup(path), .node = node};
}

static void names_clear(struct sim_names *names)
{
	while (names->n)
		name_del(names, names->list[names->n - 1].path);
}

static void name_apply(struct sim_names *names, const struct sim_pending_name *p)
{
	if (p->op == NAME_UNLINK) {
		name_del(names, p->path);
		return;
	}
	name_set(names, p->op == NAME_RENAME ? p->to : p->path, p->node);
	if (p->op == NAME_RENAME)
		name_del(names, p->path);
}

static void pend(struct sim_disk *d, enum sim_name_op op, const char *path, const char *to, struct sim_vnode *node)
{
	GROW(d->pending, d->cap_pending, d->n_pending + 1);
	struct sim_pending_name *p = &d->pending[d->n_pending++];
	*p = (struct sim_pending_name){.op = op, .path = xstrdup(path), .to = to ? xstrdup(to) : NULL, .node = node};
	if (node)
		node->refs++;
	name_apply(&d->now, p);
}

static void pending_free(struct sim_pending_name *p)
{
	free(p->path);
	free(p->to);
	sim_vnode_unref(p->node);
}

static bool in_dir(const char *path, const char *dir, size_t len)
{
	return strncmp(path, dir, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

/* The first `max` pending changes of a directory reach the platter; the rest stay pending. */
static void settle(struct sim_disk *d, const char *dir, size_t max)
{
	size_t left = 0, len = strlen(dir);
	for (size_t i = 0; i < d->n_pending; i++) {
		struct sim_pending_name *p = &d->pending[i];
		if (max && in_dir(p->path, dir, len)) {
			name_apply(&d->durable, p);
			pending_free(p);
			max--;
		} else {
			d->pending[left++] = *p;
		}
	}
	d->n_pending = left;
}

/* Power is lost: the rest is forgotten, but for some of it, if the directory does not keep to an order. */
static void forget(struct sim_disk *d, const char *dir, bool ordered)
{
	size_t left = 0, len = strlen(dir);
	for (size_t i = 0; i < d->n_pending; i++) {
		struct sim_pending_name *p = &d->pending[i];
		if (!in_dir(p->path, dir, len)) {
			d->pending[left++] = *p;
			continue;
		}
		if (!ordered && rand_below(&sim.disk, 2))
			name_apply(&d->durable, p);
		pending_free(p);
	}
	d->n_pending = left;
}

/* ---- the I/O points ---- */

enum point { POINT_GO, POINT_DIE_BEFORE, POINT_DIE_AFTER };

static enum point point(struct sim_disk *d, const char *what)
{
	d->io++;
	if (d->crash_in == 0 || --d->crash_in)
		return POINT_GO;
	sim_trace("disk %u crash at %s", d->id, what);
	return rand_below(&sim.disk, 2) ? POINT_DIE_BEFORE : POINT_DIE_AFTER;
}

/* Around an operation: fails if the disk is dead or dies just before; dies just after it, at the end of the scope. */
#define IO_POINT(d, what)                                                                                              \
	if ((d)->dead)                                                                                                 \
		return -EIO;                                                                                           \
	enum point point_ = point(d, what);                                                                            \
	if (point_ == POINT_DIE_BEFORE) {                                                                              \
		(d)->dead = true;                                                                                      \
		return -EIO;                                                                                           \
	}
#define IO_END(d, rc)                                                                                                  \
	do {                                                                                                           \
		if (point_ == POINT_DIE_AFTER) {                                                                       \
			(d)->dead = true;                                                                              \
			return -EIO;                                                                                   \
		}                                                                                                      \
		return rc;                                                                                             \
	} while (0)

struct sim_vnode *sim_disk_find(struct sim_disk *d, const char *path)
{
	struct sim_name *e = lookup(&d->now, path);
	return e ? e->node : NULL;
}

int sim_open(struct sim_disk *d, const char *path, bool create, bool truncate, struct sim_vnode **ret)
{
	IO_POINT(d, "open");
	struct sim_vnode *n = sim_disk_find(d, path);
	if (!n && !create)
		return -ENOENT;
	if (!n) {
		n = sim_vnode_anonymous();
		n->temporary = false;
		pend(d, NAME_CREATE, path, NULL, n);
		sim_vnode_unref(n);
		sim_trace("disk %u create %s", d->id, path);
	} else if (truncate && n->size) {
		int rc = sim_truncate(d, n, 0);
		if (rc)
			return rc;
	}
	n->refs++;
	*ret = n;
	if (point_ == POINT_DIE_AFTER)
		sim_vnode_unref(n);
	IO_END(d, 0);
}

int64_t sim_read(struct sim_disk *d, struct sim_vnode *n, void *buf, size_t len, uint64_t off)
{
	if (d->dead)
		return -EIO;
	if (d->p_read_error && rand_chance(&sim.disk, d->p_read_error)) {
		sim_trace("disk %u read error", d->id);
		return -EIO;
	}
	if (off >= n->size)
		return 0;
	len = MIN(len, n->size - off);
	memcpy(buf, n->now + off, len);
	return (int64_t)len;
}

static bool no_room(struct sim_disk *d, struct sim_vnode *n, uint64_t size)
{
	return size > n->size && d->capacity && d->used + (size - n->size) > d->capacity;
}

int sim_write(struct sim_disk *d, struct sim_vnode *n, const void *buf, size_t len, uint64_t off)
{
	IO_POINT(d, "write");
	if (no_room(d, n, off + len))
		return -ENOSPC;
	if (d->p_write_error && rand_chance(&sim.disk, d->p_write_error)) {
		sim_trace("disk %u write error", d->id);
		return -EIO;
	}
	if (off + len > n->size)
		d->used += off + len - n->size;
	put(&n->now, &n->size, &n->cap, buf, len, off);
	remember(n, false, off, buf, len);
	n->last_off = off;
	sim_trace_bytes(buf, len);
	sim_trace("disk %u write %" PRIu64 "+%zu", d->id, off, len);
	IO_END(d, 0);
}

int sim_truncate(struct sim_disk *d, struct sim_vnode *n, uint64_t size)
{
	IO_POINT(d, "truncate");
	if (no_room(d, n, size))
		return -ENOSPC;
	d->used += size - n->size; /* wraps back when it shrinks */
	resize(&n->now, &n->size, &n->cap, size);
	remember(n, true, size, NULL, 0);
	sim_trace("disk %u truncate %" PRIu64, d->id, size);
	IO_END(d, 0);
}

int sim_sync(struct sim_disk *d, struct sim_vnode *n)
{
	IO_POINT(d, "sync");
	d->syncs++;
	bool fails = d->p_sync_error && rand_chance(&sim.disk, d->p_sync_error);
	for (size_t i = 0; i < n->n_writes; i++)
		if (!fails || rand_below(&sim.disk, 2))
			to_platter(n, &n->writes[i]);
	writes_clear(n);
	d->failed_syncs += fails;
	sim_trace("disk %u sync%s", d->id, fails ? " failed" : "");
	if (fails)
		return -EIO;
	IO_END(d, 0);
}

int sim_sync_dir(struct sim_disk *d, const char *dir)
{
	IO_POINT(d, "sync_dir");
	d->syncs++;
	if (d->p_sync_error && rand_chance(&sim.disk, d->p_sync_error)) {
		d->failed_syncs++;
		sim_trace("disk %u sync_dir failed", d->id);
		return -EIO;
	}
	settle(d, dir, SIZE_MAX);
	sim_trace("disk %u sync_dir", d->id);
	IO_END(d, 0);
}

static void unused(struct sim_disk *d, struct sim_vnode *n)
{
	d->used -= n->size;
}

int sim_unlink(struct sim_disk *d, const char *path)
{
	IO_POINT(d, "unlink");
	struct sim_vnode *n = sim_disk_find(d, path);
	if (!n)
		return -ENOENT;
	unused(d, n);
	pend(d, NAME_UNLINK, path, NULL, NULL);
	sim_trace("disk %u unlink %s", d->id, path);
	IO_END(d, 0);
}

/* ---- store/disk.h ---- */

static struct sim_disk *of(struct store_disk *d)
{
	return CONTAINER_OF(d, struct sim_disk, disk);
}

static int op_mkdir(struct store_disk *d, _unused_ const char *path)
{
	return of(d)->dead ? -EIO : 0; /* durable by contract, so directories need no entries here */
}

static int op_list(struct store_disk *sd, const char *path, void (*each)(void *, const char *), void *arg)
{
	struct sim_disk *d = of(sd);
	size_t len = strlen(path);
	if (d->dead)
		return -EIO;
	/* the callback may remove what it is told */
	char **found = NEW_N(char *, d->now.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < d->now.n; i++)
		if (in_dir(d->now.list[i].path, path, len))
			found[n++] = xstrdup(d->now.list[i].path + len + 1);
	for (size_t i = 0; i < n; i++) {
		each(arg, found[i]);
		free(found[i]);
	}
	free(found);
	return 0;
}

static struct store_file *file_new(struct sim_disk *d, struct sim_vnode *n)
{
	struct store_file *f = NEW(struct store_file);
	f->disk = d;
	f->node = n;
	return f;
}

static int op_open(struct store_disk *d, const char *path, bool create, struct store_file **ret)
{
	struct sim_vnode *n;
	int rc = sim_open(of(d), path, create, create, &n);
	if (rc == 0)
		*ret = file_new(of(d), n);
	return rc;
}

static int64_t op_size(struct store_file *f)
{
	return f->disk->dead ? -EIO : (int64_t)f->node->size;
}

static int op_preallocate(struct store_file *f, uint64_t size)
{
	return size > f->node->size ? sim_truncate(f->disk, f->node, size) : 0;
}

static int64_t op_pread(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	return sim_read(f->disk, f->node, buf, len, off);
}

static int op_pwrite(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	return sim_write(f->disk, f->node, buf, len, off);
}

static int op_sync(struct store_file *f)
{
	return sim_sync(f->disk, f->node);
}

static void op_close(struct store_file *f)
{
	if (!f)
		return;
	if (f->lock)
		f->disk->locked = false;
	sim_vnode_unref(f->node);
	free(f);
}

static int op_rename(struct store_disk *sd, const char *from, const char *to)
{
	struct sim_disk *d = of(sd);
	IO_POINT(d, "rename");
	struct sim_vnode *n = sim_disk_find(d, from), *old = sim_disk_find(d, to);
	if (!n)
		return -ENOENT;
	if (old)
		unused(d, old);
	pend(d, NAME_RENAME, from, to, n);
	sim_trace("disk %u rename %s", d->id, to);
	IO_END(d, 0);
}

static int op_unlink(struct store_disk *d, const char *path)
{
	return sim_unlink(of(d), path);
}

static int op_sync_dir(struct store_disk *d, const char *path)
{
	return sim_sync_dir(of(d), path);
}

static int op_lock(struct store_disk *sd, _unused_ const char *path, struct store_file **ret)
{
	struct sim_disk *d = of(sd);
	if (d->dead)
		return -EIO;
	if (d->locked)
		return -EBUSY;
	d->locked = true;
	*ret = file_new(d, NULL);
	(*ret)->lock = true;
	return 0;
}

void sim_disk_init(struct sim_disk *d, unsigned id)
{
	static const struct store_disk_ops ops = {
		.mkdir = op_mkdir,
		.list = op_list,
		.open = op_open,
		.size = op_size,
		.preallocate = op_preallocate,
		.pread = op_pread,
		.pwrite = op_pwrite,
		.sync = op_sync,
		.close = op_close,
		.rename = op_rename,
		.unlink = op_unlink,
		.sync_dir = op_sync_dir,
		.lock = op_lock,
	};
	MUST(id < SIM_DISKS);
	*d = (struct sim_disk){.disk = {.ops = &ops, .vfs = SIM_VFS_NAME}, .id = id};
	disks[id] = d;
}

void sim_disk_done(struct sim_disk *d)
{
	names_clear(&d->now);
	names_clear(&d->durable);
	for (size_t i = 0; i < d->n_pending; i++)
		pending_free(&d->pending[i]);
	free(d->pending);
	free(d->now.list);
	free(d->durable.list);
	disks[d->id] = NULL;
}

/* ---- what is left ---- */

enum loss { LOSE_ALL, LOSE_TAIL, LOSE_ANY, LOSE_NOTHING, LOSS_COUNT };

static void lose_write(struct sim_disk *d, struct sim_vnode *n, const struct sim_write *w)
{
	if (w->resize) {
		if (rand_below(&sim.disk, 2))
			to_platter(n, w);
		return;
	}
	size_t kept = 0;
	for (size_t at = 0; at < w->len;) {
		size_t step = MIN(SIM_SECTOR - (size_t)((w->off + at) % SIM_SECTOR), w->len - at);
		if (rand_below(&sim.disk, 2)) {
			put(&n->synced, &n->synced_size, &n->synced_cap, w->data + at, step, w->off + at);
			kept += step;
		}
		at += step;
	}
	d->lost_writes += kept == 0;
	d->torn_writes += kept > 0 && kept < w->len;
}

static void lose(struct sim_disk *d, struct sim_vnode *n)
{
	if (!n->n_writes)
		return;
	enum loss how = (enum loss)rand_below(&sim.disk, LOSS_COUNT);
	size_t keep = how == LOSE_NOTHING ? n->n_writes : how == LOSE_TAIL ? rand_below(&sim.disk, n->n_writes) : 0;
	for (size_t i = 0; i < n->n_writes; i++) {
		if (i < keep)
			to_platter(n, &n->writes[i]);
		else if (how == LOSE_ANY || (how == LOSE_TAIL && i == keep))
			lose_write(d, n, &n->writes[i]);
		else
			d->lost_writes++;
	}
	writes_clear(n);
}

static void forget_process(struct sim_vnode *n)
{
	n->n_shared = n->n_reserved = n->n_exclusive = n->shm_users = 0;
	memset(n->shm_shared, 0, sizeof(n->shm_shared));
	memset(n->shm_exclusive, 0, sizeof(n->shm_exclusive));
	for (int i = 0; i < n->n_shm; i++)
		free(n->shm[i]);
	free(STEAL(n->shm));
	n->n_shm = 0;
}

static void lose_names(struct sim_disk *d)
{
	while (d->n_pending) {
		const char *path = d->pending[0].path;
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
		size_t n = 0, len = strlen(dir);
		for (size_t i = 0; i < d->n_pending; i++)
			n += in_dir(d->pending[i].path, dir, len);
		settle(d, dir, rand_below(&sim.disk, n + 1));
		forget(d, dir, rand_below(&sim.disk, 4) > 0);
	}
	names_clear(&d->now);
	for (size_t i = 0; i < d->durable.n; i++)
		name_set(&d->now, d->durable.list[i].path, d->durable.list[i].node);
}

void sim_disk_restart(struct sim_disk *d, bool power)
{
	if (power)
		lose_names(d);
	d->power_lost = power;
	d->used = 0;
	for (size_t i = 0; i < d->now.n; i++) {
		struct sim_vnode *n = d->now.list[i].node;
		forget_process(n);
		if (power) {
			lose(d, n);
			resize(&n->now, &n->size, &n->cap, n->synced_size);
			if (n->synced_size)
				memcpy(n->now, n->synced, n->synced_size);
		}
		d->used += n->size;
	}
	d->dead = d->locked = false;
	d->crash_in = 0;
}

static void flip(const struct sim_flip *f)
{
	f->node->now[f->off] = (char)(f->node->now[f->off] ^ f->mask);
	if (f->off < f->node->synced_size)
		f->node->synced[f->off] = (char)(f->node->synced[f->off] ^ f->mask);
}

static bool is_log(const char *path)
{
	return str_ends(path, ".log");
}

bool sim_disk_flip(struct sim_disk *d, struct sim_flip *ret)
{
	struct sim_name *newest = NULL, *pick = NULL;
	uint64_t n = 0;
	for (size_t i = 0; i < d->now.n; i++) {
		struct sim_name *e = &d->now.list[i];
		if (!is_log(e->path))
			continue;
		if (!newest || strcmp(e->path, newest->path) > 0)
			newest = e;
		if (rand_below(&sim.disk, ++n) == 0)
			pick = e;
	}
	if (!pick || d->power_lost)
		return false;
	/* the bytes of the very last write can't be told from a torn one, by anyone */
	uint64_t end = pick == newest ? pick->node->last_off : pick->node->size;
	if (pick != newest && newest->node->last_off <= 80)
		return false;
	if (end <= 80)
		return false;
	*ret = (struct sim_flip){.node = pick->node,
				 .off = rand_below(&sim.disk, end),
				 .mask = (uint8_t)(1u << rand_below(&sim.disk, 8))};
	flip(ret);
	sim_trace("disk %u flip in %s at %" PRIu64, d->id, pick->path, ret->off);
	return true;
}

static uint64_t page_hash(const struct sim_flip *f)
{
	uint64_t at = f->off & ~4095ull;
	return hash64(f->node->now + at, (size_t)MIN(f->node->size - at, (uint64_t)4096)) | 1;
}

bool sim_disk_flip_state(struct sim_disk *d, struct sim_flip *ret)
{
	char path[32];
	snprintf(path, sizeof(path), "/s%u/store/state.db", d->id);
	struct sim_vnode *n = sim_disk_find(d, path);
	if (!n || !n->size)
		return false;
	*ret = (struct sim_flip){
		.node = n, .off = rand_below(&sim.disk, n->size), .mask = (uint8_t)(1u << rand_below(&sim.disk, 8))};
	flip(ret);
	ret->page = page_hash(ret);
	sim_trace("disk %u flip in %s at %" PRIu64, d->id, path, ret->off);
	return true;
}

void sim_disk_unflip(const struct sim_flip *f)
{
	if (!f->page || (f->off < f->node->size && page_hash(f) == f->page))
		flip(f);
}

/* One that comes in as long as it is not whole: then it was looked at, and is as good as the state. */
static bool is_copy(struct sim_disk *d, const char *path)
{
	char head[40];
	const char *name = strrchr(path, '/') + 1;
	snprintf(head, sizeof(head), "/s%u/store/incoming.head", d->id);
	bool comes = streq(name, "incoming.db") || streq(name, "incoming.head");
	return (str_starts(name, "copy-") && str_ends(name, ".db")) || (comes && sim_disk_find(d, head));
}

bool sim_disk_flip_copy(struct sim_disk *d)
{
	struct sim_name *pick = NULL;
	uint64_t n = 0;
	for (size_t i = 0; i < d->now.n; i++)
		if (is_copy(d, d->now.list[i].path) && d->now.list[i].node->size && rand_below(&sim.disk, ++n) == 0)
			pick = &d->now.list[i];
	if (!pick)
		return false;
	struct sim_flip f = {.node = pick->node,
			     .off = rand_below(&sim.disk, pick->node->size),
			     .mask = (uint8_t)(1u << rand_below(&sim.disk, 8))};
	flip(&f);
	sim_trace("disk %u flip in %s at %" PRIu64, d->id, pick->path, f.off);
	return true;
}
