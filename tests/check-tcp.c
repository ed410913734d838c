/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Links that are no unix sockets: they work, and nothing is shared.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "side.h"

static unsigned warnings;

static void count_warnings(void *opaque, enum memexpose_log_level level,
                           const char *line)
{
    (void)opaque;
    if (level == MEMEXPOSE_LOG_WARNING && strstr(line, "descriptors")) {
        warnings++;
    }
}

static void tcp_pair(int fds[2])
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof(address);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address,
                                 &size), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fds[1], (struct sockaddr *)&address, size), 0);
    fds[0] = accept(listener, NULL, NULL);
    ck_assert_int_ge(fds[0], 0);
    close(listener);
}

static void attach_tcp(struct side *side)
{
    int mem[2], intr[2];

    tcp_pair(mem);
    tcp_pair(intr);
    mx_conn_open(&side->mem, mem[1]);
    mx_conn_open(&side->intr, intr[1]);
    ck_assert_int_eq(memexpose_device_attach(side->device,
                                             MEMEXPOSE_LINK_MEM, mem[0]), 0);
    ck_assert_int_eq(memexpose_device_attach(side->device,
                                             MEMEXPOSE_LINK_INTR, intr[0]),
                     0);
}

/* What came by TCP is there when the socket says so, not at once. */
static struct mx_message answer_to(struct side *side, uint64_t address)
{
    struct pollfd fds = { .events = POLLIN };
    struct mx_message message;

    say(side, MX_READ, 3, address, 0);
    fds.fd = side->mem.fd;
    do {
        process();
    } while (poll(&fds, 1, 10) == 0);
    message = expect(side, MX_READ_RET);
    return message;
}

static bool is_down(void *device)
{
    process();
    return !(memexpose_device_link_state(device) & MEMEXPOSE_STATE_MEM_UP);
}

START_TEST(shares_nothing)
{
    struct mx_message answer;
    struct side side;

    warnings = 0;
    memexpose_set_log(count_warnings, NULL);
    create(&side);
    attach_tcp(&side);
    answer = answer_to(&side, SHARED);
    ck_assert_uint_eq(answer.result, 0);
    ck_assert_uint_eq(answer.value, SHARED);
    ck_assert_uint_eq(answer.share.kind, 0);
    ck_assert_uint_eq(warnings, 1);

    hang_up(&side);
    harness_wait(is_down, side.device, PATIENCE);
    attach_tcp(&side);          /* said once, not each time */
    ck_assert_uint_eq(answer_to(&side, SHARED + 8).value, SHARED + 8);
    ck_assert_uint_eq(warnings, 1);
    destroy(&side);

    create(&side);              /* a unix socket can */
    attach(&side);
    answer = answer_to(&side, SHARED);
    ck_assert_uint_eq(answer.share.kind, 1);
    ck_assert_uint_eq(warnings, 1);
    destroy(&side);
    memexpose_set_log(NULL, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp");

    tcase_add_test(with_group(suite, "tcp"), shares_nothing);
    return harness_main(suite);
}
