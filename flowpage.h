/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowpage - the page /flows: what is connected with what
 *
 * JSON, or with ?format=tsv what pesto wants to have: a line
 *
 *	#flows 1 LABEL
 *
 * and one for each flow, whose fields are those of enum flowpage_field with a
 * tab between, or "-" for what nobody knows.  ?port=N and ?address=A leave those
 * that have it, on whatever side.
 */
#ifndef FLOWPAGE_H
#define FLOWPAGE_H

#include "flow.h"
#include "http.h"

#define FLOWPAGE_HEAD "#flows 1 "

enum flowpage_field {
	FIELD_ID,    /* no other flow has it, among the last 2^32 */
	FIELD_PROTO, /* "tcp", "udp", "icmp" */
	FIELD_PATH,  /* "guest", or "spliced" from socket to socket */
	FIELD_FROM,  /* who began it: "guest" or "host" */
	FIELD_STATE,
	FIELD_GUEST, /* its address, and what it talks to */
	FIELD_GUEST_PORT,
	FIELD_GUEST_PEER,
	FIELD_GUEST_PEER_PORT,
	FIELD_HOST, /* the same of our socket on the host */
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

/* flowpage - /flows, whose owner is a struct flowpage */
extern const struct http_page flowpage;

#endif /* FLOWPAGE_H */
