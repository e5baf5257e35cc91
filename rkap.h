/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rkap - how a DHCP client knows that it is us who tell it to ask again
 *
 * The Reconfigure Key Authentication Protocol of DHCPv6 (RFC 8415, 20.4), and
 * what DHCP has of it (RFC 6704).  A client that supports it gets a key with
 * its lease, in clear text, and a digest with each message that tells it to ask
 * again.  The option is the same in both protocols but for its head.  We
 * remember one client, the last one: its request is kept, so that what it would
 * be answered now can be compared.
 */
#ifndef RKAP_H
#define RKAP_H

#include "addr.h"
#include "cursor.h"
#include "md5.h"
#include "siphash.h"

enum {
	RKAP_LEN = 28, /* bytes of the option's value */
	RKAP_REQUEST = 1024, /* a client with a longer request is not
				remembered */
};

struct rkap {
	const struct siphash_key *secret; /* keys are derived from it */
	bool on; /* a client is known; if not, nothing below is valid */
	uint8_t key[MD5_LEN];
	uint64_t count; /* the replay counter sent last: a time */
	struct mac mac;
	struct addr client, server; /* addresses of both ends */
	uint8_t told[MD5_LEN]; /* digest of its last answer */
	uint16_t len;
	uint8_t request[RKAP_REQUEST];
};

/* rkap_keep - remember the client by its request; false if that is too long */
bool rkap_keep(struct rkap *r, struct rd request);

/* rkap_new_key - make a new key, different from all before */
void rkap_new_key(struct rkap *r);

/* rkap_put_key - write the option's value with the key */
void rkap_put_key(struct rkap *r, struct wr *w);

/* rkap_put_digest - write the option's value with room for a digest of the
 * message */
void rkap_put_digest(struct rkap *r, struct wr *w);

/* rkap_sign - the message in @w is complete: fill in the digest in the value at
 * @at */
void rkap_sign(const struct rkap *r, struct wr *w, size_t at);

/* rkap_save, rkap_load - write and read the client for a successor */
void rkap_save(const struct rkap *r, struct wr *w);
void rkap_load(struct rkap *r, struct rd *in);

#endif /* RKAP_H */
