/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One address for one client.  The options of a message are read into struct
 * request; what a type of message must, may and must not carry is a table, from
 * RFC 8415, 16 and 18.3.  IAs are walked a second time for the answer: the
 * first IA_NA gets the address; all others are told that there is no other, nor
 * a temporary address, nor a prefix.  There are no relays.
 *
 * A client that accepts it is told to ask again when its last request would be
 * answered differently now.
 */
#include "dhcpv6.h"
#include "boot.h"
#include "dnsname.h"
#include "log.h"

#include <netinet/in.h>
#include <stdio.h>

enum {
	SOLICIT = 1,
	ADVERTISE = 2,
	REQUEST = 3,
	CONFIRM = 4,
	RENEW = 5,
	REBIND = 6,
	REPLY = 7,
	RELEASE = 8,
	DECLINE = 9,
	RECONFIGURE = 10,
	INFORMATION = 11,
};

enum {
	OPT_CLIENT_ID = 1,
	OPT_SERVER_ID = 2,
	OPT_IA_NA = 3,
	OPT_IA_TA = 4,
	OPT_IA_ADDR = 5,
	OPT_LIST = 6, /* what is asked for */
	OPT_AUTH = 11,
	OPT_STATUS = 13,
	OPT_RAPID = 14,
	OPT_USER_CLASS = 15,
	OPT_CLASS = 16, /* vendor class: the vendor's number, then texts */
	OPT_CALL = 19,    /* Reconfigure Message */
	OPT_ACCEPT = 20,  /* Reconfigure Accept */
	OPT_DNS = 23,    /* RFC 3646 */
	OPT_SEARCH = 24, /* the same */
	OPT_IA_PD = 25,
	OPT_FQDN = 39, /* RFC 4704 */
	OPT_BOOT = 59, /* RFC 5970 */
	OPT_ARCH = 61, /* the same */
};

enum {
	INTEL = 343, /* the vendor of the PXE and HTTP boot classes */
	DUID_MAX = 2 + 128, /* type and identifier: RFC 8415, 11.1 */
	DUID_LLT = 1,
	HARDWARE_ETHERNET = 1,
	OUR_DUID_LEN = 14,
	IA_HEAD = 12,   /* IAID, T1, T2 */
	IA_TA_HEAD = 4, /* IAID */
	IA_ADDR_LEN = 24,
	FQDN_S = 1,        /* the client wants its AAAA record updated */
	FQDN_OVERRIDE = 2, /* server: no */
	MESSAGE_MAX = 1280 - IP6_HEAD - UDP_HEAD,
};

enum status { SUCCESS, NO_ADDRS = 2, NO_BINDING, NOT_ON_LINK, NO_PREFIX = 6 };

static const char *const status_text[] = {
	[SUCCESS] = "",
	[NO_ADDRS] = "No more addresses.",
	[NO_BINDING] = "Not from here.",
	[NOT_ON_LINK] = "Prefix not appropriate for link.",
	[NO_PREFIX] = "No prefixes.",
};

static const uint32_t forever = UINT32_MAX;

/* For each type of message: what it may carry, and the type of the answer; 0:
 * none */
static const struct rule {
	uint8_t answer;
	enum { ANY_SERVER, NO_SERVER, OUR_SERVER } server;
	/* What happens to IAs: an address is assigned, theirs are judged, or
	 * taken back */
	enum { NO_IA, ASSIGN, JUDGE, TAKE_BACK } ia;
	bool on_link;   /* its addresses must be the one that we assign */
	bool moves;	/* other addresses end, and it gets ours */
	bool no_client; /* may lack the client identifier */
	const char *name;
} rules[] = {
	[SOLICIT] = { ADVERTISE, NO_SERVER, ASSIGN,
		      .name = "advertise to solicit" },
	[REQUEST] = { REPLY, OUR_SERVER, ASSIGN, .on_link = true,
		      .name = "reply to request" },
	[CONFIRM] = { REPLY, NO_SERVER, JUDGE, .name = "reply to confirm" },
	[RENEW] = { REPLY, OUR_SERVER, ASSIGN, .moves = true,
		    .name = "reply to renew" },
	[REBIND] = { REPLY, NO_SERVER, ASSIGN, .moves = true,
		     .name = "reply to rebind" },
	[RELEASE] = { REPLY, OUR_SERVER, TAKE_BACK,
		      .name = "reply to release" },
	[DECLINE] = { REPLY, OUR_SERVER, TAKE_BACK,
		      .name = "reply to decline" },
	[INFORMATION] = { REPLY, ANY_SERVER, NO_IA, .no_client = true,
			  .name = "reply to information-request" },
};

struct view {
	const uint8_t *p; /* NULL: absent */
	size_t len;
};

struct request {
	uint8_t type;
	uint32_t xid; /* 24 bits */
	struct rd options;
	struct view client, server, list;
	bool ia;             /* has an IA of any kind */
	bool ia_na;          /* has an IA_NA */
	bool named, foreign; /* an address is named; one that is not ours is */
	bool rapid, fqdn, fqdn_s;
	bool accepts; /* to be called */
	bool keyed;
	uint8_t auth[RKAP_LEN]; /* if @keyed: what it gets */
	struct boot_client boot;
};

static struct view view(struct rd *in, size_t len)
{
	return (struct view){ rd_view(in, len), len };
}

/* Which addresses the options of an IA name: ours, others */
struct named {
	bool ours, others;
};

/* @in is bad if the options are truncated */
static struct named find_addresses(struct rd *in, const struct addr *guest)
{
	struct named found = { 0 };

	while (rd_left(in)) {
		uint16_t code = rd_be16(in);
		struct rd v = rd_sub(in, rd_be16(in));
		struct addr a;

		if (code != OPT_IA_ADDR)
			continue;
		rd_copy(&v, a.b, sizeof(a.b));
		rd_skip(&v, 8); /* lifetimes */
		in->bad |= !rd_ok(&v);
		if (addr_equal(&a, guest))
			found.ours = true;
		else
			found.others = true;
	}
	return found;
}

static bool is_ia(uint16_t code)
{
	return code == OPT_IA_NA || code == OPT_IA_TA || code == OPT_IA_PD;
}

static struct view ia_head(struct rd *v, uint16_t code)
{
	return view(v, code == OPT_IA_TA ? IA_TA_HEAD : IA_HEAD);
}

static bool parse_ia(struct request *r, const struct lan *lan, uint16_t code,
		     struct rd v)
{
	struct view head = ia_head(&v, code);
	struct named named;

	if (!head.p)
		return false;
	named = find_addresses(&v, &lan->guest6);
	r->ia = true;
	r->ia_na |= code == OPT_IA_NA;
	r->named |= named.ours || named.others;
	r->foreign |= named.others;
	return rd_ok(&v);
}

static bool parse_option(struct request *r, const struct lan *lan,
			 uint16_t code, struct rd v)
{
	switch (code) {
	case OPT_CLIENT_ID:
		r->client = view(&v, rd_left(&v));
		if (!r->client.len || r->client.len > DUID_MAX)
			return false;
		break;
	case OPT_SERVER_ID:
		r->server = view(&v, rd_left(&v));
		break;
	case OPT_LIST:
		r->list = view(&v, rd_left(&v));
		break;
	case OPT_IA_NA:
	case OPT_IA_TA:
	case OPT_IA_PD:
		return parse_ia(r, lan, code, v);
	case OPT_RAPID:
		r->rapid = true;
		break;
	case OPT_ACCEPT:
		r->accepts = true;
		break;
	case OPT_USER_CLASS:
		boot_user_class(&r->boot, v.p, rd_left(&v));
		break;
	case OPT_CLASS:
		rd_skip(&v, 6); /* vendor, length of the first text */
		if (rd_ok(&v))
			boot_class(&r->boot, v.p, rd_left(&v));
		return true;
	case OPT_ARCH:
		r->boot.arch_len = rd_left(&v);
		r->boot.arch = rd_view(&v, r->boot.arch_len);
		break;
	case OPT_FQDN:
		r->fqdn = true;
		r->fqdn_s = rd_u8(&v) & FQDN_S;
		break;
	}
	return rd_ok(&v);
}

static bool parse(struct rd in, const struct lan *lan, struct request *r)
{
	uint32_t head = rd_be32(&in);

	*r = (struct request){ .options = in };
	r->type = (uint8_t)(head >> 24);
	r->xid = head & 0xffffff;

	while (rd_left(&in)) {
		uint16_t code = rd_be16(&in);
		struct rd v = rd_sub(&in, rd_be16(&in));

		if (!parse_option(r, lan, code, v))
			return false;
	}
	return rd_ok(&in);
}

/* Whether the client wants option @code; if it does not say, it wants all */
static bool is_wanted(const struct request *r, uint16_t code)
{
	size_t i;

	if (!r->list.len)
		return true;
	for (i = 0; i + 2 <= r->list.len; i += 2)
		if (ld_be16(r->list.p + i) == code)
			return true;
	return false;
}

static void make_duid(const struct lan *lan, uint8_t duid[OUR_DUID_LEN])
{
	st_be16(duid, DUID_LLT);
	st_be16(duid + 2, HARDWARE_ETHERNET);
	st_be32(duid + 4, lan->duid_time);
	memcpy(duid + 8, lan->mac.b, sizeof(lan->mac.b));
}

/* The rule for the type of @r if we answer it, NULL if we do not */
static const struct rule *admit(const struct request *r,
				const uint8_t duid[OUR_DUID_LEN])
{
	const struct rule *rule;
	bool ours = r->server.p && r->server.len == OUR_DUID_LEN &&
		    !memcmp(r->server.p, duid, OUR_DUID_LEN);

	if (r->type >= ARRAY_SIZE(rules))
		return NULL;
	rule = &rules[r->type];
	if (!rule->answer)
		return NULL;
	if (!r->client.p && !rule->no_client)
		return NULL;
	if (r->server.p && (rule->server == NO_SERVER || !ours))
		return NULL;
	if (!r->server.p && rule->server == OUR_SERVER)
		return NULL;
	if (r->ia && rule->ia == NO_IA)
		return NULL;
	if (!r->named && rule->ia == JUDGE) /* 18.3.3 */
		return NULL;
	return rule;
}

static void put_option(struct wr *w, uint16_t code, size_t len)
{
	wr_be16(w, code);
	wr_be16(w, (uint16_t)len);
}

static void put_bytes(struct wr *w, uint16_t code, const void *p, size_t len)
{
	put_option(w, code, len);
	wr_bytes(w, p, len);
}

static void put_status(struct wr *w, enum status status)
{
	const char *text = status_text[status];

	put_option(w, OPT_STATUS, 2 + strlen(text));
	wr_be16(w, (uint16_t)status);
	wr_bytes(w, text, strlen(text));
}

static void put_ia_addr(struct wr *w, const struct addr *a, uint32_t lease_s)
{
	put_option(w, OPT_IA_ADDR, IA_ADDR_LEN);
	wr_bytes(w, a->b, sizeof(a->b));
	wr_be32(w, lease_s); /* preferred */
	wr_be32(w, lease_s); /* valid */
}

/* Write the client's former addresses, with lifetimes of 0 (18.3.4) */
static void put_former(struct wr *w, const struct lan *lan, struct rd in)
{
	while (rd_left(&in)) {
		uint16_t code = rd_be16(&in);
		struct rd v = rd_sub(&in, rd_be16(&in));
		struct addr a;

		rd_copy(&v, a.b, sizeof(a.b));
		if (code == OPT_IA_ADDR && rd_ok(&v) &&
		    !addr_equal(&a, &lan->guest6))
			put_ia_addr(w, &a, 0);
	}
}

static void put_address(struct wr *w, const struct lan *lan, uint32_t iaid,
			struct rd theirs)
{
	size_t start = w->len;

	put_option(w, OPT_IA_NA, 0);
	wr_be32(w, iaid);
	wr_be32(w, lan->leases ? LAN_RENEW_S : forever);
	wr_be32(w, lan->leases ? LAN_REBIND_S : forever);
	put_ia_addr(w, &lan->guest6, lan->leases ? LAN_LEASE_S : forever);
	put_former(w, lan, theirs);
	wr_patch_be16(w, start + 2, (uint16_t)(w->len - start - 4));
}

/* Return an IA that cannot be satisfied, with the reason in it */
static void put_refusal(struct wr *w, uint16_t code, struct view head,
			enum status status)
{
	put_option(w, code, head.len + 4 + 2 + strlen(status_text[status]));
	wr_bytes(w, head.p, head.len);
	put_status(w, status);
}

/* Decide about an IA_NA (RFC 8415, 18.3.2, 18.3.4, 18.3.9); SUCCESS: it gets
 * the address */
static enum status assign(const struct rule *rule, uint16_t code,
			  struct named named, bool taken)
{
	if (code == OPT_IA_PD)
		return NO_PREFIX;
	if (rule->on_link && named.others)
		return NOT_ON_LINK;
	return code == OPT_IA_TA || taken ? NO_ADDRS : SUCCESS;
}

static void put_ias(struct wr *w, const struct lan *lan,
		    const struct request *r, const struct rule *rule)
{
	struct rd in = r->options;
	bool taken = false;

	while (rd_left(&in)) {
		uint16_t code = rd_be16(&in);
		struct rd v = rd_sub(&in, rd_be16(&in));
		enum status status = SUCCESS;
		struct named named;
		struct view head;
		struct rd theirs;

		if (!is_ia(code))
			continue;
		head = ia_head(&v, code);
		theirs = rule->moves ? v : rd_init(NULL, 0);
		named = find_addresses(&v, &lan->guest6);
		if (rule->ia == ASSIGN)
			status = assign(rule, code, named, taken);
		else if (code != OPT_IA_NA || !named.ours) /* 18.3.7, 18.3.8 */
			status = NO_BINDING;

		if (status != SUCCESS) {
			put_refusal(w, code, head, status);
		} else if (rule->ia == ASSIGN) {
			put_address(w, lan, ld_be32(head.p), theirs);
			taken = true;
		}
	}
}

static void put_resolvers(struct wr *w, const struct lan *lan)
{
	unsigned i;

	if (!lan->dns6_n)
		return;
	put_option(w, OPT_DNS, lan->dns6_n * sizeof(lan->dns6[0].b));
	for (i = 0; i < lan->dns6_n; i++)
		wr_bytes(w, lan->dns6[i].b, sizeof(lan->dns6[i].b));
}

/* Write the boot file, always as a URL.  EDK2's HTTP boot accepts only what has
 * its class. */
static void put_boot(struct wr *w, const struct lan *lan,
		     const struct request *r)
{
	static const char http[] = "HTTPClient";
	const struct lan_boot *b = boot_find(lan, &r->boot, false);
	char url[sizeof(b->file) + ADDR_TEXT_LEN + 16], text[ADDR_TEXT_LEN];
	int n;

	if (!b)
		return;
	if (boot_is_url(b->file))
		n = snprintf(url, sizeof(url), "%s", b->file);
	else
		n = snprintf(url, sizeof(url), "tftp://[%s]/%s",
			     addr_text(addr_is_none(&b->server) ? &lan->our_ll6 :
								  &b->server,
				       text),
			     b->file + strspn(b->file, "/"));
	if (w->len + (size_t)n + 4 + 20 > w->cap)
		return;
	put_bytes(w, OPT_BOOT, url, (size_t)n);
	if (!r->boot.http)
		return;
	put_option(w, OPT_CLASS, 6 + sizeof(http) - 1);
	wr_be32(w, INTEL);
	wr_be16(w, sizeof(http) - 1);
	wr_bytes(w, http, sizeof(http) - 1);
}

/* Write the search list; names that are invalid or do not fit are left out, and
 * without any there is no option */
static void put_search(struct wr *w, const struct lan *lan)
{
	size_t start = w->len, names;
	unsigned i;

	if (!lan->search_n)
		return;
	put_option(w, OPT_SEARCH, 0);
	names = w->len;
	for (i = 0; i < lan->search_n; i++)
		dnsname_put(w, lan->search[i]);
	if (w->len == names)
		w->len = start;
	else
		wr_patch_be16(w, start + 2, (uint16_t)(w->len - names));
}

static void put_fqdn(struct wr *w, const struct lan *lan, bool client_s)
{
	uint8_t v[1 + DNSNAME_MAX];
	struct wr name = wr_init(v, sizeof(v));

	wr_u8(&name, client_s ? FQDN_OVERRIDE : 0);
	if (!dnsname_put(&name, lan->fqdn))
		return;
	if (4 + name.len <= w->cap - w->len)
		put_bytes(w, OPT_FQDN, v, name.len);
}

/* RFC 4704: also for a client that has sent its own name */
static void put_configuration(struct wr *w, const struct lan *lan,
			      const struct request *r)
{
	if (is_wanted(r, OPT_DNS))
		put_resolvers(w, lan);
	if (is_wanted(r, OPT_BOOT))
		put_boot(w, lan, r);
	if (is_wanted(r, OPT_SEARCH))
		put_search(w, lan);
	if (is_wanted(r, OPT_FQDN) || r->fqdn)
		put_fqdn(w, lan, r->fqdn_s);
}

/* Two messages less: 18.3.1 */
static bool is_rapid(const struct request *r)
{
	return r->type == SOLICIT && r->rapid && r->ia_na;
}

static void put_accept(struct wr *w, const struct request *r)
{
	if (!r->accepts || w->cap - w->len < 4 + 4 + RKAP_LEN)
		return;
	put_option(w, OPT_ACCEPT, 0);
	if (r->keyed)
		put_bytes(w, OPT_AUTH, r->auth, sizeof(r->auth));
}

static void put_message(struct wr *w, const struct lan *lan,
			const struct request *r, const struct rule *rule,
			const uint8_t duid[OUR_DUID_LEN])
{
	bool rapid = is_rapid(r);

	wr_be32(w, (uint32_t)(rapid ? REPLY : rule->answer) << 24 | r->xid);
	put_bytes(w, OPT_SERVER_ID, duid, OUR_DUID_LEN);
	if (rule->ia == ASSIGN || rule->ia == TAKE_BACK)
		put_ias(w, lan, r, rule);
	if (r->client.p)
		put_bytes(w, OPT_CLIENT_ID, r->client.p, r->client.len);
	if (rapid)
		put_option(w, OPT_RAPID, 0);
	if (rule->ia == JUDGE) {
		put_status(w, r->foreign ? NOT_ON_LINK : SUCCESS);
	} else if (rule->ia == TAKE_BACK) {
		put_status(w, SUCCESS);
	} else {
		put_accept(w, r);
		put_configuration(w, lan, r);
	}
}

static bool serves(const struct lan *lan)
{
	return lan->v6 && !addr_is_none(&lan->guest6) &&
	       !addr_is_none(&lan->our_ll6);
}

static void address(const struct lan *lan, const struct addr *to,
		    const struct mac *mac, struct answer *out)
{
	out->arp = false;
	out->head = (struct head){
		.src = lan->mac,
		.dst = *mac,
		.t = { .src = lan->our_ll6,
		       .dst = *to,
		       .sport = DHCPV6_SERVER,
		       .dport = DHCPV6_CLIENT,
		       .proto = IPPROTO_UDP },
		.ttl = 255,
	};
	out->body.cap = MIN(out->body.cap, (size_t)MESSAGE_MAX);
}

/* --- who can be called ----------------------------------------------------- */

/* A digest of all that an answer says; it must not depend on the key */
static void sum_up(const struct lan *lan, const struct request *r,
		   uint8_t sum[MD5_LEN])
{
	uint8_t body[MESSAGE_MAX], duid[OUR_DUID_LEN];
	struct wr w = wr_init(body, sizeof(body));

	make_duid(lan, duid);
	put_message(&w, lan, r, &rules[r->type], duid);
	md5(body, w.len, sum);
}

static bool is_known(const struct lan *lan, const struct rkap *c,
		     const struct request *r)
{
	struct request was;

	return c && c->on && r->client.p &&
	       parse(rd_init(c->request, c->len), lan, &was) &&
	       was.client.len == r->client.len &&
	       !memcmp(was.client.p, r->client.p, r->client.len);
}

/* Remember a client.  It gets a key with its first answer, and keeps it while
 * it asks for more of the same (20.4.2). */
static void keep(const struct lan *lan, const struct packet *p, struct rd in,
		 struct request *r, struct rkap *c)
{
	struct wr w = wr_init(r->auth, sizeof(r->auth));

	if (!rkap_keep(c, in))
		return;
	c->mac = p->smac;
	c->client = p->t.src;
	c->server = lan->our_ll6;
	sum_up(lan, r, c->told);
	if (rules[r->type].moves)
		return;
	rkap_new_key(c);
	rkap_put_key(c, &w);
	r->keyed = true;
}

static void remember(const struct lan *lan, const struct packet *p,
		     struct rd in, struct request *r, struct rkap *c)
{
	const struct rule *rule = &rules[r->type];
	bool known = is_known(lan, c, r);

	if (!c || !r->client.p || rule->ia == JUDGE ||
	    (r->type == SOLICIT && !is_rapid(r)))
		return;
	if (rule->moves ? known : rule->ia != TAKE_BACK && r->accepts)
		keep(lan, p, in, r, c);
	else if (known)
		c->on = false;
}

/* Write a Reconfigure message, with nothing that 18.3.11 does not require */
static void put_call(struct wr *w, const struct lan *lan,
		     const struct request *r, struct rkap *c)
{
	uint8_t duid[OUR_DUID_LEN];
	size_t at;

	make_duid(lan, duid);
	wr_be32(w, (uint32_t)RECONFIGURE << 24);
	put_bytes(w, OPT_SERVER_ID, duid, sizeof(duid));
	put_bytes(w, OPT_CLIENT_ID, r->client.p, r->client.len);
	put_option(w, OPT_CALL, 1);
	wr_u8(w, r->ia ? RENEW : INFORMATION);
	put_option(w, OPT_AUTH, RKAP_LEN);
	at = w->len;
	rkap_put_digest(c, w);
	rkap_sign(c, w, at);
}

bool dhcpv6_call(const struct lan *lan, struct rkap *c, struct answer *out)
{
	uint8_t sum[MD5_LEN], duid[OUR_DUID_LEN];
	struct request r;

	make_duid(lan, duid);
	if (!c->on || !serves(lan) ||
	    !parse(rd_init(c->request, c->len), lan, &r) ||
	    !admit(&r, duid) || !r.client.p) /* from a predecessor */
		return false;
	sum_up(lan, &r, sum);
	if (!memcmp(sum, c->told, sizeof(sum)))
		return false;
	address(lan, &c->client, &c->mac, out);
	put_call(&out->body, lan, &r, c);
	if (!wr_ok(&out->body))
		return false;
	log_limited(LOG_INFORM, "DHCPv6: reconfigure");
	return true;
}

bool dhcpv6_assigns(uint8_t type)
{
	return type < ARRAY_SIZE(rules) && rules[type].ia == ASSIGN;
}

bool dhcpv6_answer(const struct lan *lan, const struct packet *p, struct rd in,
		   struct rkap *c, struct answer *out)
{
	const struct rule *rule;
	uint8_t duid[OUR_DUID_LEN];
	struct request r;

	if (!serves(lan))
		return false;
	if (!addr_is_multicast(&p->t.dst) || !addr_is_unicast(&p->t.src))
		return false;
	make_duid(lan, duid);
	if (!parse(in, lan, &r))
		return false;
	rule = admit(&r, duid);
	if (!rule)
		return false;

	remember(lan, p, in, &r, c);
	address(lan, &p->t.src, &p->smac, out);
	out->head.flow_label = r.xid & 0xfffff; /* it has 20 bits */
	put_message(&out->body, lan, &r, rule, duid);
	if (!wr_ok(&out->body))
		return false;
	log_limited(rule->moves ? LOG_DBG : LOG_INFORM, "DHCPv6: %s",
		    rule->name);
	return true;
}
