/* A virtual disk that keeps synced and unsynced bytes apart: behind store/disk.h, and a SQLite VFS on the same files.
 *
 * A file has what its reader sees now, and what is on the platter; writes between are pending. A power loss keeps any
 * subset of the pending writes, sector by sector; names (created, renamed, removed) survive in the order they were made,
 * up to any point, or now and then in any, per directory, unless sync_dir() was called. A killed process loses nothing that it wrote. A failed
 * sync forgets which bytes were dirty, as Linux does: another sync that succeeds says nothing about them.
 *
 * Every operation is an I/O point: a crash can be armed for the n-th from now. From then on the disk is dead: nothing
 * has an effect, everything fails, until sim_disk_restart().
 */
#ifndef MINI_TESTS_SIM_DISK_H
#define MINI_TESTS_SIM_DISK_H

#include "store/disk.h"

#define SIM_DISKS    8
#define SIM_SECTOR   512u
#define SIM_VFS_NAME "sim"

struct sim_vnode;
struct sim_name {
	char *path;
	struct sim_vnode *node;
};
struct sim_names {
	struct sim_name *list;
	size_t n, cap;
};
enum sim_name_op { NAME_CREATE, NAME_RENAME, NAME_UNLINK };
struct sim_pending_name {
	enum sim_name_op op;
	char *path, *to;
	struct sim_vnode *node;
};

struct sim_disk {
	struct store_disk disk;
	unsigned id; /* its files are below /s<id>/ */
	struct sim_names now, durable;
	struct sim_pending_name *pending;
	size_t n_pending, cap_pending;
	bool dead, locked;
	bool power_lost;   /* at the last restart: its last writes may be torn */
	uint64_t crash_in; /* I/O points; 0: not armed */
	uint64_t capacity, used;
	uint64_t p_read_error, p_write_error, p_sync_error; /* per million */
	uint64_t io, syncs, failed_syncs, lost_writes, torn_writes, flips, noticed;
};

void sim_disk_init(struct sim_disk *d, unsigned id);
void sim_disk_done(struct sim_disk *d);
/* After the process is gone: what is left. With power lost: what was not synced may be gone or torn. */
void sim_disk_restart(struct sim_disk *d, bool power);
/* Flip one bit of a log segment that is durable and not in the last write. False: there is no such byte. undo: how to
 * take it back. */
struct sim_flip {
	struct sim_vnode *node;
	uint64_t off;
	uint8_t mask;
	uint64_t
		page; /* of the state's database: a hash of the page around it, to see whether that was written since */
};
bool sim_disk_flip(struct sim_disk *d, struct sim_flip *ret);
/* The same, anywhere in the state's database. */
bool sim_disk_flip_state(struct sim_disk *d, struct sim_flip *ret);
void sim_disk_unflip(const struct sim_flip *f); /* unless it was written over */
/* Flip a bit of a copy of the state that lies there: one that comes in, or one that is sent. For good. */
bool sim_disk_flip_copy(struct sim_disk *d);

void sim_vfs_register(void); /* once per process, as SQLite's default */

/* for the VFS */
struct sim_vnode *sim_disk_find(struct sim_disk *d, const char *path);
struct sim_disk *sim_disk_of(const char *path);
int sim_open(struct sim_disk *d, const char *path, bool create, bool truncate, struct sim_vnode **ret);
struct sim_vnode *sim_vnode_anonymous(void);
void sim_vnode_unref(struct sim_vnode *n);
int64_t sim_read(struct sim_disk *d, struct sim_vnode *n, void *buf, size_t len, uint64_t off);
int sim_write(struct sim_disk *d, struct sim_vnode *n, const void *buf, size_t len, uint64_t off);
int sim_truncate(struct sim_disk *d, struct sim_vnode *n, uint64_t size);
int sim_sync(struct sim_disk *d, struct sim_vnode *n);
int sim_sync_dir(struct sim_disk *d, const char *dir);
int sim_unlink(struct sim_disk *d, const char *path);

/* What SQLite shares between the connections to one file: locks and the WAL index. Gone with the process. */
#define SIM_SHM_LOCKS 8
struct sim_vnode {
	unsigned refs;
	char *now;
	uint64_t size, cap;
	char *synced;
	uint64_t synced_size, synced_cap;
	struct sim_write {
		bool resize;
		uint64_t off;
		size_t len;
		char *data;
	} * writes; /* pending, in order */
	size_t n_writes, cap_writes;
	uint64_t last_off; /* where the last write went */
	bool temporary;
	/* SQLite */
	unsigned n_shared, n_reserved, n_exclusive;
	char **shm;
	int n_shm;
	unsigned shm_users, shm_shared[SIM_SHM_LOCKS];
	bool shm_exclusive[SIM_SHM_LOCKS];
};

#endif
