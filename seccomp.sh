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
# NAME(ARG,ARG...) allows the call with these arguments only, the lower half of
# each being looked at: "." is any, "A|B" one of both, "!M" none of the bits of
# M, which may be a sum; no blanks.  Several notes about a call add up, and one
# without arguments allows all of them.
#
# The filter is a binary search over the ends of runs of allowed numbers, with
# the checks of arguments behind.  What happens to other calls is SECCOMP_DENY,
# which may be given in CFLAGS: build with -DSECCOMP_DENY=SECCOMP_RET_LOG to find
# notes that are missing; see the kernel's log.  With -DSECCOMP_FAULTS calls may be
# made to fail from outside: see test/net/test_faults.py.  The header is written
# only if it changed.

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
					sub(/^[^:]*:/, "", w)
				}
				if (w !~ /^[a-z_0-9]+(\([^()]*\))?$/)
					continue
				spec = w
				sub(/^[^(]*\(?/, "", spec)
				sub(/\)$/, "", spec)
				sub(/\(.*/, "", w)
				print mode, w, spec
			}
		}
	}' "$@" | sort -u
}

# numbers, names and arguments of the calls of mode $1, from notes, in order
numbers() {
	{
		echo '#include <sys/syscall.h>'
		awk -v mode="$1" '$1 == "all" || $1 == mode {
			print "call: __NR_" $2 "\"" $2 " " $3 "\"" }' |
			sort -u
	} | $CC -E -P -xc - | sed -n 's/^call: *//p' |
	while IFS='"' read -r number call _; do
		case $number in
		*__NR_*) ;; # not on this target
		*) echo "$(($number)) $call" ;; # it may be a sum
		esac
	done | sort -k1n -k2
}

# the filter $1 as an array, from numbers
program() {
	awk -v name="$1" '
	NR == 1 || $1 != last {
		number[++calls] = last = $1
		names = names " " $2
	}
	{
		if (NF < 3)
			any[$1] = 1
		else
			specs[$1] = specs[$1] " " $3
	}

	# Runs of numbers with the same answer: A allows, D denies, the number
	# of a call has its arguments checked
	function run(from, what) {
		if (runs && start[runs] == from)
			runs--
		if (runs && answer[runs] == what)
			return
		start[++runs] = from
		answer[runs] = what
	}

	function add(line) {
		checks = checks "\t" line ",\n"
		size++
	}

	# One list of arguments: the call is allowed if all of them fit
	function check(spec, arg, value, n, m, i, j, left) {
		n = split(spec, arg, ",")
		left = 1
		for (i = 1; i <= n; i++)
			if (arg[i] != ".")
				left += 1 + split(arg[i], value, "|")
		if (left > 250) { # jumps have 8 bits
			print "seccomp.sh: too many values" >"/dev/stderr"
			failed = 1
			exit 1
		}
		for (i = 1; i <= n; i++) {
			if (arg[i] == ".")
				continue
			add("SECCOMP_ARG(" i - 1 ")")
			left--
			if (arg[i] ~ /^!/) {
				add("BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, " \
				    substr(arg[i], 2) ", " --left ", 0)")
				continue
			}
			m = split(arg[i], value, "|")
			for (j = 1; j <= m; j++)
				add("BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, " \
				    value[j] ", " m - j ", " \
				    (--left) * (j == m) ")")
		}
		add("BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)")
	}

	function check_call(nr, spec, n, i) {
		at[nr] = size
		n = split(specs[nr], spec, " ")
		for (i = 1; i <= n; i++)
			check(spec[i])
		add("BPF_STMT(BPF_RET | BPF_K, SECCOMP_DENY)")
	}

	function leaf(what) {
		if (what == "A")
			return "BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)"
		if (what == "D")
			return "BPF_STMT(BPF_RET | BPF_K, SECCOMP_DENY)"
		return "BPF_STMT(BPF_JMP | BPF_JA, " \
		       2 * runs - 1 - pc - 1 + at[what] ")"
	}

	function emit(lo, hi, mid) {
		if (lo == hi) {
			print "\t" leaf(answer[lo]) ","
			pc++
			return
		}
		mid = int((lo + hi) / 2)
		printf "\tBPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, %d, %d, 0),\n",
		       start[mid + 1], 2 * (mid - lo) + 1
		pc++
		emit(lo, mid)
		emit(mid + 1, hi)
	}

	END {
		if (failed)
			exit 1
		if (!calls) { # the compiler has failed, or there are no notes
			print "seccomp.sh: no calls for " name >"/dev/stderr"
			exit 1
		}
		run(0, "D")
		for (i = 1; i <= calls; i++) {
			run(number[i], any[number[i]] ? "A" : number[i])
			run(number[i] + 1, "D")
			if (!any[number[i]])
				check_call(number[i])
		}
		if (runs > 250) { # jumps have 8 bits
			print "seccomp.sh: too many calls" >"/dev/stderr"
			exit 1
		}
		print "\n/* " name ": " calls " calls:" names " */"
		print "static const struct sock_filter filter_" name "[] = {"
		print "\tSECCOMP_HEAD,"
		emit(1, runs)
		printf "%s};\n", checks
	}'
}

# all calls of the target, for messages
names() {
	echo
	echo 'static const struct {'
	echo '	int number;'
	echo '	const char *name;'
	echo '} seccomp_names[] = {'
	echo '#include <sys/syscall.h>' | $CC -E -dM -xc - |
		sed -n 's/^#define __NR_\([a-z_0-9]*\) .*/\1/p' | sort |
		grep -v -x -e syscalls -e arch_specific_syscall |
		sed 's/.*/	{ __NR_&, "&" },/'
	echo '};'
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

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif
#ifndef SECCOMP_RET_LOG
#define SECCOMP_RET_LOG 0x7ffc0000U
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef TCP_REPAIR_WINDOW
#define TCP_REPAIR_WINDOW 29
#endif
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif
#ifndef SECCOMP_DENY
#define SECCOMP_DENY SECCOMP_RET_TRAP
#endif

/* Sanitizers make calls of their own */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SECCOMP_NONE
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SECCOMP_NONE
#endif

/* The lower half of an argument */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SECCOMP_LOW 4
#else
#define SECCOMP_LOW 0
#endif
#define SECCOMP_ARG(n)                                                         \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                                       \
		 offsetof(struct seccomp_data, args) + 8 * (n) + SECCOMP_LOW)

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
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),                     \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))    \
	SECCOMP_NO_CALL

/* What strace makes of a call that it lets fail */
#ifdef SECCOMP_FAULTS
#define SECCOMP_NO_CALL                                                        \
	, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ~0U, 0, 1),                        \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#else
#define SECCOMP_NO_CALL
#endif
EOT
	for mode in passt pasta vu; do
		numbers $mode <"$tmp.notes" | program $mode || exit 1
	done
	names
} >"$tmp"
cmp -s "$tmp" "$out" || mv "$tmp" "$out"
