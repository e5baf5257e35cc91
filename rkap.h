/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rkap - how a DHCP client knows that it is us who want it to ask again
 *
 * The Reconfigure Key Authentication Protocol of DHCPv6 (RFC 8415, 20.4), and what
 * DHCP has of it (RFC 6704): a client that can do it gets a key with its lease, in
 * the clear, and a digest with each wish that it asks again.  The option of both
 * is the same but for its head.  There is one client, the last one: its request is
 * kept, so that what it would be answered now can be compared.
 */
#ifndef RKAP_H
#define RKAP_H

#include "addr.h"
#include "cursor.h"
#include "md5.h"
#include "siphash.h"

enum {
	RKAP_LEN = 28, /* of the option's value */
	RKAP_REQUEST = 1024, /* who sends a longer one is not called */
};

struct rkap {
	const struct siphash_key *secret; /* what keys are drawn from */
	bool on; /* there is somebody who may be called; else no more holds */
	uint8_t key[MD5_LEN];
	uint64_t count; /* replay counter, as sent last: a time */
	struct mac mac;
	struct addr client, server; /* as they know each other */
	uint8_t told[MD5_LEN]; /* sum of what it was answered */
	uint16_t len;
	uint8_t request[RKAP_REQUEST];
};

/* rkap_keep - its request, if it is not too long: it may be called from now on */
bool rkap_keep(struct rkap *r, struct rd request);

/* rkap_new_key - another key than all before */
void rkap_new_key(struct rkap *r);

/* rkap_put_key - the option's value with the key */
void rkap_put_key(struct rkap *r, struct wr *w);

/* rkap_put_digest - the same with room for a digest of the message */
void rkap_put_digest(struct rkap *r, struct wr *w);

/* rkap_sign - the message is complete, the value that has the digest is at @at */
void rkap_sign(const struct rkap *r, struct wr *w, size_t at);

/* rkap_save, rkap_load - what our successor goes on with */
void rkap_save(const struct rkap *r, struct wr *w);
void rkap_load(struct rkap *r, struct rd *in);

#endif /* RKAP_H */
