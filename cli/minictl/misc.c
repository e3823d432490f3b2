/* minictl edit, explain, completion. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/minictl/apply.h"
#include "cli/minictl/verbs.h"
#include "lib/core/file.h"

/* ---- edit ---- */

static int run_editor(const char *path, struct err *err)
{
	const char *editor = getenv("KUBE_EDITOR");
	if (str_empty(editor))
		editor = getenv("EDITOR");
	/* the variable may hold arguments: a shell splits it, the file's name stays out of its hands */
	const char *command = keepf("%s \"$1\"", str_empty(editor) ? "vi" : editor);
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "starting the editor");
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
		_exit(127);
	}
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return ctl_usage(err, "there was a problem with the editor \"%s\"", str_empty(editor) ? "vi" : editor);
	return 0;
}

static int edit_text(const json_t *obj, json_t **ret, struct err *err)
{
	char path[] = "/tmp/minictl-edit-XXXXXX.yaml";
	_cleanup_buf_ struct buf text = BUF_INIT, back = BUF_INIT;
	_cleanup_json_ json_t *docs = NULL, *sorted = json_sorted(obj);
	buf_adds(
		&text,
		"# Change the object below; saving it without a change leaves it as it is. Lines that begin with # are ignored.\n");
	yaml_write(&text, sorted);
	int fd = mkstemps(path, 5);
	if (fd < 0)
		return err_errno(err, "%s", path);
	ssize_t n = write(fd, buf_str(&text), text.len);
	close(fd);
	int rc = n == (ssize_t)text.len ? run_editor(path, err) : err_errno(err, "%s", path);
	if (rc == 0)
		rc = file_read(path, JSON_MAX_BYTES, &back, err);
	if (rc == 0)
		rc = yaml_parse_all(buf_str(&back), back.len, path, &docs, err);
	if (rc < 0) {
		err->reason = ERR_NONE;
		return rc; /* the file stays: the work in it is the user's */
	}
	unlink(path);
	if (json_array_size(docs) == 0)
		return ctl_usage(err, "Edit cancelled, saved file was empty.");
	*ret = json_incref(json_array_get(docs, 0));
	return 0;
}

int verb_edit(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	const struct opt opts[] = {CHOOSE_OPTS(&ch), OPTS_END};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = choose_items(c, &ch, &args.pos, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		const struct item *it = &items.v[i];
		_cleanup_json_ json_t *before = NULL, *after = NULL, *patch = NULL, *got = NULL;
		struct change change = {.manager = "kubectl-edit", .validation = "Strict"};
		rc = get_item(c, it, &before, err);
		if (rc == 0)
			rc = edit_text(before, &after, err);
		if (rc == 0)
			rc = patch_three_way(it->kind->schema, before, after, before, &patch, err);
		if (rc < 0)
			return rc;
		if (json_object_size(patch) == 0) {
			puts("Edit cancelled, no changes made.");
			continue;
		}
		rc = change_patch(c, &change, it, NULL, STRATEGIC_PATCH, patch, &got, err);
		if (rc == 0)
			printf("%s edited\n", item_word(it->kind, it->name));
	}
	return rc < 0 ? rc : c->failures > 0;
}

/* ---- explain ---- */

static const char *type_word(const struct schema_field *f)
{
	static const char *const words[] = {
		[SCHEMA_STRING] = "string", [SCHEMA_INT32] = "integer",        [SCHEMA_INT64] = "integer",
		[SCHEMA_BOOL] = "boolean",  [SCHEMA_DOUBLE] = "number",        [SCHEMA_QUANTITY] = "Quantity",
		[SCHEMA_TIME] = "Time",     [SCHEMA_MICRO_TIME] = "MicroTime", [SCHEMA_BYTES] = "string",
		[SCHEMA_ANY] = "Object",    [SCHEMA_DURATION] = "Duration",    [SCHEMA_INT_OR_STRING] = "IntOrString",
		[SCHEMA_OBJECT] = "Object"};
	const char *dot = f->of ? strrchr(f->of->name, '.') : NULL,
		   *word = f->of ? (dot ? dot + 1 : f->of->name) : words[f->type];
	if (f->shape == SCHEMA_LIST)
		return keepf("[]%s", word);
	return f->shape == SCHEMA_MAP ? keepf("map[string]%s", word) : word;
}

static void print_fields(const struct schema *s, int depth, bool recursive, int budget)
{
	for (const struct schema_field *f = s->fields; f && f->name; f++) {
		if (f->flags & SCHEMA_INLINE) {
			print_fields(f->of, depth, recursive, budget);
			continue;
		}
		printf("%*s%s\t<%s>%s\n", depth * 2, "", f->name, type_word(f),
		       f->flags & SCHEMA_REQUIRED ? " -required-" : "");
		if (recursive && f->of && budget > 0)
			print_fields(f->of, depth + 1, recursive, budget - 1);
		else if (!recursive && f->doc)
			printf("%*s  %s\n", depth * 2, "", f->doc);
		if (!recursive)
			putchar('\n');
	}
}

int verb_explain(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool recursive = false;
	const char *ignored = NULL;
	const struct opt opts[] = {
		{"recursive", 0, OPT_BOOL, &recursive, NULL, "the names of all fields below, without words"},
		{"api-version", 0, OPT_STR, &ignored, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	const struct kind *k = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1)
		return ctl_usage(
			err,
			"You must specify the type of resource to explain. Use \"minictl api-resources\" for a complete list of "
			"supported resources.");
	const char *p = args.pos.items[0];
	size_t n = strcspn(p, ".");
	rc = input_kind(keepf("%.*s", (int)n, p), &k, err);
	if (rc < 0)
		return rc;
	const struct schema *s = k->schema;
	const struct schema_field *f = NULL;
	for (p += n; *p == '.';) {
		n = strcspn(++p, ".");
		const char *name = keepf("%.*s", (int)n, p);
		f = s ? schema_field(s, name) : NULL;
		if (!f)
			return ctl_usage(err, "field \"%s\" does not exist", name);
		s = f->of;
		p += n;
	}
	if (*k->group)
		printf("GROUP:      %s\n", k->group);
	printf("KIND:       %s\nVERSION:    %s\n\n", k->kind, k->version);
	if (f)
		printf("FIELD: %s <%s>\n\n", f->name, type_word(f));
	const char *doc = f && f->doc ? f->doc : s && s->doc ? s->doc : "<empty>";
	printf("DESCRIPTION:\n    %s\n", doc);
	for (size_t i = 0; f && f->one_of && f->one_of[i]; i++)
		printf("%s%s", i ? ", " : "    one of: ", f->one_of[i]);
	if (f && f->one_of)
		putchar('\n');
	if (f && f->dflt)
		printf("    default: %s\n", f->dflt);
	if (s) {
		puts("\nFIELDS:");
		print_fields(s, 1, recursive, 12);
	}
	return 0;
}

/* ---- completion ---- */

static const char bash_script[] =
	"# minictl completion for bash: words from the verbs, names from the cluster\n"
	"_minictl() {\n"
	"  local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} type=${COMP_WORDS[2]}\n"
	"  local flags='--namespace --kubeconfig --context --server --dir --output --selector --all-namespaces --filename --help'\n"
	"  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\")); return; fi\n"
	"  case $COMP_CWORD in\n"
	"  1) COMPREPLY=($(compgen -W '@VERBS@' -- \"$cur\")) ;;\n"
	"  *) case $verb in\n"
	"     logs|exec) COMPREPLY=($(compgen -W \"$(minictl get pods -o 'jsonpath={.items[*].metadata.name}' 2>/dev/null)\" -- \"$cur\")) ;;\n"
	"     cluster) COMPREPLY=($(compgen -W 'status member list add remove promote demote move-leader' -- \"$cur\")) ;;\n"
	"     snapshot) COMPREPLY=($(compgen -W 'save restore inspect' -- \"$cur\") $(compgen -f -- \"$cur\")) ;;\n"
	"     apply) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	"     *) if [ $COMP_CWORD = 2 ]; then\n"
	"          COMPREPLY=($(compgen -W '@KINDS@' -- \"$cur\"))\n"
	"        else\n"
	"          COMPREPLY=($(compgen -W \"$(minictl get \"$type\" -o 'jsonpath={.items[*].metadata.name}' 2>/dev/null)\" -- \"$cur\"))\n"
	"        fi ;;\n"
	"     esac ;;\n"
	"  esac\n"
	"}\n"
	"complete -o default -F _minictl minictl\n";

static void print_verbs(void)
{
	const char *last = "";
	for (const struct command *cmd = commands; cmd->name; cmd++) {
		const char *word = keepf("%.*s", (int)strcspn(cmd->name, " "), cmd->name);
		if (!streq(word, last))
			printf("%s ", word);
		last = word;
	}
}

static void print_kinds(void)
{
	for (const struct kind *const *k = kinds_all; *k; k++) {
		if ((*k)->verbs != VERB_CREATE)
			printf("%s ", (*k)->plural);
	}
}

int verb_completion(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1 || !streq(args.pos.items[0], "bash"))
		return ctl_usage(err, "completion is for bash: minictl completion bash");
	for (const char *p = bash_script; *p;) {
		if (str_starts(p, "@VERBS@")) {
			print_verbs();
			p += 7;
		} else if (str_starts(p, "@KINDS@")) {
			print_kinds();
			p += 7;
		} else {
			putchar(*p++);
		}
	}
	return 0;
}
