/* SPDX-License-Identifier: MIT */
/* Commands that run beside the shell: `background CMD` and `wait`, so that one can look at a device (iostat,
 * fault, reset) while another command keeps it busy.
 *
 * A job is a thread with a copy of its words. Lock: jobs_mutex, not held while a job is waited for. What
 * still runs when the kernel leaves is cut off. */
#include <kernel/shell.h>

#include "shell_internal.h"

#include <kernel/base/assert.h>
#include <kernel/completion.h>
#include <kernel/heap.h>
#include <kernel/mutex.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define JOBS_MAX     16u
#define WAIT_STEP_NS (50 * NSEC_PER_MSEC) /* how soon ^C ends a wait */

struct job {
    struct thread *thread;
    int argc;
    char *argv[SHELL_WORDS_MAX + 1]; /* into `text` */
    char text[];
};

static struct mutex jobs_mutex = MUTEX_INIT(jobs_mutex, "jobs");
static struct job *jobs[JOBS_MAX]; /* jobs_mutex; in no order, no holes */
static uint32_t job_count;         /* jobs_mutex */

static void run_job(void *argument)
{
    struct job *job = argument;
    int status = shell_run_words(job->argc, job->argv);
    thread_exit(status);
}

static struct job *create(int argc, char **argv)
{
    size_t bytes = 0;
    assert(argc > 0 && argc <= SHELL_WORDS_MAX);
    for (int i = 0; i < argc; i++)
        bytes += strlen(argv[i]) + 1;
    struct job *job = heap_alloc_zeroed(sizeof(*job) + bytes);
    if (!job)
        return NULL;
    char *at = job->text;
    job->argc = argc;
    for (int i = 0; i < argc; i++) {
        bytes = strlen(argv[i]) + 1;
        job->argv[i] = memcpy(at, argv[i], bytes);
        at += bytes;
    }
    return job;
}

static int start(int argc, char **argv)
{
    MUTEX_SCOPED(&jobs_mutex);
    if (job_count == JOBS_MAX)
        return -ENOSPC;
    struct job *job = create(argc, argv);
    if (!job)
        return -ENOMEM;
    struct thread_config config = {.name = job->argv[0], .entry = run_job, .argument = job};
    int error = thread_create(&config, &job->thread);
    if (error)
        heap_free(job);
    else
        jobs[job_count++] = job;
    return error;
}

static int background_run(int argc, char **argv)
{
    if (argc < 2)
        return -EINVAL;
    int error = start(argc - 1, argv + 1);
    if (error == -ENOSPC)
        console_printf("background: %u commands are there already; `wait` for them\n", JOBS_MAX);
    return error;
}
SHELL_COMMAND(background, "CMD [WORD...]", "run a command beside the shell", background_run,
              "`wait` ends when all of these have, with the status of the first that ended badly.\n");

/* One that has ended, no longer in the table; or NULL, and whether there are others than the caller. */
static struct job *take_ended(bool *is_any_left)
{
    MUTEX_SCOPED(&jobs_mutex);
    *is_any_left = false;
    for (uint32_t i = 0; i < job_count; i++) {
        struct job *job = jobs[i];
        if (completion_is_done(&job->thread->exited)) {
            jobs[i] = jobs[--job_count];
            return job;
        }
        *is_any_left |= job->thread != thread_current();
    }
    return NULL;
}

static int end(struct job *job)
{
    int status = thread_join(job->thread);
    if (status)
        console_printf("wait: %s ended with %d %s\n", job->argv[0], status, error_name(status));
    heap_free(job);
    return status;
}

static int wait_run(int argc, char **argv)
{
    bool is_any_left = true;
    int result = 0;
    if (argc != 1)
        return -EINVAL;
    while (is_any_left) {
        struct job *job = take_ended(&is_any_left);
        if (job) {
            int status = end(job);
            result = result ? result : status;
            is_any_left = true;
        } else if (is_any_left) {
            if (shell_interrupted())
                return -EINTR;
            thread_sleep_ns(WAIT_STEP_NS);
        }
    }
    return result;
}
SHELL_COMMAND(wait, "", "wait for the commands in the background", wait_run, NULL);
