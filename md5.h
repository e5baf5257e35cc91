/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * md5 - MD5 (RFC 1321) and HMAC-MD5 (RFC 2104), as the DHCP protocols require
 *
 * Not for anything that we could choose.
 */
#ifndef MD5_H
#define MD5_H

#include <stddef.h>
#include <stdint.h>

enum { MD5_LEN = 16 };

/* md5 - the MD5 digest of @len bytes at @p */
void md5(const void *p, size_t len, uint8_t out[MD5_LEN]);

/* md5_hmac - the HMAC-MD5 of @len bytes at @p; a key of more than 64 bytes, a
 * block, is hashed first */
void md5_hmac(const void *key, size_t key_len, const void *p, size_t len,
	      uint8_t out[MD5_LEN]);

#endif /* MD5_H */
