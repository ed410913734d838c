/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What link.c and link-receive.c have of each other.
 */
#ifndef MX_LINK_PARTS_H
#define MX_LINK_PARTS_H

#include "link.h"

/* --- link.c -------------------------------------------------------------- */

const char *mx_link_which(enum mx_which which);

/* The peer broke the protocol, by a message with this header; by this one. */
void mx_link_report(struct mx_link *link, enum mx_which which,
                    const char *reason, const uint8_t *header, size_t count);
void mx_link_violation(struct mx_link *link, enum mx_which which,
                       const char *reason, const struct mx_message *message);

/* Send HELLO, on both links, or HELLO_RET. */
void mx_link_say_hello(struct mx_link *link);

/* Has the session settled since it was in phase @before?  Then tell. */
void mx_link_check_settled(struct mx_link *link, enum mx_phase before);

/* A local access is over. */
void mx_link_complete(struct mx_request *request, bool answered, int result,
                      uint64_t value);

/* --- link-receive.c ------------------------------------------------------ */

/* Do what the session answered; @message NULL: to the time. */
void mx_link_act(struct mx_link *link, enum mx_outcome outcome,
                 const struct mx_message *message, enum mx_which which);

/* Take interrupts that waited for room, if there is some now. */
bool mx_link_unpark(struct mx_link *link);

/* Take what lies in the sockets, up to a limit. */
void mx_link_take(struct mx_link *link, int64_t now);

#endif
