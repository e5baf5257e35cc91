/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dnsanswer - which addresses a DNS message says that a name has (RFC 1035)
 *
 * The records are searched for the name that was asked for, and again for each
 * alias (CNAME) that they give in place of addresses.
 */
#include "dnsanswer.h"

#include "cursor.h"

enum {
	FLAG_RESPONSE = 0x8000,
	OPCODE = 0x7800,
	RCODE = 0x000f,
	CLASS_IN = 1,
	TYPE_A = 1,
	TYPE_CNAME = 5,
	TYPE_AAAA = 28,
	LABEL_MAX = 63,
	POINTER = 0xc0,
	ALIASES = 16, /* of a name */
	JUMPS = 127, /* pointers in a name: it has no more labels */
};

struct message {
	const uint8_t *p;
	size_t len;
};

struct record {
	size_t name, at; /* offsets of its name and data in the message */
	uint16_t type;
	uint32_t ttl;
	struct rd data;
};

static size_t where(const struct message *m, const struct rd *r)
{
	return (size_t)(r->p - m->p);
}

static void skip_name(struct rd *r)
{
	uint8_t n;

	do {
		n = rd_u8(r);
		if (n >= POINTER) {
			rd_skip(r, 1);
			return;
		}
		rd_skip(r, n);
	} while (n && rd_ok(r));
}

static bool put_label(char *text, size_t *end, const uint8_t *p, size_t n)
{
	size_t i;

	if (!p || n > LABEL_MAX || *end + n + 1 >= DNSANSWER_NAME)
		return false;
	if (*end)
		text[(*end)++] = '.';
	for (i = 0; i < n; i++) {
		char c = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return false;
		text[(*end)++] = c;
	}
	return true;
}

/* Read the name at @at; false: it is malformed or no host's.  A pointer must
 * lead back to before the part of the name in which it is, so this ends; but as
 * a message may have thousands of names with pointers to pointers, their number
 * is limited, too. */
static bool get_name(const struct message *m, size_t at, char *text)
{
	struct rd r = rd_init(m->p + at, m->len - at);
	unsigned jumps = 0;
	size_t end = 0, to;
	uint8_t n;

	while ((n = rd_u8(&r))) {
		if (n < POINTER) {
			if (!put_label(text, &end, rd_view(&r, n), n))
				return false;
			continue;
		}
		to = (size_t)(n & ~POINTER) << 8 | rd_u8(&r);
		if (!rd_ok(&r) || to >= at || jumps++ == JUMPS)
			return false;
		at = to;
		r = rd_init(m->p + at, m->len - at);
	}
	text[end] = '\0';
	return rd_ok(&r) && end;
}

static bool next_record(const struct message *m, struct rd *r,
			struct record *rec)
{
	uint16_t class, len;

	rec->name = where(m, r);
	skip_name(r);
	rec->type = rd_be16(r);
	class = rd_be16(r);
	rec->ttl = rd_be32(r);
	len = rd_be16(r);
	rec->at = where(m, r);
	rec->data = rd_sub(r, len);
	if (class != CLASS_IN)
		rec->type = 0;
	if (rec->ttl > INT32_MAX) /* RFC 2181 8 */
		rec->ttl = 0;
	return rd_ok(r);
}

static void add(struct dnsanswer *a, const struct record *rec)
{
	struct rd r = rec->data;
	uint8_t b[16];

	if (a->n == DNSANSWER_ADDRS)
		return;
	if (rec->type == TYPE_A && rd_left(&r) == 4) {
		rd_copy(&r, b, 4);
		a->addr[a->n++] = addr_from4(b);
	} else if (rec->type == TYPE_AAAA && rd_left(&r) == 16) {
		rd_copy(&r, b, 16);
		a->addr[a->n++] = addr_from6(b);
	}
}

/* Collect the addresses that the @n records at @r give for @name.  True: they
 * give an alias instead, which @name becomes. */
static bool look(struct dnsanswer *a, const struct message *m, struct rd r,
		 unsigned n, char *name)
{
	char text[DNSANSWER_NAME], alias[DNSANSWER_NAME];
	struct record rec;
	bool found = false;

	while (n-- && next_record(m, &r, &rec)) {
		if (rec.type != TYPE_A && rec.type != TYPE_AAAA &&
		    rec.type != TYPE_CNAME)
			continue;
		if (!get_name(m, rec.name, text) || strcmp(text, name))
			continue;
		a->ttl_s = MIN(a->ttl_s, rec.ttl);
		if (rec.type != TYPE_CNAME)
			add(a, &rec);
		else if (get_name(m, rec.at, alias))
			found = true;
	}
	if (found)
		memcpy(name, alias, sizeof(alias));
	return found;
}

bool dnsanswer_read(struct dnsanswer *a, const void *p, size_t len)
{
	const struct message m = { p, len };
	struct rd r = rd_init(p, len);
	char name[DNSANSWER_NAME];
	unsigned flags, questions, n, i;
	size_t question;

	a->n = 0;
	a->ttl_s = UINT32_MAX;
	rd_skip(&r, 2); /* the ID; the socket tells whose answer it is */
	flags = rd_be16(&r);
	questions = rd_be16(&r);
	n = rd_be16(&r);
	rd_skip(&r, 4); /* authority and additional records are ignored */
	question = where(&m, &r);
	skip_name(&r);
	rd_skip(&r, 4);
	if (!rd_ok(&r) || (flags & (FLAG_RESPONSE | OPCODE | RCODE)) != FLAG_RESPONSE ||
	    questions != 1 || !get_name(&m, question, a->name))
		return false;
	memcpy(name, a->name, sizeof(name));
	for (i = 0; i <= ALIASES && !a->n; i++)
		if (!look(a, &m, r, n, name))
			break;
	return a->n;
}
