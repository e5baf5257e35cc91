/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * packet - from frames to checked headers and tuples, and from tuples to
 * headers
 *
 * packet_parse() is the only code that reads a frame's headers.  It copies them
 * once, because under vhost-user the guest may still be writing to the frame,
 * and fills in a description that is the same for both families.  From there on
 * nobody asks for AF_INET or AF_INET6.
 */
#ifndef PACKET_H
#define PACKET_H

#include "addr.h"
#include "cursor.h"
#include "util.h"

#include <linux/virtio_net.h>

#include <sys/uio.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

/* The virtio-net header in host byte order: the work that a frame still needs.
 * Values are those of linux/virtio_net.h. */
struct note {
	uint8_t flags;	      /* VIRTIO_NET_HDR_F_NEEDS_CSUM or 0 */
	uint8_t gso_type;     /* VIRTIO_NET_HDR_GSO_* */
	uint16_t hdr_len;     /* length of all headers, Ethernet to layer 4 */
	uint16_t gso_size;    /* payload bytes of each segment, if gso_type is
				 set */
	uint16_t csum_start;  /* sum from here to the end of the frame ... */
	uint16_t csum_offset; /* ... and store here, counted from csum_start */
};

/* note_get, note_put - convert from and to the little-endian header of virtio
 * 1.0 */
static inline struct note note_get(const struct virtio_net_hdr *h)
{
	return (struct note){
		.flags = h->flags,
		.gso_type = h->gso_type,
		.hdr_len = le16toh(h->hdr_len),
		.gso_size = le16toh(h->gso_size),
		.csum_start = le16toh(h->csum_start),
		.csum_offset = le16toh(h->csum_offset),
	};
}

static inline struct virtio_net_hdr note_put(const struct note *n)
{
	return (struct virtio_net_hdr){
		.flags = n->flags,
		.gso_type = n->gso_type,
		.hdr_len = htole16(n->hdr_len),
		.gso_size = htole16(n->gso_size),
		.csum_start = htole16(n->csum_start),
		.csum_offset = htole16(n->csum_offset),
	};
}

enum {
	ETH_HEAD = 14,
	IP4_HEAD = 20,
	IP6_HEAD = 40,
	IP6_FRAG_HEAD = 8,
	UDP_HEAD = 8,
	TCP_HEAD = 20,
	TCP_MSS_DEFAULT = 536, /* RFC 9293 3.7.1, IPv4 */
	ARP_BODY = 28,
	HEAD_MAX = ETH_HEAD + IP6_HEAD + 60, /* longest head that we write */
	FRAME_MIN = 60,	   /* IEEE 802.3 minimum without FCS: pad to it */
	FRAME_MAX = 65535, /* longest frame on any transport */
	PACKET_HDR = 192,  /* bytes of a frame that packet_parse() copies */
};

/* A frame that a transport lends until tap_release(), from the Ethernet header
 * on.  Outside of packet.c and pcap.c nobody reads it in place. */
struct frame {
	struct note note;
	struct iovec *iov; /* @one, or the transport's own array */
	unsigned iov_cnt;
	size_t len;
	struct iovec one;
};

/* The five-tuple of a packet.  Ports are in host order; for echo both are the
 * ICMP identifier. */
struct tuple {
	struct addr src, dst;
	uint16_t sport, dport;
	uint8_t proto; /* IPPROTO_TCP, _UDP, _ICMP or _ICMPV6 */
};

enum packet_kind {
	PACKET_ARP,
	PACKET_TCP,
	PACKET_UDP,
	PACKET_ICMP4,
	PACKET_ICMP6,
	PACKET_IGMP,
	PACKET_KINDS
};

/* Why a frame or packet went no further: each reason to drop has a name */
enum verdict {
	PASS,
	DROP_SHORT,	  /* ends inside a header or before its own length */
	DROP_ETHERTYPE,	  /* neither ARP, IPv4 nor IPv6 */
	DROP_FRAGMENT,	  /* fragment of IPv4 or IPv6, for frag.c; there, a
			     duplicate */
	DROP_OVERLAP,	  /* fragment that contradicts another one of its
			     datagram */
	DROP_REASSEMBLY,  /* datagram of which fragments were still missing */
	DROP_CHECKSUM,	  /* reassembled datagram with a wrong checksum */
	DROP_LOOPBACK,	  /* loopback address on the guest's link */
	DROP_EXTENSION,	  /* IPv6 extension header unknown or chain too long */
	DROP_PROTOCOL,	  /* layer 4 that we do not carry, or disabled */
	DROP_MALFORMED,	  /* contradicting lengths, bad version */
	DROP_ENDPOINT,	  /* address or port that cannot be an endpoint */
	DROP_NO_ROUTE,	  /* no destination, by the forwarding policy */
	DROP_DENIED,	  /* the user forbids it: --allow-out, --deny-out */
	DROP_NO_FLOW,	  /* table full or socket refused */
	DROP_NO_ROOM,	  /* the guest takes no more */
	DROP_SOCKET,	  /* the socket refused the data */
	DROP_UNWANTED,	  /* valid, but not something we answer */
	DROP_TOO_BIG,	  /* does not fit a frame */
	DROP_CONN,	  /* transport not connected */
	VERDICTS
};

/* verdict_name - the name of a verdict, for --stats and messages */
const char *verdict_name(enum verdict v);

/* A packet from the guest: checked, in our memory, the same for both
 * families */
struct packet {
	struct tuple t;
	struct packet *next;	   /* next in its flow's inbox */
	struct packet *tail;	   /* in the first packet of an inbox: the last
				      one */
	const struct frame *frame; /* where the payload bytes are */
	uint32_t flow_label;	   /* IPv6 only, else 0 */
	uint32_t payload_len;	   /* bytes behind the layer-4 header */
	uint16_t payload_off;	   /* from the start of the frame */
	uint16_t l3_off, l4_off;   /* into @hdr */
	uint16_t hdr_len;	   /* valid bytes of @hdr */
	uint16_t gso_size;	   /* UDP: payload bytes of each datagram of a
				      run, or 0 */
	uint8_t kind;		   /* enum packet_kind */
	union {
		struct {
			uint8_t ttl, tos; /* hop limit, traffic class */
			bool df; /* IPv4 DF, always true for IPv6 */
			uint8_t zero;
		};
		uint32_t sent_as; /* all of these at once, for comparison */
	};
	uint8_t proto_off;	   /* IPv6: offset from @l3_off of the
				      next-header field that names layer 4 */
	/* With DROP_FRAGMENT: the payload is the data of the fragment.  A first
	 * fragment has all headers. */
	bool frag_more;
	uint16_t frag_off;  /* in bytes */
	uint16_t frag_head; /* header bytes that count against the datagram's 64
			       KiB */
	uint32_t frag_id;
	struct mac smac, dmac;
	/* Fields of the fixed TCP header; type and code of ICMP, type of IGMP.
	 * The payload of ICMP and IGMP starts at the type byte, that of ARP
	 * behind the Ethernet header. */
	uint32_t seq, ack;
	uint16_t window;
	uint8_t tcp_flags; /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 */
	uint8_t icmp_type, icmp_code;
	uint8_t hdr[PACKET_HDR]; /* copy of the frame's first bytes */
};

enum {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_PSH = 8,
	TCP_ACK = 16,
	TCP_URG = 32
};

/* packet_parse - check frame @f and describe it in @p
 * Returns PASS, or the reason to drop it.  In the latter case only @p->smac and
 * @p->dmac are valid, if the frame has 14 bytes; with DROP_FRAGMENT so is all
 * that frag.c needs.  Padding behind the length that IP states is cut off for
 * both families.  IPv6 hop-by-hop, routing and destination headers are skipped,
 * and so is the fragment header of an atomic fragment (RFC 6946).  Layer-4
 * checksums are not verified, since they may be unfinished (spec: callers
 * 2.1.9). */
enum verdict packet_parse(const struct frame *f, struct packet *p);

/* packet_iov - describe up to @len payload bytes from offset @off in @iov
 * Returns the number of entries, at most @max, and their bytes in *@got, as
 * iov_slice() does. */
unsigned packet_iov(const struct packet *p, size_t off, size_t len,
		    struct iovec *iov, unsigned max, size_t *got);

/* packet_copy - copy up to @len payload bytes from offset @off to @dst; returns
 * how many */
size_t packet_copy(const struct packet *p, size_t off, void *dst, size_t len);

/* packet_sum_ok - whether the layer-4 checksum is right, or UDP over IPv4 has
 * none
 * Only for frames whose checksum is known to be finished. */
bool packet_sum_ok(const struct packet *p);

/* packet_l4 - a reader over the copied bytes from the layer-4 header on
 * It ends where the copy does: enough for headers and options, not for
 * payload. */
struct rd packet_l4(const struct packet *p);

/* The packets of one burst, part of guest.c's state */
enum { PACKET_BATCH = 64 };
struct packet_pool {
	unsigned n;
	struct packet p[PACKET_BATCH];
};

/* --- towards the guest ------------------------------------------------- */

/* By which lane of the link the guest's frames of a flow should come, apart
 * from those of other flows (see tap_tun.h).  LANE_OTHER: what belongs to no
 * flow and answers of ours, which is what a flood is made of.  LANE_DGRAM:
 * datagrams.  LANE_CONN: connections, whose frames are mostly ACKs that others
 * wait for.  LANE_BULK: flows that send much. */
enum lane { LANE_OTHER, LANE_DGRAM, LANE_CONN, LANE_BULK };

/* What a protocol states about an outgoing packet below layer 4 */
struct head {
	struct mac src, dst;
	struct tuple t;
	uint32_t flow_label;
	uint8_t ttl; /* 0 means 255 */
	uint8_t tos;
	/* For a fragment its identification, its offset in bytes, and whether
	 * others follow; else all 0, but an IPv4 packet that may be fragmented
	 * has an identification, too */
	uint32_t frag_id;
	uint16_t frag_off;
	bool frag_more;
	uint8_t lane; /* enum lane, see struct slot */
};

struct tcp_head {
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	uint8_t opt_len; /* a multiple of 4, at most 40 */
	uint8_t opt[40];
};

/* head_len - bytes of Ethernet and IP header for the family of @t */
static inline size_t head_len(const struct tuple *t)
{
	return addr_is_v4(&t->src) ? ETH_HEAD + IP4_HEAD : ETH_HEAD + IP6_HEAD;
}

/* frag_head_len - bytes of Ethernet and IP header of a fragment, for the family
 * of @t */
static inline size_t frag_head_len(const struct tuple *t)
{
	return head_len(t) + (addr_is_v4(&t->src) ? 0 : IP6_FRAG_HEAD);
}

/* packet_put_ip - write Ethernet and IP header for @l4_len bytes of layer 4 to
 * @at, which needs no alignment
 * IPv4 has id 0 and DF, unless @h has a @frag_id, and a finished header
 * checksum; the length field of a run that is too long for it is 0, as Linux
 * writes it (BIG TCP).  Returns the bytes written: head_len(), or
 * frag_head_len() of a fragment. */
size_t packet_put_ip(uint8_t *at, const struct head *h, size_t l4_len);

/* packet_put_udp, packet_put_tcp - write the headers from Ethernet to layer 4
 * for @payload bytes
 * The checksum field gets the sum of the pseudo-header, and @n says that the
 * rest is to be done (NEEDS_CSUM).  If the payload is a run of segments the
 * caller adds gso_type and gso_size to @n; the pseudo-header covers the whole
 * run.  Returns the bytes written. */
size_t packet_put_udp(uint8_t *at, const struct head *h, size_t payload,
		      struct note *n);
size_t packet_put_tcp(uint8_t *at, const struct head *h,
		      const struct tcp_head *th, size_t payload,
		      struct note *n);

/* packet_finish_udp - finish the checksum that packet_put_udp() has left to do,
 * of one datagram (not a run) with its header at @udp and @len bytes of
 * payload */
void packet_finish_udp(uint8_t *udp, const uint8_t *payload, size_t len);

/* A packet to send, as an answerer states it.  @body holds for ARP the 28 bytes
 * behind the Ethernet header, for UDP the payload, for ICMP and ICMPv6 the
 * message.  Lengths and checksums are filled in by who sends it. */
struct answer {
	struct head head;
	bool arp; /* ARP: only the MAC addresses of @head count */
	bool alert; /* with the Router Alert option (RFC 2113, RFC 2711), for
		       group memberships */
	struct wr body;
};

enum { ANSWER_MAX = 1500 }; /* bytes of room that the caller gives @body */

/* packet_answer_head - write the headers of @a to @at, of HEAD_MAX bytes
 * All checksums are finished, that of ICMP inside @a->body: a program with a
 * packet or raw socket sees frames before the guest's kernel completes them,
 * and many do not know that a checksum may be unfinished.  Returns the length;
 * the frame's note is all zero. */
size_t packet_answer_head(uint8_t *at, struct answer *a);

#endif /* PACKET_H */
