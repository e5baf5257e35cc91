/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate - a guest's connections, to and from another host
 *
 * What moves are TCP connections whose handshakes are done.  On both hosts a
 * passt-repair must be there, which has the right to set TCP_REPAIR.  Where
 * there is none the guest moves all the same, and its connections are reset.
 */
#ifndef MIGRATE_H
#define MIGRATE_H

#include "device_state.h"
#include "migrate_stream.h"
#include "repair.h"

enum {
	MIGRATE_HELPER_MS = 50, /* how long to wait for a helper to connect */
};

/* A connection that moves */
struct moving {
	struct tcp_image image;
	unsigned index; /* number of the flow, ... */
	uint32_t gen;	/* ... if it still has this generation */
	int fd;		/* its socket, -1 */
};

enum migrate_step {
	MIGRATE_IDLE,
	SAVE_HELPER, /* wait for a helper */
	SAVE_HOLD,   /* hold connections and put their sockets into repair
			mode */
	SAVE_HEAD,
	SAVE_FLOWS,
	SAVE_SOCKS,
	SAVE_OVER, /* saved: as far as we know the guest runs neither here nor
		      there */
	SAVE_BACK, /* the guest runs here again: connections go on */
	LOAD_HEAD,
	LOAD_FLOWS,
	LOAD_HELPER,
	LOAD_REPAIR,
	LOAD_SOCK,
	LOAD_QUEUES,
	LOAD_OVER, /* loaded, but the guest does not run yet */
	LOAD_LAST, /* the guest runs: sockets leave repair mode, connections go
		      on */
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
	int result; /* result, once @over */
	int fd;	    /* the stream, -1 */
	bool watched;
	bool unwatched; /* it should be watched, but epoll_ctl() failed */
	unsigned watch;
	struct timer timer; /* ends the wait for a helper; or when to try
			       again */
	struct moving *m;   /* FLOW_MAX, mapped */
	unsigned n, at;	    /* how many, and the next one */
	unsigned batch;	    /* how many sockets, from @at on, the helper has
			       now */
	unsigned lost;	    /* connections that could not be moved */
	uint8_t *buf;	    /* the queues of one connection, or records;
			       mapped */
	size_t off, len, want; /* @off bytes of @len were written, or @len of
				  @want were read */
};

/* migrate_init - set up @m and plant the functions that @m->state and @repair
 * call; 0 or -errno */
int migrate_init(struct migrate *m, struct tcp *tcp, struct seen *seen,
		 struct repair *repair);

#endif /* MIGRATE_H */
