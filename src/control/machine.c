/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine: what is wanted (its record) and what is (its state), and the next step from one to
 * the other. machine_step() is level-triggered: it may be called at any time and does nothing when
 * there is nothing to do. A machine leaves service before its program is told to end, and while
 * others can take new flows it keeps those it has until they are quiet or kill_timeout is over.
 */
#include "control/control_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "machine/logs.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#define BACKOFF_MAX_MS	 30000
#define BACKOFF_RESET_MS 60000 /* a program that ran this long starts over with the first one */

#define RETRY_MS 30000 /* between tries to end or to remove a machine */

#define DRAIN_TICK_MS	   100
#define DRAIN_QUIET_SHARE  5 /* no packet of an old flow for this share of kill_timeout: nobody */
#define DRAIN_QUIET_MIN_MS 1000

static void step_later(struct machine *machine, unsigned int after_ms);

const char *machine_state_name(const struct machine *machine)
{
	const struct machine_state_record *history = &machine->history;
	static const char *const names[] = {
		[STATE_UNKNOWN] = "created",
		[STATE_CREATED] = "created",
		[STATE_STARTING] = "starting",
		[STATE_STARTED] = "started",
		[STATE_STOPPING] = "stopping",
		[STATE_STOPPED] = "stopped",
		[STATE_DESTROYING] = "destroying",
		[STATE_FAILED] = "failed",
	};

	if (!machine->is_local)
		return *history->state ? history->state : "created";
	/* Until it was looked at, what it was when the last daemon wrote about it. */
	if (machine->state == STATE_UNKNOWN && history->event_count)
		return history->events[history->event_count - 1].status;
	return names[machine->state];
}

void machine_event(
	struct machine *machine, const char *type, const char *source, const char *message)
{
	machine_state_add(&machine->history, type, machine_state_name(machine), source, message);
	log_info("machine", "app=%s machine=%s type=%s state=%s message=\"%s\"",
		machine->record->app, machine->record->id, type, machine_state_name(machine),
		message ? message : "");
	machine_publish(machine);
}

void machine_publish(struct machine *machine)
{
	struct machine_state_record *history = &machine->history;
	struct change change = {};
	struct err err;

	snprintf(history->state, sizeof(history->state), "%s", machine_state_name(machine));
	history->is_up = machine->is_up;
	free(history->failure);
	history->failure = machine->failure ? strdup(machine->failure) : NULL;
	change_put_state(&change, machine);
	/* History only: a store that is away must not stop a machine. */
	machine->is_unpublished = change_commit(machine->control, &change, &err) < 0;
	if (machine->is_unpublished)
		log_warn("machine-history-late", "machine=%s reason=\"%s\"", machine->record->id,
			err.text);
}

static enum machine_state state_of(const char *name)
{
	static const struct {
		const char *name;
		enum machine_state state;
	} states[] = {
		{"starting", STATE_STARTING},
		{"started", STATE_STARTED},
		{"stopping", STATE_STOPPING},
		{"stopped", STATE_STOPPED},
		{"destroying", STATE_DESTROYING},
		{"failed", STATE_FAILED},
	};

	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (strcmp(states[i].name, name) == 0)
			return states[i].state;
	return STATE_CREATED;
}

void machine_follow(struct machine *machine)
{
	const struct machine_state_record *record = &machine->history;

	machine->state = state_of(record->state);
	machine->is_up = record->is_up;
	machine->has_finished =
		machine->state == STATE_STOPPED && machine->record->wish == WISH_STARTED;
	free(machine->failure);
	machine->failure = record->failure ? strdup(record->failure) : NULL;
}

void machine_heard(struct machine *machine, struct machine_state_record *record)
{
	machine_state_clear(&machine->history);
	machine->history = *record;
	/* At the start this may be what the last daemon wrote. */
	if (!machine->is_local)
		machine_follow(machine);
}

static void set_state(struct machine *machine, enum machine_state state)
{
	machine->state = state;
	if (state != STATE_STARTED) {
		machine->is_up = false;
		checks_stop(machine);
		machine_up_stop(machine);
	}
	if (state != STATE_FAILED) {
		free(machine->failure);
		machine->failure = NULL;
	}
}

static void fail(struct machine *machine, const char *type, const char *sentence)
{
	set_state(machine, STATE_FAILED);
	free(machine->failure);
	machine->failure = strdup(sentence);
	machine_event(machine, type, "host", sentence);
}

/* For what has to work in the end: ended programs and removals are not given up. */
static void fail_and_retry(struct machine *machine, const char *type, const char *sentence)
{
	fail(machine, type, sentence);
	machine->must_retry = true;
	step_later(machine, RETRY_MS);
}

static void notify(struct machine *machine)
{
	struct control *control = machine->control;

	rollouts_machine_changed(control);
	waiters_machine_changed(control);
}

/* The program's end */

static void program_ended(uv_poll_t *watch, int status, int events)
{
	struct machine *machine = watch->data;

	(void)status;
	(void)events;
	machine_unwatch(machine);
	if (machine->state == STATE_STARTED && !machine->is_busy)
		job_start(machine, JOB_INSPECT);
}

static void watch_closed(uv_handle_t *handle)
{
	struct machine *machine = handle->data;
	int pidfd = (int)(intptr_t)syscall(SYS_pidfd_open, machine->run.watch_pid, 0);

	mem_closep(&machine->pidfd);
	machine->pidfd = -1;
	if (machine->is_gone) {
		mem_closep(&pidfd);
		machine_release(machine);
		return;
	}
	machine_release(machine);
	if (pidfd < 0) {
		/* Ended before it could be watched. */
		if (machine->state == STATE_STARTED && !machine->is_busy)
			job_start(machine, JOB_INSPECT);
		return;
	}
	machine->pidfd = pidfd;
	uv_poll_init(machine->control->loop, &machine->watch, pidfd);
	machine->watch.data = machine;
	machine_hold(machine);
	machine->is_watched = uv_poll_start(&machine->watch, UV_READABLE, program_ended) == 0;
}

static void watch_program(struct machine *machine)
{
	if (!machine->run.watch_pid)
		return; /* attached: not our program */
	machine->watch.data = machine;
	if (machine->pidfd >= 0) {
		/* The poll handle is bound to the old descriptor: it is made anew. */
		machine_unwatch(machine);
		uv_close((uv_handle_t *)&machine->watch, watch_closed);
		return;
	}
	machine_hold(machine); /* as if a handle had been open */
	watch_closed((uv_handle_t *)&machine->watch);
}

/* After a crash; each one in a row waits twice as long. */
static void restart_later(struct machine *machine)
{
	step_later(machine, machine->backoff_ms);
	machine->backoff_ms =
		machine->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : machine->backoff_ms * 2;
}

static void exited(struct machine *machine)
{
	const bool is_crash = machine->run.exit_code != 0;
	char message[96];

	machine->history.has_exit_code = true;
	machine->history.exit_code = machine->run.exit_code;
	if (machine->run.exit_code > 128)
		snprintf(message, sizeof(message), "the program was ended by signal %d%s",
			machine->run.exit_code - 128,
			machine->run.oom_killed ? ", out of memory" : "");
	else
		snprintf(message, sizeof(message), "the program exited with code %d",
			machine->run.exit_code);
	if (clock_now_ms() - machine->started_ms >= BACKOFF_RESET_MS)
		machine->backoff_ms = MACHINE_BACKOFF_FIRST_MS;
	if (!is_crash) {
		machine->has_finished = true;
		set_state(machine, STATE_STOPPED);
		machine_event(machine, "exit", "host", message);
		return;
	}
	machine->history.restarts++;
	fail(machine, "exit", message);
	restart_later(machine);
}

/* Looked at after its supervisor ended. */
static void inspected(struct machine *machine, const struct machine_job *job)
{
	if (job->result < 0) {
		/* Nothing is known; starting finds out, and takes over what runs. */
		fail(machine, "exit", job->err.text);
		restart_later(machine);
	} else if (job->run.state == MACHINE_RUN_RUNNING) {
		watch_program(machine);
	} else if (job->run.state == MACHINE_RUN_ABSENT) {
		fail(machine, "exit", "its program was taken away; it is started again");
		restart_later(machine);
	} else {
		exited(machine);
	}
}

/* The daemon that saw the program end wrote it down; what follows is as if it were still there. */
static bool is_known_exit(const struct machine *machine)
{
	const struct machine_state_record *history = &machine->history;

	return history->event_count && history->has_exit_code &&
	       history->exit_code == machine->run.exit_code &&
	       strcmp(history->events[history->event_count - 1].type, "exit") == 0;
}

static void exited_before(struct machine *machine)
{
	if (!is_known_exit(machine)) {
		exited(machine);
	} else if (machine->run.exit_code == 0) {
		machine->has_finished = true;
		set_state(machine, STATE_STOPPED);
	} else {
		set_state(machine, STATE_FAILED);
		restart_later(machine);
	}
}

/* Jobs */

static void started(struct machine *machine, const char *type)
{
	struct err err;

	machine->started_ms = clock_now_ms();
	set_state(machine, STATE_STARTED);
	if (serve_machine(machine, &err) < 0) {
		fail(machine, type, err.text);
		restart_later(machine);
		return;
	}
	watch_program(machine);
	machine_event(machine, type, "host", NULL);
	machine_up_watch(machine);
}

static void adopted(struct machine *machine, const struct machine_job *job)
{
	struct err err;

	machine->control->adopting--;
	if (job->result < 0) {
		fail(machine, "adopt", job->err.text);
		restart_later(machine);
	} else if (job->run.state == MACHINE_RUN_RUNNING && job->has_net) {
		machine->started_ms = clock_now_ms();
		set_state(machine, STATE_STARTED);
		machine->is_up = true;
		if (serve_machine(machine, &err) < 0) {
			fail(machine, "adopt", err.text);
			restart_later(machine);
		} else {
			watch_program(machine);
		}
	} else if (job->run.state == MACHINE_RUN_EXITED && job->has_net &&
		   machine->record->wish == WISH_STARTED) {
		exited_before(machine);
	} else if (machine->record->kind == MACHINE_ATTACHED &&
		   machine->record->wish == WISH_STARTED) {
		fail(machine, "adopt",
			"its network namespace is gone; attach it again, or remove "
			"it with wherry machine destroy");
	} else {
		/* Without its namespace it did not end by itself: the host was restarted. */
		set_state(machine,
			machine->record->wish == WISH_STARTED ? STATE_CREATED : STATE_STOPPED);
	}
}

/* The end of a machine: nothing of it is left on the host, now nothing in the catalog either. */
static void removed(struct machine *machine)
{
	struct control *control = machine->control;
	struct change change = {};
	struct err err;

	serve_forget(machine);
	change_delete_machine(&change, machine->record);
	if (change_commit(control, &change, &err) < 0) {
		fail_and_retry(machine, "destroy", err.text);
		return;
	}
	log_info("machine", "app=%s machine=%s type=destroy state=destroyed", machine->record->app,
		machine->record->id);
	machine_close(machine);
	image_queue_unused(control, machine->record); /* its memory goes later */
}

void machine_job_done(struct machine *machine, const struct machine_job *job)
{
	struct control *control = machine->control;

	if (job->has_net) {
		machine->net = job->net;
		machine->has_net = true;
	}
	machine->run = job->run;
	switch (job->type) {
	case JOB_ADOPT:
		adopted(machine, job);
		break;
	case JOB_START:
		if (job->result < 0) {
			fail(machine, "start", job->err.text);
			restart_later(machine);
		} else if (job->run.state == MACHINE_RUN_EXITED) {
			/* Sooner than it could be looked at. */
			machine->started_ms = clock_now_ms();
			exited(machine);
		} else {
			started(machine, "start");
		}
		break;
	case JOB_INSPECT:
		inspected(machine, job);
		break;
	case JOB_STOP:
		if (job->result < 0) {
			fail_and_retry(machine, "stop", job->err.text);
		} else {
			if (job->run.state == MACHINE_RUN_EXITED) {
				machine->history.has_exit_code = true;
				machine->history.exit_code = job->run.exit_code;
			}
			set_state(machine, STATE_STOPPED);
			machine_event(machine, "stop", "user", NULL);
		}
		break;
	case JOB_REMOVE:
		if (job->result < 0) {
			fail_and_retry(machine, "destroy", job->err.text);
			break;
		}
		removed(machine);
		serve(control);
		rollouts_machine_changed(control);
		waiters_machine_changed(control);
		return;
	}
	if (job->type != JOB_ADOPT)
		serve(control);
	else if (strcmp(machine->history.state, machine_state_name(machine)) != 0)
		machine_publish(machine);
	/* First the step, then who waits: what failed may be on its way to what is wanted now. */
	machine_step(machine);
	notify(machine);
}

void machine_adopt(struct machine *machine)
{
	machine->state = STATE_UNKNOWN;
	if (job_start(machine, JOB_ADOPT) == 0)
		machine->control->adopting++;
	else
		fail(machine, "adopt", "out of memory");
}

/* Leaving */

/* Who gives machines more time to end has clients that are silent for longer. */
static uint64_t drain_quiet_ms(const struct machine *machine)
{
	uint64_t share_ms = machine->record->kill_timeout_s * 1000ULL / DRAIN_QUIET_SHARE;

	return share_ms > DRAIN_QUIET_MIN_MS ? share_ms : DRAIN_QUIET_MIN_MS;
}

static bool is_quiet(struct machine *machine, uint64_t now_ms)
{
	struct wherry_traffic traffic = {};

	fabric_machine_traffic(machine->control->fabric, machine->record->id, &traffic);
	if (traffic.rx_packets != machine->drain_rx) {
		machine->drain_rx = traffic.rx_packets;
		machine->drain_quiet_ms = now_ms;
	}
	return now_ms - machine->drain_quiet_ms >= drain_quiet_ms(machine);
}

static void begin_drain(struct machine *machine)
{
	struct wherry_traffic traffic = {};
	uint64_t now_ms = clock_now_ms();

	machine->is_draining = true;
	machine->drain_deadline_ms = now_ms + machine->record->kill_timeout_s * 1000ULL;
	fabric_machine_traffic(machine->control->fabric, machine->record->id, &traffic);
	machine->drain_rx = traffic.rx_packets;
	machine->drain_quiet_ms = now_ms;
	serve(machine->control);
	step_later(machine, DRAIN_TICK_MS);
}

/* Returns true when the machine may end: nobody is left, or nobody else could take over. */
static bool is_drained(struct machine *machine)
{
	uint64_t now_ms = clock_now_ms();

	if (machine->state != STATE_STARTED || !machine->is_served)
		return true;
	if (!machine->is_draining && !serve_has_others(machine))
		return true;
	if (!machine->is_draining) {
		begin_drain(machine);
		return false;
	}
	if (is_quiet(machine, now_ms) || now_ms >= machine->drain_deadline_ms)
		return true;
	step_later(machine, DRAIN_TICK_MS);
	return false;
}

static void leave(struct machine *machine, enum machine_state state, enum job_type job)
{
	uv_timer_stop(&machine->timer);
	if (!is_drained(machine))
		return;
	machine->is_draining = false;
	set_state(machine, state);
	machine_unwatch(machine);
	serve_forget(machine);
	serve(machine->control);
	if (job_start(machine, job) < 0)
		fail_and_retry(machine, "stop", "out of memory");
	notify(machine);
}

static void timer_fired(uv_timer_t *timer)
{
	struct machine *machine = timer->data;

	machine->must_retry = false;
	/* A failed one is tried again by what it is wanted to be. */
	if (machine->state == STATE_FAILED && machine->record->wish == WISH_STARTED)
		set_state(machine, STATE_STOPPED);
	machine_step(machine);
}

static void step_later(struct machine *machine, unsigned int after_ms)
{
	uv_timer_start(&machine->timer, timer_fired, after_ms, 0);
}

static void wish_started(struct machine *machine)
{
	struct err err;

	if (machine->state != STATE_CREATED && machine->state != STATE_STOPPED)
		return;
	uv_timer_stop(&machine->timer);
	/* Its routes would lead packets of others into it. */
	if (machine_network_check(machine, &err) < 0) {
		fail(machine, "start", err.text);
		restart_later(machine);
		notify(machine);
		return;
	}
	set_state(machine, STATE_STARTING);
	if (job_start(machine, JOB_START) < 0) {
		fail(machine, "start", "out of memory");
		restart_later(machine);
	}
	notify(machine);
}

void machine_step(struct machine *machine)
{
	if (!machine->is_local || machine->is_busy || machine->state == STATE_UNKNOWN ||
		machine->is_gone || machine->must_retry)
		return;
	switch (machine->record->wish) {
	case WISH_STARTED:
		/* A program that ended by itself, with success, is not started again. */
		if (machine->state == STATE_STOPPED && machine->has_finished)
			return;
		wish_started(machine);
		break;
	case WISH_STOPPED:
		/* What failed may still run, or in part. */
		if (machine->state == STATE_STARTED || machine->state == STATE_FAILED)
			leave(machine, STATE_STOPPING, JOB_STOP);
		else if (machine->state == STATE_CREATED)
			set_state(machine, STATE_STOPPED);
		break;
	case WISH_DESTROYED:
		if (machine->state != STATE_DESTROYING)
			leave(machine, STATE_DESTROYING, JOB_REMOVE);
		break;
	}
}

void machine_ask_start(struct machine *machine)
{
	machine->has_finished = false;
	if (machine->state == STATE_FAILED && !machine->is_busy)
		set_state(machine, STATE_STOPPED);
}

void machine_net_gone(struct machine *machine)
{
	if (machine->state != STATE_STARTED || machine->is_busy)
		return;
	machine->has_net = false;
	serve_forget(machine);
	if (machine->record->kind == MACHINE_ATTACHED) {
		fail(machine, "exit",
			"its network namespace or its eth0 is gone; attach it again, "
			"or remove it with wherry machine destroy");
	} else {
		fail(machine, "exit", "its eth0 is gone; it is made again");
		step_later(machine, 0);
	}
	serve(machine->control);
	notify(machine);
}
