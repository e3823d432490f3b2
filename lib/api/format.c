/* What strings must look like, with upstream's messages (apimachinery's util/validation). */
#include <arpa/inet.h>

#include "lib/api/api_internal.h"

static bool lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool letter_or_digit(char c)
{
	return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(const char *s, size_t n)
{
	if (n == 0 || !lower_or_digit(s[0]) || !lower_or_digit(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!lower_or_digit(s[i]) && s[i] != '-')
			return false;
	}
	return true;
}

static bool is_subdomain(const char *s, size_t n)
{
	for (;;) {
		const char *dot = memchr(s, '.', n);
		size_t part = dot ? (size_t)(dot - s) : n;
		if (!is_label(s, part))
			return false;
		if (!dot)
			return true;
		s += part + 1;
		n -= part + 1;
	}
}

/* Begins and ends with a letter or digit; '-', '_' and '.' between. */
static bool is_name_part(const char *s, size_t n)
{
	if (n == 0 || !letter_or_digit(s[0]) || !letter_or_digit(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!letter_or_digit(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return false;
	}
	return true;
}

static const char *check_dns_label(const char *s)
{
	if (strlen(s) > 63)
		return "must be no more than 63 characters";
	if (is_label(s, strlen(s)))
		return NULL;
	return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
	       "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
	       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

static const char *check_dns_subdomain(const char *s)
{
	if (strlen(s) > 253)
		return "must be no more than 253 characters";
	if (is_subdomain(s, strlen(s)))
		return NULL;
	return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
	       "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
	       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

static const char *check_dns1035_label(const char *s)
{
	if (strlen(s) > 63)
		return "must be no more than 63 characters";
	if (is_label(s, strlen(s)) && s[0] >= 'a')
		return NULL;
	return "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
	       "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
	       "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
}

#define NAME_PART_RULE                                                                                                 \
	"must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "       \
	"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "                        \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

static const char *check_qualified_name(const char *s)
{
	const char *slash = strchr(s, '/'), *name = s;

	if (slash) {
		size_t n = (size_t)(slash - s);
		if (strchr(slash + 1, '/'))
			return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must "
			       "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
			       "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') "
			       "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
		if (n == 0)
			return "prefix part must be non-empty";
		if (n > 253)
			return "prefix part must be no more than 253 characters";
		if (!is_subdomain(s, n))
			return "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
			       "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
			       "'example.com', regex used for validation is "
			       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
		name = slash + 1;
	}
	size_t n = strlen(name);
	if (n == 0)
		return "name part must be non-empty";
	if (n > 63)
		return "name part must be no more than 63 characters";
	return is_name_part(name, n) ? NULL : "name part " NAME_PART_RULE;
}

static const char *check_label_value(const char *s)
{
	if (strlen(s) > 63)
		return "must be no more than 63 characters";
	if (!*s || is_name_part(s, strlen(s)))
		return NULL;
	return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
	       "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
	       "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

static const char *check_ip(const char *s)
{
	uint8_t addr[16];
	if (inet_pton(AF_INET, s, addr) == 1 || inet_pton(AF_INET6, s, addr) == 1)
		return NULL;
	return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

static const char *check_cidr(const char *s)
{
	static const char wrong[] = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
	char addr[64];
	uint8_t raw[16];
	int64_t bits;
	const char *slash = strchr(s, '/');

	if (!slash || (size_t)(slash - s) >= sizeof(addr) || !slash[1] || strlen(slash + 1) > 3)
		return wrong;
	memcpy(addr, s, (size_t)(slash - s));
	addr[slash - s] = '\0';
	for (const char *p = slash + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return wrong;
	}
	if (parse_i64(slash + 1, &bits))
		return wrong;
	if (inet_pton(AF_INET, addr, raw) == 1)
		return bits <= 32 ? NULL : wrong;
	return inet_pton(AF_INET6, addr, raw) == 1 && bits <= 128 ? NULL : wrong;
}

static const char *check_port_name(const char *s)
{
	size_t n = strlen(s);
	bool letter = false;

	if (n > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < n; i++) {
		if (!lower_or_digit(s[i]) && s[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
		letter |= s[i] >= 'a' && s[i] <= 'z';
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (strstr(s, "--"))
		return "must not contain consecutive hyphens";
	if (s[0] == '-' || s[n - 1] == '-')
		return "must not begin or end with a hyphen";
	return NULL;
}

/* Since 1.30 any printable ASCII but '=' will do. */
static const char *check_env_name(const char *s)
{
	bool good = *s != '\0';
	for (const char *p = s; *p && good; p++)
		good = *p >= ' ' && *p <= '~' && *p != '=';
	return good ? NULL
		    : "a valid environment variable name must consist only of printable ASCII characters other than '='";
}

static const char *dot_names(const char *s)
{
	if (streq(s, "."))
		return "must not be '.'";
	if (streq(s, ".."))
		return "must not be '..'";
	return NULL;
}

static const char *check_config_key(const char *s)
{
	if (strlen(s) > 253)
		return "must be no more than 253 characters";
	bool good = *s != '\0';
	for (const char *p = s; *p && good; p++)
		good = letter_or_digit(*p) || *p == '-' || *p == '_' || *p == '.';
	if (!good)
		return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
		       "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
	if (dot_names(s))
		return dot_names(s);
	return s[0] == '.' && s[1] == '.' ? "must not start with '..'" : NULL;
}

static const char *check_path_segment(const char *s)
{
	const char *wrong = dot_names(s);
	if (wrong)
		return wrong;
	if (strchr(s, '/'))
		return "must not contain '/'";
	return strchr(s, '%') ? "must not contain '%'" : NULL;
}

const char *schema_format_check(enum schema_format format, const char *s)
{
	switch (format) {
	case FMT_DNS_LABEL:
		return check_dns_label(s);
	case FMT_DNS_SUBDOMAIN:
		return check_dns_subdomain(s);
	case FMT_DNS1035_LABEL:
		return check_dns1035_label(s);
	case FMT_QUALIFIED_NAME:
		return check_qualified_name(s);
	case FMT_LABEL_VALUE:
		return check_label_value(s);
	case FMT_IP:
		return check_ip(s);
	case FMT_CIDR:
		return check_cidr(s);
	case FMT_PORT_NAME:
		return check_port_name(s);
	case FMT_ENV_NAME:
		return check_env_name(s);
	case FMT_CONFIG_KEY:
		return check_config_key(s);
	case FMT_PATH_SEGMENT:
		return check_path_segment(s);
	case FMT_ABSOLUTE_PATH:
		return s[0] == '/' ? NULL : "must be an absolute path";
	default:
		return NULL;
	}
}
