/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowpage - the page /flows: who is connected with whom
 *
 * JSON, or with ?format=tsv, for pesto, a line
 *
 * 	#flows 1 LABEL
 *
 * followed by one for each flow, which has the fields of enum flowpage_field
 * separated by tabs, "-" where unknown.  ?port=N and ?address=A select the
 * flows that have it, on whichever side.
 */
#ifndef FLOWPAGE_H
#define FLOWPAGE_H

#include "flow.h"
#include "http.h"

#define FLOWPAGE_HEAD "#flows 1 "

enum flowpage_field {
	FIELD_ID,    /* unique among the last 2^32 flows */
	FIELD_PROTO, /* "tcp", "udp", "icmp" */
	FIELD_PATH,  /* "guest", or "spliced" from socket to socket */
	FIELD_FROM,  /* which end began it: "guest" or "host" */
	FIELD_STATE,
	FIELD_GUEST, /* the guest's address and port, and its peer's */
	FIELD_GUEST_PORT,
	FIELD_GUEST_PEER,
	FIELD_GUEST_PEER_PORT,
	FIELD_HOST, /* likewise for our socket on the host */
	FIELD_HOST_PORT,
	FIELD_HOST_PEER,
	FIELD_HOST_PEER_PORT,
	FIELD_TO_HOST, /* bytes */
	FIELD_TO_GUEST,
	FIELD_QUEUE_TO_HOST,
	FIELD_QUEUE_TO_GUEST,
	FIELD_AGE, /* ms */
	FIELDS
};

struct flowpage {
	const struct flows *flows;
	const char *label; /* without " and \ */
};

/* flowpage - the page; its owner is a struct flowpage */
extern const struct http_page flowpage;

#endif /* FLOWPAGE_H */
