/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that shrinks memory after sharing it: whoever touches the rest gets
 * a SIGBUS, for which the library puts zeros there and closes the link.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "memexpose-internal.h"

/* What a handler looks at, in any thread and at any time. */
static struct {
    MemexposeState *first;
    unsigned handlers;          /* that look at it now */
    struct sigaction before;    /* who handled the signal until then */
    bool installed;
    int cpus;                   /* those below this index take the signal */
} faults;

static bool is_of_a_share(const void *address)
{
    MemexposeState *s;
    bool patched = false;

    qatomic_inc(&faults.handlers);
    for (s = qatomic_load_acquire(&faults.first); s && !patched;
         s = qatomic_read(&s->next_watched)) {
        patched = memexpose_device_handle_sigbus(s->watched, address);
    }
    qatomic_dec(&faults.handlers);
    return patched;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    if (faults.before.sa_flags & SA_SIGINFO) {
        faults.before.sa_sigaction(number, info, context);
    } else if (faults.before.sa_handler != SIG_DFL &&
               faults.before.sa_handler != SIG_IGN) {
        faults.before.sa_handler(number);
    } else {
        signal(number, SIG_DFL);        /* and the access faults again */
        raise(number);
    }
}

static void handle_sigbus(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    if (info->si_code != BUS_ADRERR || !is_of_a_share(info->si_addr)) {
        pass_on(number, info, context);
    }
    errno = saved;
}

/* QEMU's threads block the signal; a fault would end the process then. */
static void take_signal(CPUState *cpu, run_on_cpu_data data)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void install_handler(void)
{
    struct sigaction action = {
        .sa_sigaction = handle_sigbus,
        .sa_flags = SA_SIGINFO,
    };

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &faults.before) < 0) {
        warn_report("memexpose: cannot handle SIGBUS: a peer that shrinks "
                    "its memory ends this process");
        return;
    }
    faults.installed = true;
    take_signal(NULL, RUN_ON_CPU_NULL); /* in the main loop's thread */
}

/* Before a share is mapped: whoever may touch it. */
void memexpose_faults_expect(void)
{
    int next = faults.cpus;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu->cpu_index >= faults.cpus) {
            async_run_on_cpu(cpu, take_signal, RUN_ON_CPU_NULL);
            next = MAX(next, cpu->cpu_index + 1);
        }
    }
    faults.cpus = next;
}

void memexpose_faults_watch(MemexposeState *s)
{
    if (!faults.installed) {
        install_handler();
    }
    s->watched = s->device;
    s->next_watched = faults.first;
    qatomic_store_release(&faults.first, s);
}

/* When this returns no handler looks at the device any more. */
void memexpose_faults_forget(MemexposeState *s)
{
    MemexposeState **link = &faults.first;

    while (*link != s) {
        link = &(*link)->next_watched;
    }
    qatomic_set(link, s->next_watched);
    smp_mb();                   /* a handler that begins now does not see it */
    while (qatomic_read(&faults.handlers) > 0) {
        g_usleep(10);
    }
}
