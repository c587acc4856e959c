-- What people want to be told, and how. No address, no number.
CREATE TABLE notification_preferences (
    user_id    uuid        PRIMARY KEY,
    language   text        NOT NULL,
    choices    jsonb       NOT NULL,
    updated_at timestamptz NOT NULL,
    version    bigint      NOT NULL
);

-- What became of webhook endpoints; their addresses are rows of the API.
CREATE TABLE webhook_endpoint_states (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    state         text        NOT NULL,
    reason        text,
    failing_since timestamptz,
    updated_at    timestamptz NOT NULL,
    version       bigint      NOT NULL
);

-- One row for what one person is told of one event by one channel, at one endpoint.
CREATE TABLE notifications (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL,
    kind            text        NOT NULL,
    channel         text        NOT NULL,
    endpoint_id     uuid,
    source_event_id uuid        NOT NULL,
    language        text        NOT NULL,
    figures         jsonb       NOT NULL,
    happened_at     timestamptz NOT NULL,
    state           text        NOT NULL,
    attempts        jsonb       NOT NULL,
    code            text,
    next_at         timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    version         bigint      NOT NULL
);
CREATE INDEX notifications_of_user ON notifications (user_id, created_at DESC, id DESC);
CREATE INDEX notifications_of_endpoint ON notifications (endpoint_id, created_at DESC, id DESC)
    WHERE endpoint_id IS NOT NULL;
