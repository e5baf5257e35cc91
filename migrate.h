/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate - a guest's connections, to and from another host
 *
 * What moves are TCP connections whose handshakes are done; a passt-repair that has
 * the right to take sockets apart has to be there on both hosts.  Where there is none
 * the guest moves all the same, and its connections are reset.
 */
#ifndef MIGRATE_H
#define MIGRATE_H

#include "device_state.h"
#include "migrate_stream.h"
#include "repair.h"

enum {
	MIGRATE_HELPER_MS = 50, /* a helper may be on its way */
};

/* A connection that moves */
struct moving {
	struct tcp_image image;
	unsigned index; /* of the flow, */
	uint32_t gen;	/* if it still is that one */
	int fd;		/* its socket, -1 */
};

enum migrate_step {
	MIGRATE_IDLE,
	SAVE_HELPER, /* waits for one */
	SAVE_HOLD,   /* has connections stand still and their sockets repaired */
	SAVE_HEAD,
	SAVE_FLOWS,
	SAVE_SOCKS,
	SAVE_OVER, /* the guest runs neither here nor there, as far as we know */
	SAVE_BACK, /* it runs here again: connections go on */
	LOAD_HEAD,
	LOAD_FLOWS,
	LOAD_HELPER,
	LOAD_REPAIR,
	LOAD_SOCK,
	LOAD_QUEUES,
	LOAD_OVER, /* all is here, but the guest does not run yet */
	LOAD_LAST, /* it does: sockets leave repair mode, connections go on */
};

struct migrate {
	struct device_state state;
	struct loop *loop;
	struct tcp *tcp;
	struct seen *seen;
	struct repair *repair;
	bool exit_after; /* --migrate-exit */
	bool no_linger;	 /* --migrate-no-linger */
	enum migrate_step step;
	bool begun, loads, over;
	int result; /* of what is @over */
	int fd;	    /* the stream, -1 */
	bool watched;
	bool unwatched; /* it is to be, and the kernel has refused */
	unsigned watch;
	struct timer timer; /* a helper may come until then; or when to try again */
	struct moving *m;   /* FLOW_MAX, mapped */
	unsigned n, at;	    /* how many, which of them is next */
	unsigned batch;	    /* sockets that the helper has just now, from @at on */
	unsigned lost;	    /* could not be moved */
	uint8_t *buf;	    /* one connection's queues, or records; mapped */
	size_t off, len, want; /* written or read, of so many */
};

/* migrate_init - plants what is called in @m->state and @repair; 0 or -errno */
int migrate_init(struct migrate *m, struct tcp *tcp, struct seen *seen,
		 struct repair *repair);

#endif /* MIGRATE_H */
