/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dnsname - domain names in DNS wire form (RFC 1035 3.1 and 4.1.4)
 *
 * Both functions append a name to a writer or leave it as it was.  They refuse
 * an empty name, the root, an empty label, a label of more than 63 bytes, a
 * name of more than 255 and what does not fit.  One trailing dot is ignored.
 */
#ifndef DNSNAME_H
#define DNSNAME_H

#include "cursor.h"

enum { DNSNAME_MAX = 255 }; /* longest wire form, with the root label */

/* dnsname_put - append @name without compression */
bool dnsname_put(struct wr *w, const char *name);

/* dnsname_pack - append @name, compressed: its end may be shared with a name
 * before it
 * @w must have nothing but such names; pointers count from its first byte. */
bool dnsname_pack(struct wr *w, const char *name);

#endif /* DNSNAME_H */
