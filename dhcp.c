/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One address, one client, no lease database: what the guest gets is in the
 * configuration.  A request is read into struct request and judged.  The
 * options that we have are encoded into struct stock, and copied from there in
 * the order in which the client wants them, as long as they fit.  A client that
 * lists the options it wants gets no others, except those it cannot do without:
 * an MTU that was not asked for has done harm, and most other servers do the
 * same.
 *
 * A client that can be told to renew gets a key with its lease (RFC 6704), and
 * keeps it while it renews.  It is told when its last request would be answered
 * differently now.
 */
#include "dhcp.h"
#include "boot.h"
#include "dnsname.h"
#include "log.h"

#include <netinet/in.h>

enum { BOOTREQUEST = 1, BOOTREPLY = 2 };

/* Message types; a message without one is BOOTP */
enum { BOOTP, DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM, FORCERENEW };

enum { HMAC_MD5 = 1 }; /* RFC 6704, 3.1.1 */

/* Offsets of the fixed fields, RFC 2131, 2.  The cookie is the last of them. */
enum {
	OP = 0,
	HTYPE = 1,
	HLEN = 2,
	XID = 4,
	FLAGS = 10,
	CIADDR = 12,
	YIADDR = 16,
	SIADDR = 20,
	GIADDR = 24,
	CHADDR = 28,
	SERVER_NAME = 44,
	FILE_NAME = 108,
	COOKIE = 236,
	OPTIONS = 240,
	CHADDR_LEN = 16,
	SERVER_LEN = 64,
	FILE_LEN = 128,
	FLAG_BROADCAST = 0x8000,
	PARTS = 1024, /* most bytes of all options that come in parts */
};

enum {
	MESSAGE_MAX = 576 - IP4_HEAD - UDP_HEAD, /* what all must take */
	MESSAGE_MIN = 300,                       /* what BOOTP relied on */
};

enum {
	OPT_PAD = 0,
	OPT_MASK = 1,
	OPT_ROUTER = 3,
	OPT_DNS = 6,
	OPT_HOSTNAME = 12,
	OPT_DOMAIN = 15,
	OPT_MTU = 26,
	OPT_WANTED = 50,
	OPT_LEASE = 51,
	OPT_OVERLOAD = 52,
	OPT_RENEWAL = 58,
	OPT_REBINDING = 59,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_LIST = 55,
	OPT_CLASS = 60,
	OPT_CLIENT = 61,
	OPT_TFTP = 66,
	OPT_FILE = 67,
	OPT_USER_CLASS = 77, /* RFC 3004 */
	OPT_RAPID = 80,   /* RFC 4039 */
	OPT_FQDN = 81,    /* RFC 4702 */
	OPT_AUTH = 90,    /* RFC 3118 */
	OPT_ARCH = 93,    /* RFC 4578 */
	OPT_SEARCH = 119, /* RFC 3397 */
	OPT_ROUTES = 121, /* RFC 3442 */
	OPT_NONCE = 145,  /* RFC 6704: FORCERENEW_NONCE_CAPABLE */
	OPT_END = 255,
	OPT_VALUE_MAX = 255,
};

struct request {
	uint8_t fixed[OPTIONS];
	struct rd field[3]; /* where options are: behind @fixed, file, sname */
	unsigned fields;
	struct wr joined; /* options that came in parts, in @parts */
	uint8_t parts[PARTS];
	uint8_t type;
	bool rapid, fqdn;
	bool nonce; /* it can be called */
	bool keyed;
	uint8_t auth[RKAP_LEN]; /* if @keyed: what it gets */
	uint16_t flags;
	struct addr ciaddr, wanted, server; /* the latter two may be none */
	const uint8_t *list;                /* NULL: no parameter list */
	size_t list_len;
	const uint8_t *client; /* NULL: no client identifier */
	size_t client_len;
	struct boot_client boot;
	const struct lan_boot *file; /* that it is to boot, or NULL */
};

/* Options that could be sent; at[] is where each begins in buf, 0: it is not
 * there */
struct stock {
	struct wr w;
	size_t due; /* bytes of options that no message may lack */
	uint16_t at[256];
	uint8_t buf[2048]; /* all at once take less */
};

static struct addr get_addr(struct rd *in)
{
	uint8_t b[4];

	rd_copy(in, b, sizeof(b));
	return addr_from4(b);
}

/* Take the next option of a field.  False: there is none, or it is truncated,
 * which makes @in bad. */
static bool next_option(struct rd *in, uint8_t *code, struct rd *value)
{
	do {
		*code = rd_left(in) ? rd_u8(in) : OPT_END;
	} while (*code == OPT_PAD);
	if (*code == OPT_END)
		return false;
	*value = rd_sub(in, rd_u8(in));
	return rd_ok(in);
}

static bool is_whole(struct rd in)
{
	uint8_t code;
	struct rd v;

	while (next_option(&in, &code, &v))
		;
	return rd_ok(&in);
}

/* Add part @v to an option of which @n parts are in @value already; several
 * parts are joined in @r */
static void add_part(struct request *r, unsigned n, struct rd *value, struct rd v)
{
	if (n == 1)
		wr_bytes(&r->joined, value->p, rd_left(value));
	if (n)
		wr_bytes(&r->joined, v.p, rd_left(&v));
	else
		*value = v;
}

/* Find an option; one that occurs more than once is one option in parts (RFC
 * 3396).  False: it is not there; @value is bad if it is too long. */
static bool find_option(struct request *r, uint8_t code, struct rd *value)
{
	size_t from = r->joined.len;
	unsigned i, n = 0;
	uint8_t c;

	for (i = 0; i < r->fields; i++) {
		struct rd in = r->field[i], v;

		while (next_option(&in, &c, &v))
			if (c == code)
				add_part(r, n++, value, v);
	}
	if (n > 1)
		*value = rd_init(r->parts + from, r->joined.len - from);
	if (!wr_ok(&r->joined))
		value->bad = true;
	return n;
}

/* Find the fields that have options, in the order of RFC 2131, 4.1: options,
 * file, sname */
static bool find_fields(struct request *r, struct rd in)
{
	enum { IN_FILE = 1, IN_SNAME = 2 };
	uint8_t where = 0;
	struct rd v;
	unsigned i;

	r->joined = wr_init(r->parts, sizeof(r->parts));
	r->field[r->fields++] = in;
	if (find_option(r, OPT_OVERLOAD, &v))
		where = rd_u8(&v);
	if (where & IN_FILE)
		r->field[r->fields++] = rd_init(r->fixed + FILE_NAME, FILE_LEN);
	if (where & IN_SNAME)
		r->field[r->fields++] = rd_init(r->fixed + SERVER_NAME,
						SERVER_LEN);
	for (i = 0; i < r->fields; i++)
		if (!is_whole(r->field[i]))
			return false;
	return true;
}

static bool parse_option(struct request *r, uint8_t code, struct rd v)
{
	switch (code) {
	case OPT_WANTED:
		r->wanted = get_addr(&v);
		break;
	case OPT_SERVER:
		r->server = get_addr(&v);
		break;
	case OPT_TYPE:
		r->type = rd_u8(&v);
		return r->type != BOOTP;
	case OPT_LIST:
		r->list_len = rd_left(&v);
		r->list = rd_view(&v, r->list_len);
		break;
	case OPT_CLIENT:
		r->client_len = rd_left(&v);
		r->client = rd_view(&v, r->client_len);
		return rd_ok(&v) && r->client_len <= OPT_VALUE_MAX; /* it goes back */
	case OPT_CLASS:
		boot_class(&r->boot, v.p, rd_left(&v));
		break;
	case OPT_USER_CLASS:
		boot_user_class(&r->boot, v.p, rd_left(&v));
		break;
	case OPT_ARCH:
		r->boot.arch_len = rd_left(&v);
		r->boot.arch = rd_view(&v, r->boot.arch_len);
		break;
	case OPT_RAPID:
		r->rapid = true;
		break;
	case OPT_FQDN:
		r->fqdn = true;
		break;
	case OPT_NONCE:
		r->nonce = v.p && memchr(v.p, HMAC_MD5, rd_left(&v));
		break;
	}
	return rd_ok(&v);
}

static bool parse(struct rd in, struct request *r)
{
	static const uint8_t known[] = {
		OPT_WANTED, OPT_SERVER, OPT_TYPE, OPT_LIST, OPT_CLIENT,
		OPT_CLASS, OPT_USER_CLASS, OPT_ARCH, OPT_RAPID, OPT_FQDN,
		OPT_NONCE,
	};
	struct rd ci, v;
	unsigned i;

	*r = (struct request){ .type = BOOTP };
	rd_copy(&in, r->fixed, OPTIONS);
	if (!rd_ok(&in) || r->fixed[OP] != BOOTREQUEST ||
	    r->fixed[HLEN] > CHADDR_LEN)
		return false;
	r->flags = ld_be16(r->fixed + FLAGS);
	ci = rd_init(r->fixed + CIADDR, 4);
	r->ciaddr = get_addr(&ci);

	if (!find_fields(r, in))
		return false;
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (find_option(r, known[i], &v) &&
		    !parse_option(r, known[i], v))
			return false;
	return true;
}

/* The answer to a REQUEST by RFC 2131, 4.3.2; 0: none */
static uint8_t judge(const struct lan *lan, const struct request *r)
{
	const struct addr *wanted = &r->wanted;

	/* the client has accepted another server's offer */
	if (!addr_is_none(&r->server) && !addr_equal(&r->server, &lan->our4))
		return 0;

	/* In SELECTING and INIT-REBOOT the address is in an option, in RENEWING
	 * and REBINDING in ciaddr.  A client that names none accepts what there
	 * is. */
	if (addr_is_none(wanted))
		wanted = &r->ciaddr;
	if (addr_is_unspecified(wanted) || addr_equal(wanted, &lan->guest4))
		return ACK;
	return NAK;
}

static uint8_t decide(const struct lan *lan, const struct request *r)
{
	switch (r->type) {
	case BOOTP:
	case INFORM:
		return ACK;
	case DISCOVER:
		return r->rapid ? ACK : OFFER;
	case REQUEST:
		return judge(lan, r);
	}
	return 0;
}

/* Whether no message may lack the option; for the client identifier see RFC
 * 6842 */
static bool is_due(uint8_t code)
{
	return code == OPT_TYPE || code == OPT_SERVER || code == OPT_LEASE ||
	       code == OPT_RENEWAL || code == OPT_REBINDING ||
	       code == OPT_CLIENT || code == OPT_AUTH;
}

/* Whether a client gets the option that has listed others, but not this one */
static bool is_unasked(const struct request *r, uint8_t code)
{
	return is_due(code) || code == OPT_MASK || code == OPT_ROUTER ||
	       code == OPT_RAPID || code == OPT_NONCE || code == OPT_CLASS || (code == OPT_FQDN && r->fqdn);
}

static void put(struct wr *w, uint8_t code, const void *value, size_t len)
{
	wr_u8(w, code);
	wr_u8(w, (uint8_t)len);
	wr_bytes(w, value, len);
}

static void stock_put(struct stock *s, uint8_t code, const void *value,
		      size_t len)
{
	if (len > OPT_VALUE_MAX)
		return;
	if (is_due(code))
		s->due += 2 + len;
	s->at[code] = (uint16_t)s->w.len;
	put(&s->w, code, value, len);
}

static void stock_put32(struct stock *s, uint8_t code, uint32_t v)
{
	v = htobe32(v);
	stock_put(s, code, &v, sizeof(v));
}

static void stock_resolvers(struct stock *s, const struct lan *lan)
{
	uint8_t v[LAN_DNS * 4];
	unsigned i;

	for (i = 0; i < lan->dns4_n; i++)
		memcpy(v + i * 4, &lan->dns4[i].b[12], 4);
	if (i)
		stock_put(s, OPT_DNS, v, i * 4);
}

/* A single domain, for clients that do not know search lists: Windows until
 * 2018.  Without a list it is the guest's own domain. */
static void stock_domain(struct stock *s, const struct lan *lan)
{
	uint8_t wire[DNSNAME_MAX];
	struct wr w = wr_init(wire, sizeof(wire));
	const char *name = strchr(lan->fqdn, '.');
	unsigned i;
	size_t n;

	name = name ? name + 1 : "";
	for (i = lan->search_n; i-- > 0;)
		if (dnsname_put(&w, lan->search[i]))
			name = lan->search[i];
	n = strlen(name);
	if (n && name[n - 1] == '.')
		n--;
	if (n)
		stock_put(s, OPT_DOMAIN, name, n);
}

static void stock_names(struct stock *s, const struct lan *lan)
{
	/* RFC 4702: no update of DNS, name in wire form, obsolete rcodes */
	static const uint8_t fqdn[] = { 0x04, 255, 255 };
	uint8_t v[OPT_VALUE_MAX];
	struct wr w = wr_init(v, sizeof(v));
	unsigned i;

	if (lan->hostname[0])
		stock_put(s, OPT_HOSTNAME, lan->hostname,
			  strlen(lan->hostname));
	stock_domain(s, lan);

	wr_bytes(&w, fqdn, sizeof(fqdn));
	if (lan->fqdn[0] && dnsname_put(&w, lan->fqdn))
		stock_put(s, OPT_FQDN, v, w.len);

	w = wr_init(v, sizeof(v));
	for (i = 0; i < lan->search_n; i++)
		dnsname_pack(&w, lan->search[i]);
	if (w.len)
		stock_put(s, OPT_SEARCH, v, w.len);
}

/* The router, and how to reach it if it is outside of the subnet */
static void stock_routes(struct stock *s, const struct lan *lan)
{
	const uint8_t *gw = &lan->gw4.b[12];
	uint8_t v[14] = { 32 }; /* gateway/32 via 0.0.0.0, 0/0 via gateway */

	stock_put(s, OPT_ROUTER, gw, 4);
	if (addr_in_prefix(&lan->gw4, &lan->guest4, lan->prefix4))
		return;
	memcpy(v + 1, gw, 4);
	memcpy(v + 10, gw, 4);
	stock_put(s, OPT_ROUTES, v, sizeof(v));
}

static struct addr boot_server(const struct lan *lan,
			       const struct lan_boot *b)
{
	return addr_is_none(&b->server) ? lan->our4 : b->server;
}

/* EDK2's HTTP boot accepts only an offer whose class says so.  PXE must not be
 * told its class: it would look for boot servers of Intel's kind. */
static void stock_boot(struct stock *s, const struct lan *lan,
		       const struct request *r)
{
	static const char http[] = "HTTPClient";
	char text[ADDR_TEXT_LEN];
	struct addr server;

	if (!r->file)
		return;
	server = boot_server(lan, r->file);
	addr_text(&server, text);
	stock_put(s, OPT_TFTP, text, strlen(text));
	stock_put(s, OPT_FILE, r->file->file, strlen(r->file->file));
	if (r->boot.http)
		stock_put(s, OPT_CLASS, http, sizeof(http) - 1);
}

static uint32_t netmask(unsigned prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

static void stock_lease(struct stock *s, const struct lan *lan)
{
	if (!lan->leases) {
		stock_put32(s, OPT_LEASE, UINT32_MAX); /* for ever */
		return;
	}
	stock_put32(s, OPT_LEASE, LAN_LEASE_S);
	stock_put32(s, OPT_RENEWAL, LAN_RENEW_S);
	stock_put32(s, OPT_REBINDING, LAN_REBIND_S);
}

static void stock_fill(struct stock *s, const struct lan *lan,
		       const struct request *r, uint8_t type)
{
	unsigned mtu = lan_mtu_told(lan);

	memset(s->at, 0, sizeof(s->at));
	s->w = wr_init(s->buf, sizeof(s->buf));
	s->due = 0;
	wr_u8(&s->w, 0); /* so that no option is at 0 */

	stock_put(s, OPT_TYPE, &type, 1);
	stock_put(s, OPT_SERVER, &lan->our4.b[12], 4);
	if (r->client)
		stock_put(s, OPT_CLIENT, r->client, r->client_len);
	if (type == NAK)
		return;

	if (r->nonce && type == OFFER)
		stock_put(s, OPT_NONCE, &(uint8_t){ HMAC_MD5 }, 1);
	if (r->keyed)
		stock_put(s, OPT_AUTH, r->auth, sizeof(r->auth));
	stock_put32(s, OPT_MASK, netmask(lan->prefix4));
	stock_routes(s, lan);
	stock_resolvers(s, lan);
	stock_names(s, lan);
	stock_boot(s, lan, r);
	if (mtu >= MTU_MIN4) /* RFC 2132, 5.1 */
		stock_put(s, OPT_MTU, &(uint16_t){ htobe16(mtu) }, 2);
	if (r->type != INFORM)
		stock_lease(s, lan);
	if (r->type == DISCOVER && type == ACK)
		stock_put(s, OPT_RAPID, NULL, 0);
}

/* Move option @code from the stock to the message, if it fits */
static void move(struct wr *w, struct stock *s, uint8_t code)
{
	const uint8_t *p = s->buf + s->at[code];
	size_t n;

	if (!s->at[code])
		return;
	s->at[code] = 0;
	n = p[1] + 2U;
	if (is_due(code))
		s->due -= n;
	if (w->len + n + s->due + 1 <= MESSAGE_MAX)
		wr_bytes(w, p, n);
}

static void end(struct wr *w)
{
	wr_u8(w, OPT_END);
	if (w->len < MESSAGE_MIN)
		wr_fill(w, 0, MESSAGE_MIN - w->len);
}

static void put_options(struct wr *w, struct stock *s, const struct request *r)
{
	unsigned code;
	size_t i;

	if (r->list_len && !memchr(r->list, OPT_TYPE, r->list_len))
		move(w, s, OPT_TYPE);
	for (i = 0; i < r->list_len; i++)
		move(w, s, r->list[i]);
	for (code = 1; code < OPT_END; code++)
		if (!r->list_len || is_unasked(r, (uint8_t)code))
			move(w, s, (uint8_t)code);
	end(w);
}

/* Write the boot file to the fixed fields of BOOTP, where most clients still
 * look */
static void put_boot(uint8_t *to, const struct lan *lan,
		     const struct request *r)
{
	struct addr server;
	size_t n;

	if (!r->file)
		return;
	server = boot_server(lan, r->file);
	memcpy(to + SIADDR, &server.b[12], 4);
	n = strlen(r->file->file);
	if (n < FILE_LEN)
		memcpy(to + FILE_NAME, r->file->file, n);
}

static void put_fixed(struct wr *w, const struct lan *lan,
		      const struct request *r, uint8_t type)
{
	uint8_t *to = wr_room(w, OPTIONS);
	const uint8_t *from = r->fixed;

	if (!to)
		return;
	memset(to, 0, OPTIONS);
	to[OP] = BOOTREPLY;
	memcpy(to + HTYPE, from + HTYPE, 2); /* and HLEN */
	memcpy(to + XID, from + XID, 4);
	memcpy(to + FLAGS, from + FLAGS, 2);
	if (type != NAK)
		memcpy(to + CIADDR, from + CIADDR, 4);
	if (type != NAK && r->type != INFORM)
		memcpy(to + YIADDR, &lan->guest4.b[12], 4);
	memcpy(to + CHADDR, from + CHADDR, CHADDR_LEN);
	memcpy(to + COOKIE, from + COOKIE, 4);
	if (type != NAK)
		put_boot(to, lan, r);
}

/* Whether the client sends to the server's own address, which it does only
 * while it renews */
static bool is_renewing(const struct request *r, const struct packet *p)
{
	return addr_is_unicast(&r->ciaddr) && addr_is_unicast(&p->t.dst) &&
	       addr_equal(&r->ciaddr, &p->t.src);
}

/* Where to send the answer.  A client is reached by an address that it does not
 * have yet: its MAC address is known, and it listens for the offered address.
 * A refusal is for everybody (RFC 2131, 4.1); but a client that renews may
 * listen at its own address only, as dhcpcd and systemd-networkd do, and would
 * not ask anew for a minute. */
static struct addr destination(const struct lan *lan, const struct request *r,
			       const struct packet *p, uint8_t type)
{
	struct addr everyone = addr_v4(255, 255, 255, 255);

	if (type == NAK)
		return is_renewing(r, p) ? r->ciaddr : everyone;
	if (r->type == INFORM) {
		if (addr_is_unicast(&r->ciaddr))
			return r->ciaddr;
		return addr_is_unicast(&p->t.src) ? p->t.src : everyone;
	}
	return r->flags & FLAG_BROADCAST ? everyone : lan->guest4;
}

static void report(const struct packet *p, const struct request *r,
		   uint8_t type)
{
	static const char *const what[] = {
		[BOOTP] = "BOOTP: ack to request",
		[DISCOVER] = "DHCP: offer to discover",
		[REQUEST] = "DHCP: ack to request",
		[INFORM] = "DHCP: ack to inform",
	};
	enum log_level level = LOG_INFORM;
	const char *s = what[r->type];
	char mac[MAC_TEXT_LEN];

	if (type == NAK)
		s = "DHCP: nak to request";
	else if (r->type == DISCOVER && type == ACK)
		s = "DHCP: ack to discover (Rapid Commit)";
	/* the answer has nothing new: the client asks for what it has */
	if (type == ACK && r->type == REQUEST && addr_is_none(&r->wanted))
		level = LOG_DBG;
	log_limited(level, "%s", s);
	log_limited(level, "    from %s", mac_text(&p->smac, mac));
}

static bool serves(const struct lan *lan)
{
	return lan->v4 && !addr_is_none(&lan->guest4) &&
	       !addr_is_none(&lan->our4) && !addr_is_none(&lan->gw4);
}

static void address(const struct lan *lan, struct addr from, struct addr to,
		    const struct mac *mac, struct answer *out)
{
	out->arp = false;
	out->head = (struct head){
		.src = lan->mac,
		.dst = *mac,
		.t = { .src = from,
		       .dst = to,
		       .sport = DHCP_SERVER,
		       .dport = DHCP_CLIENT,
		       .proto = IPPROTO_UDP },
		.ttl = 255,
	};
}

/* --- who can be called ----------------------------------------------------- */

/* A digest of all that an ACK says; it must not depend on the key */
static void sum_up(const struct lan *lan, const struct request *r,
		   uint8_t sum[MD5_LEN])
{
	uint8_t body[MESSAGE_MAX];
	struct wr w = wr_init(body, sizeof(body));
	struct stock s;

	stock_fill(&s, lan, r, ACK);
	put_fixed(&w, lan, r, ACK);
	put_options(&w, &s, r);
	md5(body, w.len, sum);
}

static bool is_known(const struct rkap *c, const struct request *r)
{
	return c && c->on &&
	       !memcmp(c->request + CHADDR, r->fixed + CHADDR, CHADDR_LEN);
}

/* Remember a client that gets a lease.  While it renews it keeps its key: the
 * fewer of them are sent, the better (RFC 6704, 3.1.3). */
static void keep(const struct lan *lan, const struct packet *p, struct rd in,
		 struct request *r, struct rkap *c)
{
	bool has_key = is_known(c, r) && !addr_is_unspecified(&r->ciaddr);
	struct wr w = wr_init(r->auth, sizeof(r->auth));

	if (!rkap_keep(c, in))
		return;
	c->mac = p->smac;
	c->client = lan->guest4;
	c->server = lan->our4;
	sum_up(lan, r, c->told);
	if (has_key)
		return;
	rkap_new_key(c);
	rkap_put_key(c, &w);
	r->keyed = true;
}

/* Remember what a client was answered, with @type, or 0 */
static void remember(const struct lan *lan, const struct packet *p,
		     struct rd in, struct request *r, uint8_t type,
		     struct rkap *c)
{
	bool lease = type == ACK && (r->type == DISCOVER || r->type == REQUEST);

	if (c && lease && r->nonce)
		keep(lan, p, in, r, c);
	else if (is_known(c, r) && (lease || type == NAK || r->type == RELEASE ||
				    r->type == DECLINE))
		c->on = false;
}

static void put_call(struct wr *w, const struct request *r, struct rkap *c)
{
	uint8_t *to = wr_room(w, OPTIONS);
	size_t at;

	if (!to)
		return;
	memset(to, 0, OPTIONS);
	to[OP] = BOOTREPLY;
	memcpy(to + HTYPE, r->fixed + HTYPE, 2);
	memcpy(to + XID, r->fixed + XID, 4);
	memcpy(to + CIADDR, &c->client.b[12], 4);
	memcpy(to + CHADDR, r->fixed + CHADDR, CHADDR_LEN);
	memcpy(to + COOKIE, r->fixed + COOKIE, 4);

	put(w, OPT_TYPE, &(uint8_t){ FORCERENEW }, 1);
	put(w, OPT_SERVER, &c->server.b[12], 4);
	if (r->client)
		put(w, OPT_CLIENT, r->client, r->client_len);
	put(w, OPT_AUTH, NULL, 0);
	wr_patch_u8(w, w->len - 1, RKAP_LEN);
	at = w->len;
	rkap_put_digest(c, w);
	end(w);
	rkap_sign(c, w, at);
}

bool dhcp_call(const struct lan *lan, struct rkap *c, struct answer *out)
{
	uint8_t sum[MD5_LEN];
	struct request r;

	if (!c->on || !serves(lan) || !parse(rd_init(c->request, c->len), &r))
		return false;
	r.file = boot_find(lan, &r.boot, true);
	sum_up(lan, &r, sum);
	if (!memcmp(sum, c->told, sizeof(sum)))
		return false;
	/* from the address that the client knows its server by */
	address(lan, c->server, c->client, &c->mac, out);
	put_call(&out->body, &r, c);
	if (!wr_ok(&out->body))
		return false;
	log_limited(LOG_INFORM, "DHCP: forcerenew");
	return true;
}

/* Whether a relay passes on what a client of another network asks.  The only
 * address there is belongs to who is on this link, so the request is ignored
 * (RFC 2131, 4.3.1), also before anything is remembered of it. */
static bool is_relayed(const struct request *r)
{
	struct rd in = rd_init(r->fixed + GIADDR, 4);
	struct addr relay = get_addr(&in);
	char text[ADDR_TEXT_LEN];

	if (addr_is_unspecified(&relay))
		return false;
	log_limited(LOG_INFORM, "DHCP: no address for the network of relay %s",
		    addr_text(&relay, text));
	return true;
}

bool dhcp_answer(const struct lan *lan, const struct packet *p, struct rd in,
		 struct rkap *c, struct answer *out)
{
	struct request r;
	struct stock s;
	uint8_t type;

	if (!serves(lan) || !parse(in, &r) || is_relayed(&r))
		return false;
	type = decide(lan, &r);
	r.file = boot_find(lan, &r.boot, true);
	remember(lan, p, in, &r, type, c);
	if (!type)
		return false;

	address(lan, lan->our4, destination(lan, &r, p, type), &p->smac, out);
	stock_fill(&s, lan, &r, type);
	put_fixed(&out->body, lan, &r, type);
	put_options(&out->body, &s, &r);
	if (!wr_ok(&out->body))
		return false;
	report(p, &r, type);
	return true;
}
