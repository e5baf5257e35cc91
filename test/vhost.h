/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost-user as QEMU's docs/interop/vhost-user.rst has it, for those who play a
 * front-end.  Not the product's own: what that has wrong would be wrong on both
 * sides.
 */
#ifndef TEST_VHOST_H
#define TEST_VHOST_H

#include <stdint.h>

enum { /* requests */
	GET_FEATURES = 1,
	SET_FEATURES,
	SET_OWNER,
	RESET_OWNER,
	SET_MEM_TABLE,
	SET_LOG_BASE,
	SET_LOG_FD,
	SET_VRING_NUM,
	SET_VRING_ADDR,
	SET_VRING_BASE,
	GET_VRING_BASE,
	SET_VRING_KICK,
	SET_VRING_CALL,
	SET_VRING_ERR,
	GET_PROTOCOL,
	SET_PROTOCOL,
	GET_QUEUE_NUM,
	SET_VRING_ENABLE,
	SEND_RARP,
	GET_MEM_SLOTS = 36,
	ADD_MEM_REG,
	REM_MEM_REG,
	SET_DEVICE_STATE_FD = 42,
	CHECK_DEVICE_STATE,
};

enum {
	MSG_HEAD = 12, /* bytes in front of what @size counts */
	/* flags */
	MSG_VERSION = 1,
	MSG_REPLY = 4,
	MSG_NEED_REPLY = 8,
	/* with the number of a ring, or as an answer about the device's state */
	NO_FD = 1 << 8,
	/* features, and of the protocol */
	F_LOG_ALL = 26,
	F_PROTOCOL = 30,
	PROTO_MQ = 0,
	PROTO_LOG_SHMFD = 1,
	PROTO_REPLY_ACK = 3,
	PROTO_MEM_SLOTS = 15,
	PROTO_DEVICE_STATE = 19,
	/* features that older headers lack */
	F_GUEST_USO4 = 54,
	F_GUEST_USO6 = 55,
	F_HOST_USO = 56,
};

struct msg {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		uint32_t state[2];
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, padding;
			struct {
				uint64_t gpa, size, uva, offset;
			} r[8];
		} mem;
		uint8_t bytes[512];
	} u;
} __attribute__((packed));

#endif /* TEST_VHOST_H */
