/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What every program needs of the BPF dialect of C: UAPI names that Debian 12's headers (6.1)
 * lack, and forms that keep clang 14 and the verifier agreeing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TCX_NEXT -1 /* TC_ACT_UNSPEC under clsact: the next program, then the stack */
#define TCX_DROP 2

#define LOOPBACK_IFINDEX 1 /* in every network namespace */

/* clang folds loads of skb->data over helper calls that move the packet; this stops it. */
#define reload(skb) asm volatile("" : "+r"(skb))

/* Loads a field of the context once: a folded load of it is another form the verifier refuses. */
#define load_once(field)                                                                           \
	({                                                                                         \
		typeof(field) value_ = (field);                                                    \
		asm volatile("" : "+r"(value_));                                                   \
		value_;                                                                            \
	})

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
