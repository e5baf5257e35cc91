/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * boot - which file a client that boots from the network is told of
 */
#ifndef BOOT_H
#define BOOT_H

#include "lan.h"

#include <stddef.h>

/* What a client says of itself, by either version of DHCP */
struct boot_client {
	bool ipxe;	     /* user class "iPXE" */
	bool pxe, http;	     /* class "PXEClient" or "HTTPClient" */
	const uint8_t *arch; /* 16 bits each, RFC 4578 and 5970; or NULL */
	size_t arch_len;
};

/* boot_class - note what @class, of @len bytes, begins with */
void boot_class(struct boot_client *c, const void *class, size_t len);

/* boot_user_class - note iPXE in a user class of any form */
void boot_user_class(struct boot_client *c, const void *class, size_t len);

/* boot_find - the entry for @c, or NULL: iPXE's before that of the architecture
 * before the default
 * Firmware's PXE takes no URL and its HTTP boot nothing else.  Entries whose
 * server is of the other family are passed over. */
const struct lan_boot *boot_find(const struct lan *l,
				 const struct boot_client *c, bool v4);

/* boot_parse - [ARCH=]FILE|URL[,SERVER]; false if @s is not that */
bool boot_parse(const char *s, struct lan_boot *b);

/* boot_is_url - whether @file has a scheme */
bool boot_is_url(const char *file);

#endif /* BOOT_H */
