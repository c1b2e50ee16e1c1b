/* A tiny DNS server on a loopback port, answering by the first label of the name; the test calls it when its socket is readable. */
#ifndef TESTS_DNS_SERVER_H
#define TESTS_DNS_SERVER_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct dns_server {
    int socket;
    char address[64]; /* "127.0.0.1:port" */
    unsigned queries;
};

enum { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_REFUSED = 5 };

struct dns_reply {
    unsigned char packet[8192];
    size_t len;
    unsigned answers;
};

static inline void dns_server_start(struct dns_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    *server = (struct dns_server){.socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    cr_assert_eq(bind(server->socket, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(getsockname(server->socket, (struct sockaddr *)&address, &len), 0);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", ntohs(address.sin_port));
}

static inline void dns_server_stop(struct dns_server *server)
{
    close(server->socket);
}

static inline void dns_put16(struct dns_reply *reply, unsigned value)
{
    reply->packet[reply->len++] = value >> 8;
    reply->packet[reply->len++] = value;
}

static inline void dns_put_answer(struct dns_reply *reply, unsigned type, uint32_t ttl, const void *data, unsigned len)
{
    dns_put16(reply, 0xc00c); /* the name of the question */
    dns_put16(reply, type);
    dns_put16(reply, 1);
    dns_put16(reply, ttl >> 16);
    dns_put16(reply, ttl);
    dns_put16(reply, len);
    memcpy(reply->packet + reply->len, data, len);
    reply->len += len;
    reply->answers++;
}

static inline void dns_put_v4(struct dns_reply *reply, unsigned count, uint32_t ttl)
{
    for (unsigned i = 1; i <= count; i++)
        dns_put_answer(reply, DNS_A, ttl, (unsigned char[]){127, 0, 0, i}, 4);
}

static inline void dns_put_v6(struct dns_reply *reply, unsigned count, uint32_t ttl)
{
    for (unsigned i = 1; i <= count; i++)
        dns_put_answer(reply, DNS_AAAA, ttl, (unsigned char[16]){[15] = i}, 16);
}

/* Returns the response code, −1: no answer at all. */
static inline int dns_answer(struct dns_server *server, struct dns_reply *reply, const char *label, unsigned type)
{
    bool v4 = type == DNS_A;
    if (strcmp(label, "both") == 0)
        v4 ? dns_put_v4(reply, 2, 60) : dns_put_v6(reply, 1, 300);
    else if (strcmp(label, "v4") == 0 || strcmp(label, "aaaa-fails") == 0 || strcmp(label, "aaaa-silent") == 0)
        dns_put_v4(reply, v4, 60);
    else if (strcmp(label, "v6") == 0)
        dns_put_v6(reply, !v4, 60);
    else if (strncmp(label, "ttl", 3) == 0)
        dns_put_v4(reply, v4, label[3] == '0' ? 0 : label[3] == 'm' ? INT32_MAX : 0x80000000u);
    else if (strncmp(label, "many", 4) == 0)
        v4 ? dns_put_v4(reply, 70, 60) : dns_put_v6(reply, label[4] ? 0 : 40, 60);
    else if (strcmp(label, "alias") == 0 && v4) {
        dns_put_answer(reply, DNS_CNAME, 5, "\6target\xc0\x12", 9); /* target.test: 0x12 is the end of "\5alias" */
        dns_put_answer(reply, DNS_A, 600, (unsigned char[]){127, 0, 0, 9}, 4);
        unsigned char *owner = reply->packet + reply->len - 16; /* of the address: the alias's target */
        owner[0] = 0xc0;
        owner[1] = (reply->packet + reply->len - 16 - 9) - reply->packet;
    } else if (strcmp(label, "second-try") == 0) {
        if (server->queries <= 2)
            return -1;
        dns_put_v4(reply, v4, 60);
    }
    if (strcmp(label, "nxdomain") == 0)
        return DNS_NXDOMAIN;
    if (strcmp(label, "refused") == 0)
        return DNS_REFUSED;
    if (strcmp(label, "servfail") == 0 || (strcmp(label, "a-fails") == 0 && v4) || (strcmp(label, "aaaa-fails") == 0 && !v4))
        return DNS_SERVFAIL;
    if (strcmp(label, "silent") == 0 || (strcmp(label, "aaaa-silent") == 0 && !v4))
        return -1;
    return 0;
}

static inline bool dns_server_serve_one(struct dns_server *server)
{
    struct dns_reply reply = {0};
    struct sockaddr_in client;
    socklen_t client_len = sizeof(client);
    ssize_t len = recvfrom(server->socket, reply.packet, 512, 0, (struct sockaddr *)&client, &client_len);
    if (len < 18)
        return false;
    server->queries++;
    char label[64] = "";
    for (unsigned i = 0; i < reply.packet[12]; i++)
        label[i] = reply.packet[13 + i] | 0x20; /* lower case; a hyphen and a digit stay as they are */
    size_t end = 12 + strlen((char *)reply.packet + 12) + 1;
    reply.len = end + 4;
    int code = dns_answer(server, &reply, label, reply.packet[end + 1]);
    if (code < 0)
        return true;
    reply.packet[2] = 0x81; /* a response */
    reply.packet[3] = 0x80 | code;
    memcpy(reply.packet + 6, (unsigned char[]){reply.answers >> 8, reply.answers, 0, 0, 0, 0}, 6);
    if (strcmp(label, "garbage") == 0) { /* an answer that is announced, and bytes that are none */
        reply.packet[7] = 3;
        memset(reply.packet + reply.len, 0xff, 40);
        reply.len += 40;
    }
    if (strcmp(label, "cut") == 0) {
        dns_put_v4(&reply, 1, 60);
        reply.packet[7] = 1;
        reply.len -= 6;
    }
    sendto(server->socket, reply.packet, reply.len, 0, (struct sockaddr *)&client, client_len);
    return true;
}

static inline void dns_server_serve(struct dns_server *server)
{
    while (dns_server_serve_one(server))
        continue;
}

#endif
