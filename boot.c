/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A name stands for a platform: its numbers in the registry of RFC 5970 for PXE
 * and for HTTP boot.  x86-64 has two of the former, as RFC 4578 had them
 * wrong.
 */
#include "boot.h"
#include "util.h"

enum { NONE = 0xffff, ARCHES = 3 };

static const struct platform {
	const char *name;
	uint16_t arch[ARCHES];
} platforms[] = {
	{ "bios", { 0, 20, NONE } },
	{ "efi32", { 6, 15, NONE } },
	{ "efi64", { 7, 9, 16 } },
	{ "efiarm32", { 10, 18, NONE } },
	{ "efiarm64", { 11, 19, NONE } },
	{ "ubootarm32", { 21, 23, NONE } },
	{ "ubootarm64", { 22, 24, NONE } },
	{ "efiriscv64", { 27, 28, NONE } },
	{ "efiloong64", { 39, 40, NONE } },
	{ "ipxe", { LAN_BOOT_IPXE, NONE, NONE } },
};

/* --- the option ------------------------------------------------------------ */

static bool parse_arch(const char *s, size_t len, struct lan_boot *b)
{
	char text[16];
	uint64_t v;
	unsigned i;

	if (!len || len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	for (i = 0; i < ARRAY_SIZE(platforms); i++) {
		if (strcmp(text, platforms[i].name))
			continue;
		memcpy(b->arch, platforms[i].arch, sizeof(b->arch));
		return true;
	}
	if (!util_parse_u64(text, 10, UINT16_MAX - 8, &v))
		return false;
	b->arch[0] = (uint16_t)v;
	return true;
}

bool boot_is_url(const char *file)
{
	return strstr(file, "://");
}

bool boot_parse(const char *s, struct lan_boot *b)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t len = strspn(s, word);
	const char *comma;

	*b = (struct lan_boot){ .arch = { NONE, NONE, NONE } };
	b->any = s[len] != '=';
	if (!b->any) {
		if (!parse_arch(s, len, b))
			return false;
		s += len + 1;
	}
	/* A URL may have commas of its own */
	comma = strrchr(s, ',');
	if (comma && !addr_parse(comma + 1, &b->server)) {
		if (!boot_is_url(s))
			return false;
		comma = NULL;
	}
	if (comma && !addr_is_unicast(&b->server))
		return false;
	len = comma ? (size_t)(comma - s) : strlen(s);
	if (!len || len >= sizeof(b->file))
		return false;
	memcpy(b->file, s, len);
	return true;
}

/* --- the client ------------------------------------------------------------- */

static bool begins(const void *class, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(class, with, strlen(with));
}

void boot_class(struct boot_client *c, const void *class, size_t len)
{
	c->pxe |= begins(class, len, "PXEClient");
	c->http |= begins(class, len, "HTTPClient");
}

/* Some classes have a length in front, of one byte or two; iPXE's for IPv4 has
 * none */
void boot_user_class(struct boot_client *c, const void *class, size_t len)
{
	c->ipxe |= len && memmem(class, len, "iPXE", 4);
}

static bool has_arch(const struct lan_boot *b, const struct boot_client *c)
{
	size_t at;
	unsigned i;

	for (at = 0; at + 2 <= c->arch_len; at += 2)
		for (i = 0; i < ARCHES; i++)
			if (b->arch[i] != NONE &&
			    b->arch[i] == ld_be16(c->arch + at))
				return true;
	return false;
}

/* How well entry @b suits the client, 0: not at all */
static unsigned suits(const struct lan_boot *b, const struct boot_client *c,
		      bool v4)
{
	bool url = boot_is_url(b->file);

	if (!addr_is_none(&b->server) && addr_is_v4(&b->server) != v4)
		return 0;
	if (c->http && !c->ipxe && strncmp(b->file, "http", 4))
		return 0;
	if (c->pxe && !c->ipxe && url && (v4 || strncmp(b->file, "tftp", 4)))
		return 0;
	if (b->arch[0] == LAN_BOOT_IPXE)
		return c->ipxe ? 3 : 0;
	if (has_arch(b, c))
		return 2;
	return b->any ? 1 : 0;
}

const struct lan_boot *boot_find(const struct lan *l,
				 const struct boot_client *c, bool v4)
{
	const struct lan_boot *found = NULL;
	unsigned best = 0, i;

	for (i = 0; i < l->boot_n; i++) {
		unsigned s = suits(&l->boot[i], c, v4);

		if (s > best) {
			best = s;
			found = &l->boot[i];
		}
	}
	return found;
}
