/* Load for the benchmark: HTTP/1.1 requests over a fixed number of connections, one epoll thread. Each connection sends
 * its next request when the response before has ended. Prints one line of JSON.
 *
 *   loadgen PORT BODY_FILE CONNECTIONS WARM_SECONDS SECONDS RAMP_SECONDS EVENTS
 *
 * POST /v1/messages with the body, for WARM + SECONDS; only the latter count. The connections begin within RAMP_SECONDS.
 * EVENTS > 0: responses are event streams of so many deltas; payloads are de-chunked and searched for @@<ns>@@, the time
 * at which the mock upstream sent that delta. Times in the output are microseconds; -1: no sample.
 * `requests` and `events` are those of the whole run (to divide CPU by); `requests_s` and `events_s` of the counted time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 1024,          /* events of one epoll_wait */
    MOST_ERRORS = 1000,    /* then the run ends: there is nothing to measure */
    GRACE_MS = 5000,       /* how long requests (not streams) may finish after the counted time */
    HEAD_BYTES = 16384,
};

typedef struct {
    float *at;
    size_t count, room;
} samples;

typedef struct {
    int fd, connected, busy, waits_out, first;
    size_t sent, head_len;
    uint64_t began;
    enum { HEAD, LENGTH, CHUNK_LINE, CHUNK, CHUNK_END, TRAILER } state;
    long left;             /* of the body or the chunk */
    int line_len;
    char line[24];
    int marker, digits;    /* of the search for @@<19 digits>@@: characters of the frame seen, digits seen */
    uint64_t number;
    long events;
    char head[HEAD_BYTES];
} conn;

static int ep, port, events_expected;
static char *request;
static size_t request_len;
static uint64_t count_from, count_until;
static samples latency, first_byte, delay;
static long requests, counted, events, events_counted, errors, incomplete, idle;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void add(samples *s, double value)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 65536;
        s->at = realloc(s->at, s->room * sizeof(float));
    }
    s->at[s->count++] = (float)value;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(const samples *s, double q)
{
    return s->count ? s->at[(size_t)(q * (s->count - 1) + .5)] : -1;
}

static void begin(conn *c);

static void fail(conn *c, const char *why)
{
    if (errors++ < 3)
        fprintf(stderr, "loadgen: %s (%s)\n", why, errno ? strerror(errno) : "-");
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->connected = 0;
    begin(c);
}

static void wait_out(conn *c, int wanted)
{
    if (c->waits_out == wanted)
        return;
    c->waits_out = wanted;
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void send_rest(conn *c)
{
    while (c->sent < request_len) {
        ssize_t n = send(c->fd, request + c->sent, request_len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            wait_out(c, 1);
            return;
        }
        if (n < 0) {
            fail(c, "send");
            return;
        }
        c->sent += n;
    }
    wait_out(c, 0);
}

/* The next request, unless the time is over. */
static void begin(conn *c)
{
    uint64_t now = now_ns();
    c->busy = now < count_until && errors < MOST_ERRORS;
    if (!c->busy) {
        idle++;
        return;
    }
    c->began = now;
    c->state = HEAD;
    c->sent = c->head_len = c->first = c->marker = c->digits = c->events = c->line_len = 0;
    if (c->fd >= 0) {
        send_rest(c);
        return;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect(c->fd, (void *)&to, sizeof to);
    c->waits_out = 1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static void end_response(conn *c, uint64_t now)
{
    requests++;
    if (now >= count_from && now <= count_until) {
        counted++;
        add(&latency, (now - c->began) / 1e3);
    }
    if (events_expected && c->events != events_expected)
        incomplete++;
    begin(c);
}

static void search(conn *c, const char *p, size_t size, uint64_t now)
{
    const char *end = p + size;
    while (p < end) {
        if (c->marker == 0) {
            p = memchr(p, '@', end - p);
            if (!p)
                return;
            c->marker = 1;
            p++;
            continue;
        }
        char ch = *p++;
        if (c->marker == 1) {
            c->marker = ch == '@' ? 2 : 0;
            c->number = c->digits = 0;
        } else if (ch >= '0' && ch <= '9') {
            c->number = c->number * 10 + (ch - '0');
            c->digits++;
        } else {
            c->marker = 0;
            if (ch != '@' || c->digits != 19)
                continue;
            c->events++;
            events++;
            if (now >= count_from && now <= count_until) {
                events_counted++;
                add(&delay, (double)(int64_t)(now - c->number) / 1e3);
            }
        }
    }
}

static void take_payload(conn *c, const char *data, size_t size, uint64_t now)
{
    if (!c->first) {
        c->first = 1;
        add(&first_byte, (now - c->began) / 1e3); /* also before the counted time: most streams begin there */
    }
    if (events_expected)
        search(c, data, size, now);
}

/* Takes head bytes from `p`; returns how many were used. Negative: this is not a good response. */
static long take_head(conn *c, const char *p, size_t size)
{
    size_t before = c->head_len, n = size;
    if (n > HEAD_BYTES - 1 - before)
        n = HEAD_BYTES - 1 - before;
    memcpy(c->head + before, p, n);
    c->head_len += n;
    c->head[c->head_len] = 0;
    char *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (!end)
        return n ? (long)n : -1;
    end[2] = 0;
    if (strncmp(c->head, "HTTP/1.1 200", 12)) {
        if (errors < 3)
            fprintf(stderr, "loadgen: %.200s\n", c->head);
        return -1;
    }
    c->left = -1;
    c->state = LENGTH;
    for (char *line = strchr(c->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (!strncasecmp(line, "content-length:", 15))
            c->left = atol(line + 15);
        else if (!strncasecmp(line, "transfer-encoding:", 18))
            c->state = CHUNK_LINE;
    }
    if (c->state == LENGTH && c->left <= 0)
        return -1;
    return end + 4 - c->head - before;
}

/* One character of the framing between chunks. 1: the response has ended. */
static int take_framing(conn *c, char ch)
{
    if (ch != '\n') {
        if (ch != '\r' && c->line_len < (int)sizeof c->line - 1)
            c->line[c->line_len++] = ch;
        return 0;
    }
    c->line[c->line_len] = 0;
    int empty = !c->line_len;
    c->line_len = 0;
    if (c->state == TRAILER)
        return empty;
    if (c->state == CHUNK_END) {
        c->state = CHUNK_LINE;
    } else {
        c->left = strtol(c->line, 0, 16);
        c->state = c->left ? CHUNK : TRAILER;
    }
    return 0;
}

static void take(conn *c, const char *p, size_t size, uint64_t now)
{
    const char *end = p + size;
    while (p < end) {
        if (!c->busy) {
            fail(c, "bytes that were not asked for");
            return;
        }
        if (c->state == HEAD) {
            long used = take_head(c, p, end - p);
            if (used < 0) {
                fail(c, "not a good response");
                return;
            }
            p += used;
        } else if (c->state == LENGTH || c->state == CHUNK) {
            size_t n = end - p < c->left ? end - p : c->left;
            take_payload(c, p, n, now);
            p += n;
            c->left -= n;
            if (!c->left && c->state == LENGTH)
                end_response(c, now);
            else if (!c->left)
                c->state = CHUNK_END;
        } else if (take_framing(c, *p++)) {
            end_response(c, now);
        }
        if (c->fd < 0)
            return;
    }
}

static void receive(conn *c)
{
    static char buffer[1 << 18];
    for (;;) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 && c->busy) {
            fail(c, n ? "recv" : "the connection was closed in mid-response");
            return;
        }
        if (n <= 0) {
            close(c->fd);
            c->fd = -1;
            return;
        }
        take(c, buffer, n, now_ns());
        if (c->fd < 0 || (size_t)n < sizeof buffer)
            return;
    }
}

static void make_request(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    request = malloc(size + 1024);
    request_len = sprintf(request,
        "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: %s\r\n"
        "User-Agent: loadgen/1\r\nx-api-key: sk-ant-benchmark\r\nanthropic-version: 2023-06-01\r\n"
        "Accept-Encoding: identity\r\nContent-Length: %ld\r\n\r\n",
        port, events_expected ? "text/event-stream" : "application/json", size);
    if (fread(request + request_len, 1, size, file) != (size_t)size)
        exit(2);
    request_len += size;
    fclose(file);
}

static void handle(const struct epoll_event *ready)
{
    conn *c = ready->data.ptr;
    if (c->fd < 0)
        return;
    if (!c->connected) {
        socklen_t size = sizeof errno;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errno, &size);
        if (errno) {
            usleep(1000);
            fail(c, "connect");
            return;
        }
        c->connected = 1;
    }
    if (ready->events & EPOLLOUT)
        send_rest(c);
    if (c->fd >= 0 && (ready->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(c);
}

static void report(double seconds)
{
    qsort(latency.at, latency.count, sizeof(float), by_size);
    qsort(first_byte.at, first_byte.count, sizeof(float), by_size);
    qsort(delay.at, delay.count, sizeof(float), by_size);
    printf("{\"requests\":%ld,\"requests_s\":%.1f,\"events\":%ld,\"events_s\":%.1f,\"errors\":%ld,\"incomplete\":%ld,",
           requests, counted / seconds, events, events_counted / seconds, errors, incomplete);
    printf("\"latency_p50\":%.1f,\"latency_p99\":%.1f,\"first_byte_p50\":%.1f,\"first_byte_p99\":%.1f,",
           quantile(&latency, .5), quantile(&latency, .99), quantile(&first_byte, .5), quantile(&first_byte, .99));
    printf("\"delay_p50\":%.1f,\"delay_p99\":%.1f}\n", quantile(&delay, .5), quantile(&delay, .99));
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: loadgen PORT BODY_FILE CONNECTIONS WARM_SECONDS SECONDS RAMP_SECONDS EVENTS\n");
        return 2;
    }
    int size = atoi(argv[3]), begun = 0;
    double warm = atof(argv[4]), seconds = atof(argv[5]), ramp = atof(argv[6]);
    port = atoi(argv[1]);
    events_expected = atoi(argv[7]);
    make_request(argv[2]);
    conn *conns = calloc(size, sizeof *conns);
    static struct epoll_event ready[BATCH];
    ep = epoll_create1(0);
    uint64_t start = now_ns();
    count_from = start + (uint64_t)(warm * 1e9);
    count_until = count_from + (uint64_t)(seconds * 1e9);
    for (;;) {
        uint64_t now = now_ns();
        if (now >= count_until && (events_expected || idle >= begun || now >= count_until + GRACE_MS * 1000000ull))
            break;
        if (errors >= MOST_ERRORS)
            break;
        int wanted = ramp > 0 ? 1 + (now - start) / 1e9 / ramp * size : size;
        while (begun < size && begun < wanted && now < count_until) {
            conns[begun].fd = -1;
            begin(&conns[begun++]);
        }
        int n = epoll_wait(ep, ready, BATCH, begun < size ? 1 : 20);
        for (int i = 0; i < n; i++)
            handle(&ready[i]);
    }
    report(seconds);
    return 0;
}
