/* Users: a name, a uid, groups, extra; shared by reference. */
#include "apiserver/request.h"

struct user *user_new(const char *name, const char *uid, const char *const *groups)
{
	struct user *u = NEW(struct user);
	u->refs = 1;
	u->name = xstrdup(name);
	u->uid = xstrdup(uid ? uid : "");
	for (const char *const *g = groups; g && *g; g++)
		user_add_group(u, *g);
	return u;
}

bool user_in_group(const struct user *u, const char *group)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (streq(u->groups[i], group))
			return true;
	return false;
}

void user_add_group(struct user *u, const char *group)
{
	if (user_in_group(u, group))
		return;
	u->groups = xrealloc(u->groups, (u->n_groups + 1) * sizeof(*u->groups));
	u->groups[u->n_groups++] = xstrdup(group);
}

struct user *user_ref(struct user *u)
{
	u->refs++;
	return u;
}

void user_unref(struct user *u)
{
	if (!u || --u->refs > 0)
		return;
	for (size_t i = 0; i < u->n_groups; i++)
		free(u->groups[i]);
	free(u->groups);
	free(u->name);
	free(u->uid);
	json_decref(u->extra);
	free(u);
}
