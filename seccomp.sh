#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# seccomp.sh OUT FILE... - system call filters from the notes beside the calls
#
# A note is a comment that contains "#syscalls NAME...", for all modes, or
# "#syscalls:MODE NAME...", MODE being passt, pasta or vu.  It ends with the
# comment, the line, or the next note.  ARCH:NAME is for one architecture, by
# the first part of "$CC -dumpmachine".  Names that the target's headers do not
# know are left out, so a note may list all variants of a call.
#
# The filter is a binary search over the ends of runs of allowed numbers.  What
# happens to other calls is SECCOMP_DENY, which may be given in CFLAGS: build
# with -DSECCOMP_DENY=SECCOMP_RET_LOG to find notes that are missing; see the
# kernel's log.  The header is written only if it changed.

set -e
export LC_ALL=C
: "${CC:=cc}"
out=$1
shift
arch=$($CC -dumpmachine | sed 's/-.*//; s/^i[3-6]86$/i686/; s/^arm.*/arm/')

# mode and name, one pair a line
notes() {
	awk -v arch="$arch" '
	{
		rest = $0
		while ((at = index(rest, "#syscalls"))) {
			rest = substr(rest, at + 9)
			note = rest
			sub(/\*\/.*/, "", note)
			sub(/#syscalls.*/, "", note)
			mode = "all"
			if (note ~ /^:/) {
				mode = note
				sub(/^:/, "", mode)
				sub(/[ \t].*/, "", mode)
			}
			sub(/^[^ \t]*/, "", note)
			n = split(note, word, /[ \t]+/)
			for (i = 1; i <= n; i++) {
				w = word[i]
				if (w ~ /:/) {
					if (substr(w, 1, index(w, ":") - 1) != arch)
						continue
					sub(/.*:/, "", w)
				}
				if (w ~ /^[a-z_0-9]+$/)
					print mode, w
			}
		}
	}' "$@" | sort -u
}

# numbers of the calls of mode $1, from lines of notes, in order
numbers() {
	{
		echo '#include <sys/syscall.h>'
		awk -v mode="$1" '$1 == "all" || $1 == mode {
			print "call: __NR_" $2 }' | sort -u
	} | $CC -E -P -xc - | sed -n 's/^call: *//p' |
	while read -r number; do
		case $number in
		*__NR_*) ;; # not on this target
		*) echo $((number)) ;;
		esac
	done | sort -nu
}

# the filter $1 as an array, from numbers
program() {
	awk -v name="$1" '
	# Ends of runs: at each, allowed and denied change places
	{
		if (NR == 1 || $1 != last + 1) {
			if (NR > 1)
				end[++n] = last + 1
			end[++n] = $1
		}
		last = $1
	}
	function emit(lo, hi, mid) {
		if (lo == hi) {
			printf "\tBPF_STMT(BPF_RET | BPF_K, %s),\n",
			       lo % 2 ? "SECCOMP_RET_ALLOW" : "SECCOMP_DENY"
			return
		}
		mid = int((lo + hi) / 2)
		printf "\tBPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, %d, %d, 0),\n",
		       end[mid + 1], 2 * (mid - lo) + 1
		emit(lo, mid)
		emit(mid + 1, hi)
	}
	END {
		if (!NR) { # the compiler has failed, or there are no notes
			print "seccomp.sh: no calls for " name >"/dev/stderr"
			exit 1
		}
		end[++n] = last + 1
		if (n > 250) { # jumps have 8 bits
			print "seccomp.sh: too many calls" >"/dev/stderr"
			exit 1
		}
		print "\n/* " name ": " NR " calls */"
		print "static const struct sock_filter filter_" name "[] = {"
		print "\tSECCOMP_HEAD,"
		emit(0, n)
		print "};"
	}'
}

tmp=$out.tmp
trap 'rm -f "$tmp" "$tmp.notes"' EXIT
notes "$@" >"$tmp.notes"
{
	cat <<'EOT'
/* Made by seccomp.sh, do not edit */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif
#ifndef SECCOMP_RET_LOG
#define SECCOMP_RET_LOG 0x7ffc0000U
#endif
#ifndef SECCOMP_DENY
#define SECCOMP_DENY SECCOMP_RET_KILL_PROCESS
#endif

#if defined(__x86_64__)
#define SECCOMP_ARCH AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define SECCOMP_ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define SECCOMP_ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARMEL__)
#define SECCOMP_ARCH AUDIT_ARCH_ARM
#elif defined(__arm__)
#define SECCOMP_ARCH AUDIT_ARCH_ARMEB
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define SECCOMP_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__powerpc64__)
#define SECCOMP_ARCH AUDIT_ARCH_PPC64
#elif defined(__powerpc__)
#define SECCOMP_ARCH AUDIT_ARCH_PPC
#elif defined(__s390x__)
#define SECCOMP_ARCH AUDIT_ARCH_S390X
#elif defined(__riscv) && __riscv_xlen == 64
#define SECCOMP_ARCH AUDIT_ARCH_RISCV64
#elif defined(__riscv)
#define SECCOMP_ARCH AUDIT_ARCH_RISCV32
#elif defined(__loongarch64)
#define SECCOMP_ARCH (258 | __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE)
#elif defined(__mips64) && defined(__MIPSEL__) && _MIPS_SIM == _ABI64
#define SECCOMP_ARCH AUDIT_ARCH_MIPSEL64
#elif defined(__mips__) && defined(__MIPSEL__) && _MIPS_SIM == _ABIO32
#define SECCOMP_ARCH AUDIT_ARCH_MIPSEL
#elif defined(__mips__) && defined(__MIPSEB__) && _MIPS_SIM == _ABIO32
#define SECCOMP_ARCH AUDIT_ARCH_MIPS
#elif defined(__m68k__)
#define SECCOMP_ARCH AUDIT_ARCH_M68K
#elif defined(__hppa__)
#define SECCOMP_ARCH AUDIT_ARCH_PARISC
#elif defined(__sh__) && defined(__LITTLE_ENDIAN__)
#define SECCOMP_ARCH AUDIT_ARCH_SHEL
#else
#error "Architecture is not known to seccomp.sh"
#endif

/* A foreign architecture has other numbers */
#define SECCOMP_HEAD                                                           \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)), \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SECCOMP_ARCH, 1, 0),                 \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_DENY),                                 \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
EOT
	for mode in passt pasta vu; do
		numbers $mode <"$tmp.notes" | program $mode || exit 1
	done
} >"$tmp"
cmp -s "$tmp" "$out" || mv "$tmp" "$out"
