/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * boot - which boot file a client that boots from the network is told
 */
#ifndef BOOT_H
#define BOOT_H

#include "lan.h"

#include <stddef.h>

/* What a client says of itself in DHCP or DHCPv6 */
struct boot_client {
	bool ipxe;	     /* user class "iPXE" */
	bool pxe, http;	     /* vendor class "PXEClient", "HTTPClient" */
	const uint8_t *arch; /* architectures, 16 bits each (RFC 4578, RFC
				5970); or NULL */
	size_t arch_len;
};

/* boot_class - note which client the vendor class @class, of @len bytes, begins
 * with */
void boot_class(struct boot_client *c, const void *class, size_t len);

/* boot_user_class - note iPXE in a user class, in whatever format */
void boot_user_class(struct boot_client *c, const void *class, size_t len);

/* boot_find - the entry for client @c: that for iPXE, else for its
 * architecture, else the default; NULL if there is none
 * A PXE firmware is given no URL, but for a tftp one with IPv6, and HTTP boot
 * nothing but an http one.  Entries whose server is of the other family are
 * skipped. */
const struct lan_boot *boot_find(const struct lan *l,
				 const struct boot_client *c, bool v4);

/* boot_parse - parse [ARCH=]FILE|URL[,SERVER] into @b; false if @s is not
 * that */
bool boot_parse(const char *s, struct lan_boot *b);

/* boot_is_url - whether @file has a scheme */
bool boot_is_url(const char *file);

#endif /* BOOT_H */
