/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tftp - files of one directory for the guest, read-only
 */
#ifndef TFTP_H
#define TFTP_H

#include "fdlist.h"
#include "lan.h"
#include "loop.h"
#include "packet.h"
#include "tap.h"

enum {
	TFTP_SERVER = 69,
	TFTP_SESSIONS = 16,	   /* most transfers at a time */
	TFTP_WINDOW = 8,	   /* most blocks of a window: QEMU's e1000
				      loses longer bursts */
	TFTP_BLOCK = 1500 - 20 - 8 - 4, /* longest block that an Ethernet frame
					   holds */
};

struct tftp;

/* Where a block begins: for netascii the file's offset alone does not say */
struct tftp_place {
	uint64_t off;
	uint8_t owed; /* with @owes: the second of two bytes that stand for
			 one */
	bool owes;
};

struct tftp_session {
	struct tftp *tftp;
	struct tuple t; /* tuple of the guest's packets */
	struct mac mac;
	struct timer timer;
	int fd;	   /* -1: the transfer is over */
	bool used; /* if not, nothing here is valid */
	bool text; /* netascii */
	bool oack; /* options were accepted: an OACK is sent as block 0 */
	bool back; /* the window was sent again since it last moved */
	uint8_t options; /* TFTP_* bits: options in the OACK */
	uint8_t tries;
	unsigned timeout_s, window, block;
	uint64_t size;
	uint64_t acked, sent; /* the last block acknowledged, and sent; 0 is the
				 OACK */
	uint64_t last;	      /* number of the last block, 0: unknown yet */
	struct tftp_place at[TFTP_WINDOW + 1]; /* where the blocks after @acked
						  begin */
};

struct tftp {
	struct loop *loop;
	struct tap *tap;
	const struct lan *lan;
	int dir; /* -1: there is no server */
	uint16_t serial;
	unsigned used; /* sessions in use */
	struct tftp_session session[TFTP_SESSIONS];
};

/* tftp_init - set up @t; there is no server until tftp_open() */
void tftp_init(struct tftp *t, struct loop *l, struct tap *tap,
	       const struct lan *lan);

/* tftp_open - serve the files below @path; before the sandbox
 * Returns 0 or -errno; -ENOSYS if the kernel cannot confine us to a directory
 * (before Linux 5.6). */
int tftp_open(struct tftp *t, const char *path);

/* tftp_is - whether datagram @p is for us: sent to one of our addresses, and a
 * request or part of a transfer */
bool tftp_is(struct tftp *t, const struct packet *p);

/* tftp_input - process datagram @p, for which tftp_is() is true; @in is its
 * payload */
void tftp_input(struct tftp *t, const struct packet *p, struct rd in);

/* tftp_save - append what a successor needs to go on with all transfers to @w,
 * and their files to @fds
 * tftp_load - go on with them; without a server they end
 * The latter returns false if the data are not sane. */
void tftp_save(const struct tftp *t, struct wr *w, struct fdlist *fds);
bool tftp_load(struct tftp *t, struct rd *r, struct fdlist *fds);

/* Options of a request (RFC 2347) */
enum tftp_option {
	TFTP_BLKSIZE = 1 << 0, /* RFC 2348 */
	TFTP_TIMEOUT = 1 << 1, /* RFC 2349 */
	TFTP_TSIZE = 1 << 2,   /* RFC 2349 */
	TFTP_WINDOWSIZE = 1 << 3, /* RFC 7440 */
};

struct tftp_request {
	const char *name; /* NUL terminated, inside of the request */
	bool text;
	uint8_t options; /* bits of the options whose values the RFCs allow */
	unsigned blksize, timeout, windowsize;
};

/* tftp_parse - parse what follows the opcode of a read request (RFC 1350);
 * false: malformed
 * @r->name is relative to the directory and has no ".."; NULL if it would have
 * led out of it. */
bool tftp_parse(struct rd in, struct tftp_request *r);

#endif /* TFTP_H */
