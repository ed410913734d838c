/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libqtest calls differently in the QEMU series that memexpose is built
 * for: 7.2, 10.0 and 10.2.
 */
#ifndef TESTS_QTEST_MEMEXPOSE_LIBQTEST_H
#define TESTS_QTEST_MEMEXPOSE_LIBQTEST_H

#include "libqtest.h"

#if QEMU_VERSION_MAJOR >= 10
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#else
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#endif

/* How soon a client chardev tries again. */
#if QEMU_VERSION_MAJOR >= 10
#define CHARDEV_RECONNECT "reconnect-ms=20"
#else
#define CHARDEV_RECONNECT "reconnect=1"
#endif

/* The QEMU that the environment variable @var names. */
static inline QTestState *start_qemu(const char *var, const char *args)
{
#if QEMU_VERSION_MAJOR > 10 || \
    (QEMU_VERSION_MAJOR == 10 && QEMU_VERSION_MINOR >= 2)
    return qtest_init_ext(var, args, NULL, true);
#elif QEMU_VERSION_MAJOR == 10
    return qtest_init_with_env(var, args, true);
#else
    g_autofree char *native = g_strdup(g_getenv("QTEST_QEMU_BINARY"));
    QTestState *qts;

    g_setenv("QTEST_QEMU_BINARY", g_getenv(var), true);
    qts = qtest_init(args);
    g_setenv("QTEST_QEMU_BINARY", native, true);
    return qts;
#endif
}

/* libqtest learned it after 7.2. */
static inline void reset_machine(QTestState *qts)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'system_reset' }");

    g_assert(qdict_haskey(response, "return"));
    qobject_unref(response);
    qtest_qmp_eventwait(qts, "RESET");
}

#endif
