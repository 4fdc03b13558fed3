/* The load on a broker: one thread with the clients, one with all the workers, which echo.
 *
 *   load FRONT BACK WORKERS WINDOW COUNT SIZE [SERVER_KEY PUBLIC_KEY SECRET_KEY]
 *
 * Clients connect to FRONT, workers to BACK. Where both are the same, a broker of Majordomo 0.2 is
 * there; where they differ, a proxy that adds nothing but the client's identity. WINDOW requests are
 * on their way at once, from up to four clients. Prints requests per second, then the median and the
 * 99th percentile of the time of a request in microseconds, which mean something for WINDOW 1 only.
 *
 * What it needs of zmq.h stands here, since the library may come without its header.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { void *socket; int fd; short events; short revents; } zmq_pollitem_t;
void *zmq_ctx_new(void);
void *zmq_socket(void *context, int type);
int zmq_setsockopt(void *socket, int option, const void *value, size_t size);
int zmq_getsockopt(void *socket, int option, void *value, size_t *size);
int zmq_connect(void *socket, const char *endpoint);
int zmq_send(void *socket, const void *data, size_t size, int flags);
int zmq_recv(void *socket, void *data, size_t size, int flags);
int zmq_poll(zmq_pollitem_t *items, int count, long timeout_ms);

enum { DEALER = 5, POLLIN = 1, DONTWAIT = 1, SNDMORE = 2 };
enum { RCVMORE = 13, LINGER = 17, SERVERKEY = 50, PUBLICKEY = 48, SECRETKEY = 49 };
enum { CLIENTS = 4, MAX_FRAMES = 8, MAX_SIZE = 1 << 20, PATIENCE_MS = 20000 };

struct frame { size_t size; char data[MAX_SIZE]; };
struct message { int count; struct frame *frames; };
struct client { void *socket; double asked_at; };

static const char *front, *back, *keys[3];
static int workers, window, count, size;

static void fail(const char *why) { fprintf(stderr, "load: %s\n", why); exit(1); }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void *dealer(void *context, const char *endpoint)
{
    void *socket = zmq_socket(context, DEALER);
    int none = 0;
    zmq_setsockopt(socket, LINGER, &none, sizeof none);
    if (keys[0]) {
        zmq_setsockopt(socket, SERVERKEY, keys[0], 41);
        zmq_setsockopt(socket, PUBLICKEY, keys[1], 41);
        zmq_setsockopt(socket, SECRETKEY, keys[2], 41);
    }
    if (zmq_connect(socket, endpoint)) fail("can't connect");
    return socket;
}

static struct message empty_message(void)
{
    struct message made = { 0, calloc(MAX_FRAMES, sizeof(struct frame)) };
    return made;
}

/* Whether a message was there. */
static int receive(void *socket, struct message *into, int flags)
{
    int more = 1;
    size_t more_size = sizeof more;
    for (into->count = 0; more; into->count++) {
        if (into->count == MAX_FRAMES) fail("too many frames");
        struct frame *frame = into->frames + into->count;
        int got = zmq_recv(socket, frame->data, MAX_SIZE, flags);
        if (got < 0) return 0;
        frame->size = got;
        zmq_getsockopt(socket, RCVMORE, &more, &more_size);
    }
    return 1;
}

static void send_all(void *socket, const struct message *message)
{
    for (int at = 0; at < message->count; at++)
        zmq_send(socket, message->frames[at].data, message->frames[at].size,
                 at + 1 < message->count ? SNDMORE : 0);
}

static void *work(void *unused)
{
    void *context = zmq_ctx_new();
    zmq_pollitem_t *items = calloc(workers, sizeof *items);
    struct message message = empty_message();
    int is_broker = !strcmp(front, back);
    for (int at = 0; at < workers; at++) {
        items[at] = (zmq_pollitem_t){ dealer(context, back), 0, POLLIN, 0 };
        if (is_broker) {
            zmq_send(items[at].socket, "MDPW02", 6, SNDMORE);
            zmq_send(items[at].socket, "\1", 1, SNDMORE);
            zmq_send(items[at].socket, "echo", 4, 0);
        }
    }
    for (;;) {
        zmq_poll(items, workers, -1);
        for (int at = 0; at < workers; at++) {
            if (!(items[at].revents & POLLIN)) continue;
            while (receive(items[at].socket, &message, DONTWAIT)) {
                char *command = message.frames[is_broker ? 1 : 2].data;
                if (is_broker && *command != 2) continue;
                *command = is_broker ? 4 : 3;
                send_all(items[at].socket, &message);
            }
        }
    }
    return unused;
}

static void ask(struct client *client, const char *body)
{
    zmq_send(client->socket, "MDPC02", 6, SNDMORE);
    zmq_send(client->socket, "\1", 1, SNDMORE);
    zmq_send(client->socket, "echo", 4, SNDMORE);
    zmq_send(client->socket, body, size, 0);
    client->asked_at = now();
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 10) fail("expected 6 or 9 arguments");
    front = argv[1], back = argv[2];
    workers = atoi(argv[3]), window = atoi(argv[4]), count = atoi(argv[5]), size = atoi(argv[6]);
    for (int at = 7; at < argc; at++) keys[at - 7] = argv[at];

    int clients = window < CLIENTS ? window : CLIENTS;
    struct client client[CLIENTS];
    zmq_pollitem_t items[CLIENTS];
    void *context = zmq_ctx_new();
    for (int at = 0; at < clients; at++) {
        client[at].socket = dealer(context, front);
        items[at] = (zmq_pollitem_t){ client[at].socket, 0, POLLIN, 0 };
    }
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    nanosleep(&(struct timespec){ 0, 500000000 }, NULL);  /* until all workers are connected */

    struct message answer = empty_message();
    char *body = malloc(size);
    memset(body, 'x', size);
    int first = count / 10, total = count + first;  /* the first tenth warms up */
    int asked = 0, answered = 0;
    double *took = calloc(total, sizeof *took), began = 0;
    while (asked < window) ask(&client[asked++ % clients], body);
    while (answered < total) {
        if (!zmq_poll(items, clients, PATIENCE_MS)) fail("no answer in time");
        for (int at = 0; at < clients; at++) {
            if (!(items[at].revents & POLLIN)) continue;
            while (answered < total && receive(client[at].socket, &answer, DONTWAIT)) {
                if (*answer.frames[1].data != 3 || (int)answer.frames[3].size != size)
                    fail("no echo");
                if (answered == first) began = now();
                took[answered++] = now() - client[at].asked_at;
                if (asked < total) ask(&client[at], body), asked++;
            }
        }
    }
    double lasted = now() - began;
    qsort(took + first, count, sizeof *took, compare);
    printf("%.1f %.2f %.2f\n", count / lasted, 1e6 * took[first + count / 2],
           1e6 * took[first + count * 99 / 100]);
    fflush(stdout);
    _Exit(0);  /* the workers never end */
}
