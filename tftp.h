/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tftp - files of one directory for the guest, read-only
 */
#ifndef TFTP_H
#define TFTP_H

#include "lan.h"
#include "loop.h"
#include "packet.h"
#include "tap.h"

enum {
	TFTP_SERVER = 69,
	TFTP_SESSIONS = 16,	   /* transfers at a time */
	TFTP_WINDOW = 8,	   /* frames of a burst: QEMU's e1000 loses more */
	TFTP_BLOCK = 1500 - 20 - 8 - 4, /* longest that an Ethernet frame takes */
};

struct tftp;

/* Where a block begins: for text the file's offset says less than all */
struct tftp_place {
	uint64_t off;
	uint8_t owed; /* the second of two bytes that stand for one; else 0 */
	bool owes;
};

struct tftp_session {
	struct tftp *tftp;
	struct tuple t; /* as the guest's packets have it */
	struct mac mac;
	struct timer timer;
	int fd;	   /* -1: the transfer is over */
	bool used; /* else nothing here means anything */
	bool text; /* netascii */
	bool oack; /* options were accepted: block 0 */
	bool back; /* the window was repeated since it last moved */
	uint8_t options; /* enum tftp_option, as bits: what the OACK has */
	uint8_t tries;
	unsigned timeout_s, window, block;
	uint64_t size;
	uint64_t acked, sent; /* blocks, the last of each; 0 is the OACK */
	uint64_t last;	      /* number of the last block, 0: not known yet */
	struct tftp_place at[TFTP_WINDOW + 1]; /* of blocks after @acked */
};

struct tftp {
	struct loop *loop;
	struct tap *tap;
	const struct lan *lan;
	int dir; /* -1: there is no server */
	uint16_t serial;
	unsigned used; /* sessions */
	struct tftp_session session[TFTP_SESSIONS];
};

/* tftp_init - no server, until tftp_open() */
void tftp_init(struct tftp *t, struct loop *l, struct tap *tap,
	       const struct lan *lan);

/* tftp_open - serve what is below @path, before the sandbox; 0 or -errno
 * -ENOSYS: the kernel cannot keep us inside of it (before Linux 5.6). */
int tftp_open(struct tftp *t, const char *path);

/* tftp_is - whether the datagram @p is for us: to one of our addresses, a request
 * or part of a transfer */
bool tftp_is(struct tftp *t, const struct packet *p);

/* tftp_input - @in is the payload of @p, of which tftp_is() is true */
void tftp_input(struct tftp *t, const struct packet *p, struct rd in);

/* tftp_busy - whether a file is on its way */
bool tftp_busy(const struct tftp *t);

/* What a request says, RFC 1350 and 2347 */
enum tftp_option {
	TFTP_BLKSIZE = 1 << 0, /* RFC 2348 */
	TFTP_TIMEOUT = 1 << 1, /* RFC 2349 */
	TFTP_TSIZE = 1 << 2,   /* the same */
	TFTP_WINDOWSIZE = 1 << 3, /* RFC 7440 */
};

struct tftp_request {
	const char *name; /* in the request, NUL terminated */
	bool text;
	uint8_t options; /* those with a value that the RFC allows */
	unsigned blksize, timeout, windowsize;
};

/* tftp_parse - what follows the opcode of a read request; false: malformed
 * @r->name is below the directory and has no "..": NULL if it was not so. */
bool tftp_parse(struct rd in, struct tftp_request *r);

#endif /* TFTP_H */
