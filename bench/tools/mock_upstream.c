/* A provider for the benchmark: HTTP/1.1 on a free port of 127.0.0.1, one epoll thread, nothing allocated per event.
 *
 *   mock_upstream          prints "ready PORT"; ends with its parent
 *
 * A request whose body holds MOCK[n=EVENTS;d=MILLISECONDS] within its first 4 KB is answered with an Anthropic event
 * stream: n text deltas, d ms apart (0: as fast as they are taken). Any other request gets a JSON message.
 * Every delta carries @@<19 digits>@@: CLOCK_MONOTONIC in ns just before its own send(2), in a chunk of its own.
 * It understands what the load generator sends through a proxy: Content-Length bodies, no pipelining.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FD = 16384,     /* connections are found by descriptor */
    BATCH = 1024,       /* events of one epoll_wait */
    BACKLOG = 8192,     /* a thousand streams may connect at once */
    BURST = 8,          /* deltas that an unpaced stream sends before the next one has its turn */
    MARKER_WITHIN = 4096,
};

typedef struct {
    int open, waits_out;
    char *in, *out;
    size_t in_len, in_cap, out_len, out_off, out_cap;
    size_t need;        /* bytes of the request, head and body; 0: head not complete yet */
    size_t head_len;
    int events, sent, pause_ms;
} conn;

static conn conns[MAX_FD];
static uint64_t due[MAX_FD]; /* ms at which a stream sends its next delta; 0: none. Apart, so that a scan is short. */
static int ep, top, streams, eager;

static const char EXTRA_HEADERS[] = /* as many and as long as the real service sends */
    "x-request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\nrequest-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\n"
    "anthropic-organization-id: 3e2c1a5e-aaaa-bbbb-cccc-000000000000\r\n"
    "anthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\n"
    "anthropic-ratelimit-requests-reset: 2026-01-01T00:00:00Z\r\nanthropic-ratelimit-tokens-limit: 400000\r\n"
    "anthropic-ratelimit-tokens-remaining: 399000\r\nvia: 1.1 google\r\ncf-cache-status: DYNAMIC\r\n"
    "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\nserver: cloudflare\r\n"
    "cf-ray: 0000000000000000-AMS\r\n";
static const char MESSAGE[] =
    "{\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":\"assistant\","
    "\"model\":\"claude-sonnet-4-20250514\",\"content\":[{\"type\":\"text\",\"text\":\"Hello! This is the mock upstream "
    "speaking; it says the same every time.\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":"
    "{\"input_tokens\":2095,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":503,"
    "\"service_tier\":\"standard\"}}";
static const char STREAM_START[] =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_014p7gG3wDgGV9EUtLvnow3U\","
    "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-20250514\",\"stop_sequence\":null,\"usage\":"
    "{\"input_tokens\":472,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":2},"
    "\"content\":[],\"stop_reason\":null}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\","
    "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n";
static const char STREAM_END[] =
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: "
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":"
    "{\"output_tokens\":89}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
static const char DELTA[] =
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
    "{\"type\":\"text_delta\",\"text\":\" tok@@%019llu@@\"}}\n\n";

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void wait_out(int fd, int wanted)
{
    conn *c = &conns[fd];
    if (c->waits_out == wanted)
        return;
    c->waits_out = wanted;
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

static void stop_stream(int fd)
{
    if (!due[fd])
        return;
    due[fd] = 0;
    streams--;
    eager -= !conns[fd].pause_ms;
}

static void hang_up(int fd)
{
    conn *c = &conns[fd];
    stop_stream(fd);
    c->open = 0;
    c->in_len = c->out_len = c->out_off = c->need = 0;
    close(fd);
}

static void put(conn *c, const char *data, size_t size)
{
    if (c->out_len + size > c->out_cap) {
        c->out_cap = (c->out_len + size) * 2;
        c->out = realloc(c->out, c->out_cap);
    }
    memcpy(c->out + c->out_len, data, size);
    c->out_len += size;
}

static void put_chunk(conn *c, const char *data, size_t size)
{
    char line[24];
    put(c, line, sprintf(line, "%zx\r\n", size));
    put(c, data, size);
    put(c, "\r\n", 2);
}

/* 0: all is sent. 1: the rest waits for room. -1: the connection is gone. */
static int flush(int fd)
{
    conn *c = &conns[fd];
    while (c->out_off < c->out_len) {
        ssize_t n = send(fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            wait_out(fd, 1);
            return 1;
        }
        if (n < 0) {
            hang_up(fd);
            return -1;
        }
        c->out_off += n;
    }
    c->out_off = c->out_len = 0;
    wait_out(fd, 0);
    return 0;
}

/* One delta, and the end of the stream after the last one. Returns what `flush` said. */
static int send_delta(int fd)
{
    conn *c = &conns[fd];
    char text[256];
    put_chunk(c, text, sprintf(text, DELTA, (unsigned long long)now_ns()));
    if (++c->sent == c->events) {
        put_chunk(c, STREAM_END, sizeof STREAM_END - 1);
        put(c, "0\r\n\r\n", 5);
        stop_stream(fd);
    }
    return flush(fd);
}

static void answer(int fd)
{
    conn *c = &conns[fd];
    char head[1500];
    size_t body = c->need - c->head_len;
    char *marker = memmem(c->in + c->head_len, body < MARKER_WITHIN ? body : MARKER_WITHIN, "MOCK[", 5);
    c->in_len = c->need = 0;
    if (!marker || sscanf(marker, "MOCK[n=%d;d=%d]", &c->events, &c->pause_ms) != 2) {
        put(c, head, sprintf(head, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json"
                             "\r\nContent-Length: %zu\r\n%s\r\n", sizeof MESSAGE - 1, EXTRA_HEADERS));
        put(c, MESSAGE, sizeof MESSAGE - 1);
        flush(fd);
        return;
    }
    put(c, head, sprintf(head, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/event-stream; "
                         "charset=utf-8\r\nTransfer-Encoding: chunked\r\nCache-Control: no-cache\r\n%s\r\n", EXTRA_HEADERS));
    put_chunk(c, STREAM_START, sizeof STREAM_START - 1);
    c->sent = 0;
    /* Streams that begin together are spread over one pause, as those of independent agents are. */
    due[fd] = now_ns() / 1000000 + (c->pause_ms ? 1 + rand() % c->pause_ms : 0);
    streams++;
    eager += !c->pause_ms;
    send_delta(fd);
}

static void take_request(int fd)
{
    conn *c = &conns[fd];
    if (!c->need) {
        char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        if (!end)
            return;
        c->head_len = end + 4 - c->in;
        c->need = c->head_len;
        for (char *line = c->in; line < end; line = memchr(line, '\n', end + 4 - line) + 1)
            if (!strncasecmp(line, "content-length:", 15))
                c->need += atol(line + 15);
    }
    if (c->in_len >= c->need)
        answer(fd);
}

static void receive(int fd)
{
    conn *c = &conns[fd];
    for (;;) {
        if (c->in_cap - c->in_len < 16384) {
            c->in_cap = c->in_cap ? c->in_cap * 2 : 32768;
            c->in = realloc(c->in, c->in_cap);
        }
        size_t room = c->in_cap - c->in_len;
        ssize_t n = recv(fd, c->in + c->in_len, room, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            hang_up(fd);
            return;
        }
        c->in_len += n;
        take_request(fd);
        if (!c->open || (size_t)n < room)
            return;
    }
}

static void accept_all(int listening)
{
    int fd, one = 1;
    while ((fd = accept4(listening, 0, 0, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd].open = 1;
        conns[fd].waits_out = 0;
        if (fd >= top)
            top = fd + 1;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

static void send_due(uint64_t now)
{
    for (int fd = 0; fd < top; fd++) {
        conn *c = &conns[fd];
        if (!due[fd] || due[fd] > now)
            continue;
        if (c->pause_ms) {
            due[fd] += c->pause_ms; /* before sending: the last delta clears it */
            send_delta(fd);
        } else if (!c->out_len) {
            for (int i = 0; i < BURST && due[fd] && send_delta(fd) == 0; i++)
                ;
        }
    }
}

int main(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (bind(listening, (void *)&at, size) || listen(listening, BACKLOG)) {
        perror("mock_upstream");
        return 1;
    }
    getsockname(listening, (void *)&at, &size);
    printf("ready %d\n", ntohs(at.sin_port));
    fflush(stdout);
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listening};
    epoll_ctl(ep, EPOLL_CTL_ADD, listening, &e);
    static struct epoll_event ready[BATCH];
    for (uint64_t last = 0;;) {
        int n = epoll_wait(ep, ready, BATCH, eager ? 0 : streams ? 1 : -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listening)
                accept_all(listening);
            else if (conns[fd].open && (!(ready[i].events & EPOLLOUT) || flush(fd) >= 0))
                receive(fd);
        }
        uint64_t now = now_ns() / 1000000;
        if (streams && (eager || now != last))
            send_due(last = now);
    }
}
