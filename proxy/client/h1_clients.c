/* The clients of a worker: how they come, how they all go, and what they share. */
#include "proxy/client/clients.h"
#include "proxy/client/h1_client.h"

#include <assert.h>
#include <stdlib.h>

/* What an idle keep-alive connection may cost in all is 0.4 KB (DESIGN §5): this, struct connection, and what malloc adds to both. */
_Static_assert(sizeof(struct h1_client) <= 160, "idle clients are many");

static void clients_free(struct h1_clients *clients)
{
    struct list *node;
    while ((node = list_pop_front(&clients->spare)))
        free(LIST_OWNER(node, struct h1_exchange, link));
    free(clients);
}

static void on_resume(struct mail *mail)
{
    struct h1_clients *clients = LIST_OWNER(mail, struct h1_clients, resume);
    struct list *node;
    if (clients->is_cut) {
        clients_free(clients);
        return;
    }
    while ((node = list_pop_front(&clients->resumable))) {
        list_push_back(&clients->clients, node);
        h1_resume(LIST_OWNER(node, struct h1_client, link));
    }
}

static struct h1_clients *clients_of(struct worker *worker)
{
    if (worker->clients)
        return worker->clients;
    struct h1_clients *clients = malloc(sizeof(*clients));
    assert(clients);
    clients->worker = worker;
    list_init(&clients->clients);
    list_init(&clients->resumable);
    list_init(&clients->spare);
    clients->spare_count = 0;
    clients->is_cut = false;
    clients->batch_of = NULL;
    clients->batch_bytes = 0;
    mail_init(&clients->resume, worker->loop, on_resume);
    h1_parser_init(&clients->fresh_parser);
    worker->clients = clients;
    return clients;
}

void h1_attach_exchange(struct h1_client *client)
{
    struct h1_clients *clients = client->worker->clients;
    struct list *spare = list_pop_front(&clients->spare);
    struct h1_exchange *exchange = spare ? LIST_OWNER(spare, struct h1_exchange, link) : malloc(sizeof(*exchange));
    assert(exchange);
    clients->spare_count -= spare != NULL;
    list_init(&exchange->link);
    memset(&exchange->peer, 0, sizeof(exchange->peer));
    memcpy(&exchange->peer, &client->peer, sizeof(client->peer));
    exchange->request = NULL;
    exchange->version_minor = 1;
    exchange->keep_alive = exchange->is_followed = exchange->head_sent = exchange->last_sent = exchange->waits = false;
    exchange->has_upload = false;
    exchange->body = H1_BODY_NONE;
    exchange->left = 0;
    client->exchange = exchange;
}

void h1_detach_exchange(struct h1_client *client)
{
    struct h1_clients *clients = client->worker->clients;
    struct h1_exchange *exchange = client->exchange;
    client->exchange = NULL;
    if (!exchange)
        return;
    if (exchange->has_upload)
        h1_upload_end(&exchange->upload);
    if (clients->spare_count == H1_SPARE_EXCHANGES_MAX) {
        free(exchange);
        return;
    }
    list_push_front(&clients->spare, &exchange->link);
    clients->spare_count++;
}

void h1_accept(struct worker *worker, struct connection *connection, enum listener_kind kind, const union socket_address *peer,
               struct bytes already_read)
{
    struct h1_clients *clients = clients_of(worker);
    struct h1_client *client = calloc(1, sizeof(*client));
    assert(client);
    client->connection = connection;
    connection_set_owner(connection, &h1_connection_events, client);
    client->stream.ops = &h1_stream_ops;
    client->worker = worker;
    client->state = H1_FRESH;
    client->listener = (uint8_t)kind;
    memcpy(&client->peer, peer, sizeof(client->peer));
    list_push_back(&clients->clients, &client->link);
    h1_set_deadline(client, h1_config(client)->header_timeout_ms);
    if (already_read.len > 0)
        h1_begin(client, already_read);
    else
        connection_want(connection, WANT_READ);
}

void h1_drain(struct worker *worker)
{
    if (!worker->clients)
        return;
    LIST_FOR_EACH_SAFE(node, &worker->clients->clients)
    {
        struct h1_client *client = LIST_OWNER(node, struct h1_client, link);
        if (client->state > H1_IDLE || client->held || client->out || connection_has_input(client->connection))
            continue;
        h1_set_deadline(client, H1_GOODBYE_MS);
    }
}

void h1_cut(struct worker *worker)
{
    struct h1_clients *clients = worker->clients;
    if (!clients)
        return;
    while (!list_is_empty(&clients->clients) || !list_is_empty(&clients->resumable)) {
        struct list *first = list_is_empty(&clients->clients) ? clients->resumable.next : clients->clients.next;
        struct h1_client *client = LIST_OWNER(first, struct h1_client, link);
        h1_enter(client);
        if (client->state == H1_REQUEST)
            h1_give_up(client, ERROR_SHUTTING_DOWN);
        else
            h1_close(client);
        h1_leave(client);
    }
    worker->clients = NULL;
    clients->is_cut = true;
    if (!mail_is_posted(&clients->resume))
        clients_free(clients);
}
