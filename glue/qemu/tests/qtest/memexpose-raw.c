/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that is the test itself: the messages of memexpose-protocol(7), byte
 * by byte.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include <sys/socket.h>
#include <sys/un.h>
#include "memexpose-vm.h"

#define HEADER_SIZE        6
#define HELLO              0x40
#define HELLO_RET          0x41
#define HELLO_SIZE         86
#define READ_BLOCK         0x42
#define READ_BLOCK_RET     0x43
#define READ_BLOCK_SIZE    18
#define WRITE_BLOCK        0x44
#define WRITE_BLOCK_RET    0x45
#define WRITE_BLOCK_SIZE   14   /* and the bytes */
#define BLOCK_RET_SIZE     41   /* and, of READ_BLOCK_RET, the bytes */
#define PRIORITY           3    /* of an access, from sub-priority 1 */

/* --- bytes --------------------------------------------------------------- */

static int raw_socket(const Port *port, const char *link)
{
    g_autofree char *path = vm_path("%s-%s", port->link, link);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = WAIT_SECONDS };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(strlen(path), <, sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                               sizeof(patience)), ==, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address,
                            sizeof(address)), ==, 0);
    return fd;
}

static void send_all(Raw *raw, const uint8_t *bytes, size_t count)
{
    size_t done = 0;

    while (done < count) {
        ssize_t ret = send(raw->mem, bytes + done, count - done,
                           MSG_NOSIGNAL);

        g_assert_cmpint(ret, >, 0);
        done += ret;
    }
}

/* Descriptors that come along are thrown away. */
static void receive_all(Raw *raw, uint8_t *bytes, size_t count)
{
    size_t done = 0;

    while (done < count) {
        ssize_t ret = recv(raw->mem, bytes + done, count - done, 0);

        g_assert_cmpint(ret, >, 0);
        done += ret;
    }
}

static void put_header(uint8_t *message, uint32_t size, uint8_t type,
                       uint8_t priority)
{
    stl_le_p(message, size);
    message[4] = type;
    message[5] = priority;
}

/* --- hello --------------------------------------------------------------- */

static void say_hello(Raw *raw, uint64_t features)
{
    uint8_t hello[HELLO_SIZE] = { 0 };

    put_header(hello, sizeof(hello), HELLO, 0);
    stl_le_p(hello + 6, 0x3150584d);
    stw_le_p(hello + 10, 1);
    stw_le_p(hello + 12, 1);
    stq_le_p(hello + 14, features);
    hello[22] = 1;              /* sub-priority */
    stl_le_p(hello + 26, 4096);
    strcpy((char *)hello + 54, "raw");
    send_all(raw, hello, sizeof(hello));
    receive_all(raw, hello, sizeof(hello));
    g_assert_cmpint(ldl_le_p(hello), ==, sizeof(hello));
    g_assert_cmpint(hello[4], ==, HELLO_RET);
    g_assert_cmpint(hello[22], ==, 0);
    raw->features = ldq_le_p(hello + 14);
}

void raw_connect(Raw *raw, Port *port, uint64_t features)
{
    raw->mem = raw_socket(port, "mem");
    raw->intr = raw_socket(port, "intr");
    say_hello(raw, features);
}

void raw_close(Raw *raw)
{
    close(raw->mem);
    close(raw->intr);
}

bool raw_is_closed(Raw *raw)
{
    uint8_t byte;
    ssize_t ret = recv(raw->mem, &byte, 1, 0);

    return ret == 0 || (ret < 0 && errno == ECONNRESET);
}

/* --- blocks -------------------------------------------------------------- */

void raw_ask(Raw *raw, uint64_t address, uint32_t size)
{
    uint8_t request[READ_BLOCK_SIZE];

    put_header(request, sizeof(request), READ_BLOCK, PRIORITY);
    stq_le_p(request + 6, address);
    stl_le_p(request + 14, size);
    send_all(raw, request, sizeof(request));
}

/* Returns the result; what comes behind it is left there. */
static uint32_t receive_result(Raw *raw, uint8_t type, uint32_t *done)
{
    uint8_t response[BLOCK_RET_SIZE];
    uint32_t bytes;

    receive_all(raw, response, sizeof(response));
    g_assert_cmpint(response[4], ==, type);
    g_assert_cmpint(response[5], ==, PRIORITY);
    *done = ldl_le_p(response + 10);
    bytes = type == READ_BLOCK_RET ? *done : 0;
    g_assert_cmpint(ldl_le_p(response), ==, BLOCK_RET_SIZE + bytes);
    return ldl_le_p(response + 6);
}

uint32_t raw_read(Raw *raw, uint64_t address, void *bytes, uint32_t size,
                  uint32_t *done)
{
    uint32_t result;

    raw_ask(raw, address, size);
    result = receive_result(raw, READ_BLOCK_RET, done);
    g_assert_cmpint(*done, <=, size);
    receive_all(raw, bytes, *done);
    return result;
}

uint32_t raw_write(Raw *raw, uint64_t address, const void *bytes,
                   uint32_t size, uint32_t *done)
{
    g_autofree uint8_t *request = g_malloc(WRITE_BLOCK_SIZE + size);

    put_header(request, WRITE_BLOCK_SIZE + size, WRITE_BLOCK, PRIORITY);
    stq_le_p(request + 6, address);
    memcpy(request + WRITE_BLOCK_SIZE, bytes, size);
    send_all(raw, request, WRITE_BLOCK_SIZE + size);
    return receive_result(raw, WRITE_BLOCK_RET, done);
}
