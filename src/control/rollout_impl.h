/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a rollout share: rollout.c runs it, rollout_plan.c decides what it is to do
 * and refuses what cannot be done, rollout_image.c finds which image is meant, rollout_machine.c
 * describes the machines it makes, rollout_commit.c is the transaction in the end, rollout_words.c
 * finds what a program said last.
 */
#pragma once

#include "control/control_impl.h"

enum rollout_phase {
	PHASE_IMAGE,   /* the image is looked for */
	PHASE_UP,      /* new machines are made and come up, one after the other, out of service */
	PHASE_LEAVING, /* the new ones serve; the old ones drain and go */
};

/* A machine to make: what distinguishes it from the others of the release. */
struct fresh {
	char *group;
	char *region;		 /* NULL: any */
	char id[MACHINE_ID_LEN]; /* "" until it was made */
};

struct rollout {
	struct rollout *next;
	struct control *control;
	enum rollout_kind kind;
	enum rollout_phase phase;
	char *app_name;
	struct api_stream *stream;

	unsigned int from_host;		/* ROLLOUT_MOVE */
	int64_t app_revision;		/* of the app's record when this began */
	struct app_record *record;	/* as it will be */
	struct release_record *release; /* a new one, or NULL */
	struct app_config *config;	/* of the new release, or NULL */
	struct ip_record **new_ips;
	size_t new_ip_count;
	struct machine_record *template; /* ROLLOUT_RUN: the machine to make; taken when made */

	struct fresh *fresh;
	size_t fresh_count, at;
	char (*leaving)[MACHINE_ID_LEN];
	size_t leaving_count;

	struct rollout_image *image; /* being looked for; or NULL */
	uv_timer_t tick;
	bool is_over;
	bool is_unsure; /* whether the store did what turns everything over */
	uint64_t unsure_ms;
	unsigned int clashes; /* with other hosts, of the machine that is being made */
};

/*
 * Fills a rollout from the request, changing nothing. On failure *@code is the API's.
 */
int rollout_plan(struct rollout *rollout, struct rollout_request *request, const char **code,
	struct err *err);

/*
 * Finds the ID of the new release's image, where other hosts are to know it, and calls @fn: with
 * the sentence when there is no such image; never after rollout_image_forget().
 */
typedef void rollout_image_fn(struct rollout *rollout, const char *failure);
void rollout_image_find(struct rollout *rollout, rollout_image_fn *fn);
void rollout_image_forget(struct rollout *rollout);

/* The record of the next machine to make; the caller owns it. */
int rollout_build_machine(struct rollout *rollout, const struct fresh *fresh,
	struct machine_record **out, struct err *err);

/*
 * Puts the new machines into service and lets the old ones go. 0: done, with a warning in @err or
 * none. 1: not known yet; to be called again. A negative errno: nothing changed.
 */
int rollout_turn_over(struct rollout *rollout, const char **code, struct err *err);
/* Of the app's record now. */
int64_t rollout_app_revision(const struct rollout *rollout);
/* The API's code for a commit that failed with @r. */
const char *rollout_code_of(int r);

/* The config that counts for the rollout's machines: the new one or the current one. */
const struct app_config *rollout_config(const struct rollout *rollout);

/* Adds what the program said last to the sentence. */
void rollout_add_last_words(const struct machine *machine, struct err *err);

/* Says what of the release is not served by this version. */
void rollout_warn_of_tcp(const struct rollout *rollout);
