/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * follow - changes of the host's network become changes of the guest's
 *
 * The kernel's notifications say that something has changed.  What it is, is
 * not read from them: after a moment the whole state is looked at once, in
 * steps, however many messages there were.  So nothing is done while nothing
 * changes, and a storm of changes costs one look.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "events.h"
#include "listen.h"
#include "neighwatch.h"
#include "nslink.h"
#include "renew.h"

enum {
	FOLLOW_SETTLE_MS = 100,	 /* wait before a look: a change has several
				    parts */
	FOLLOW_BUSY_MS = 800,	 /* longest wait, if changes do not end */
	FOLLOW_ERROR_MS = 5000,	 /* wait after a look that failed */
	FOLLOW_CALM_MS = 1000,	 /* without a change for so long, the wait is
				    short again */
	FOLLOW_PATIENCE_MS = 10000, /* what has gone may come back for so
				       long */
	FOLLOW_FAREWELL_MS = 1000,  /* time for resets to arrive */
};

/* What there is to do, bits */
enum {
	FOLLOW_PLAN = 1,      /* a template is different: plan again */
	FOLLOW_COPY = 2,      /* copied addresses or routes may be different */
	FOLLOW_ADDRESSES = 4, /* addresses of the host have come or gone */
	FOLLOW_WAIT = 8,      /* a template has gone, which may not last */
};

/* follow_decide - compare two looks, @was and @is: returns what there is to do
 * @t are the templates in force and become the next ones.  A family that has
 * lost its template keeps the old one as long as it is @patient.  Pure. */
unsigned follow_decide(const struct hostnet_view *was,
		       const struct hostnet_view *is, const bool patient[2],
		       struct template t[2]);

struct follow {
	/* Set by the caller before follow_start() */
	struct loop *loop;
	struct renew *renew;
	struct neighwatch *neigh;
	struct flows *flows;
	struct listen *listen;
	struct nslink *link; /* NULL: the link is not ours to configure */
	struct events *events; /* NULL: only the log is told */
	struct egress_local *local; /* local networks in force, if @look
				       collects them */
	struct netlink nl;
	struct hostnet look;	  /* the look under way */
	struct hostnet_view seen; /* what the last complete look saw */
	struct addrset here;	  /* the host's addresses that it saw */
	bool many;		  /* there are more of them than fit */
	/* Addresses that it saw no more: @late are those that went while
	 * @streams' timer was running already */
	struct addrset gone, late;
	uint64_t late_ms; /* when the last one of @late went */
	int fd;			  /* the socket for notifications */
	unsigned watch;
	bool deaf;		  /* @fd is not watched */
	bool looking, again; /* a look is under way; something has changed since
				it began */
	unsigned pause_ms;   /* wait before the next look */
	uint64_t done_ms;    /* when the last look was complete */
	unsigned looks;	     /* looks that were complete */
	unsigned await;	     /* number of @looks to be reached before streams
				are reset; 0: not decided */
	struct timer timer;
	/* For what is done when something has been gone for a while */
	struct timer lost;
	bool kept[2];	     /* families of which it was logged that they have
				gone */
	uint64_t lost_ms[2]; /* since when a family has had no template, 0: it
				has one */
	struct timer bind;   /* opens listeners that have waited for what is
				there now */
	struct follow_pass {
		struct timer timer;
		bool stream;
		unsigned at, dropped; /* flows looked at, and reset */
	} datagrams, streams; /* walks that end flows whose address has gone:
				 datagrams at once, streams later */
	struct timer purge;   /* removes addresses from the namespace that
				 nobody needs */
};

/* follow_start - begin to follow the host's network; @look is what was seen
 * when the first plan was made
 * Returns 0 or -errno. */
int follow_start(struct follow *f, const struct hostnet *look);

#endif /* FOLLOW_H */
