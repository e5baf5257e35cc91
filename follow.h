/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * follow - what the host's network becomes while we run, the guest's becomes
 *
 * The kernel tells that something has changed, not what: after a moment all of it
 * is looked at once, in steps, however many messages there were.  So nothing is
 * done in a quiet second, and a storm costs one look.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "events.h"
#include "listen.h"
#include "neighwatch.h"
#include "nslink.h"
#include "renew.h"

enum {
	FOLLOW_SETTLE_MS = 100,	 /* a change has several parts */
	FOLLOW_BUSY_MS = 800,	 /* between looks, if there is always another */
	FOLLOW_ERROR_MS = 5000,	 /* when it failed */
	FOLLOW_CALM_MS = 1000,	 /* when there was none for so long */
	FOLLOW_PATIENCE_MS = 10000, /* what is gone may come back */
	FOLLOW_FAREWELL_MS = 1000,  /* for resets to arrive */
};

/* What there is to do */
enum {
	FOLLOW_PLAN = 1,      /* another template: plan again */
	FOLLOW_COPY = 2,      /* what is copied may be different */
	FOLLOW_ADDRESSES = 4, /* of the host have come or gone */
	FOLLOW_WAIT = 8,      /* there is no template now, which may not last */
};

/* follow_decide - from what was seen to what is: the sum of the above
 * @t are the templates in force, which become the next ones.  A family that has
 * lost its own keeps it until its @patient is false.  Pure. */
unsigned follow_decide(const struct hostnet_view *was,
		       const struct hostnet_view *is, const bool patient[2],
		       struct template t[2]);

struct follow {
	/* The caller's, before follow_start() */
	struct loop *loop;
	struct renew *renew;
	struct neighwatch *neigh;
	struct flows *flows;
	struct listen *listen;
	struct nslink *link; /* NULL: not ours to configure */
	struct events *events; /* NULL: nobody is told but the log */
	struct egress_local *local; /* those in force, if @look has some */
	struct netlink nl;
	struct hostnet look;	  /* under way */
	struct hostnet_view seen; /* by the last one that was done */
	struct addrset here;	  /* addresses that it saw */
	bool many;		  /* and there are more of them */
	/* and what it did not any more: since the streams' timer runs, later */
	struct addrset gone, late;
	uint64_t late_ms; /* when the last one went */
	int fd;			  /* of notifications */
	unsigned watch;
	bool deaf;		  /* nothing is expected of it */
	bool looking, again; /* a look is under way; something has changed since */
	unsigned pause_ms;   /* before the next one */
	uint64_t done_ms;    /* when the last one was */
	unsigned looks;	     /* that did not fail */
	unsigned await;	     /* so many there are to be before a reset, 0: does not matter */
	struct timer timer;
	/* What is put off until it has been gone for a while */
	struct timer lost;
	bool kept[2];	     /* families that it is told of that they are gone */
	uint64_t lost_ms[2]; /* since when a family has no template; 0: it has */
	struct timer bind;   /* listeners that have waited for what is there now */
	struct follow_pass {
		struct timer timer;
		bool stream;
		unsigned at, dropped; /* how many were looked at, and reset */
	} datagrams, streams; /* flows whose address has gone: at once, later */
	struct timer purge;   /* addresses of the namespace that nobody needs */
};

/* follow_start - follow the host from what was planned with, which was seen by
 * @look; 0 or -errno */
int follow_start(struct follow *f, const struct hostnet *look);

#endif /* FOLLOW_H */
