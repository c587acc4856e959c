-- Where people are told: addresses of webhooks and phone numbers stand here and nowhere else.
-- The secret of an endpoint stands nowhere: it derives from a seed, the id and the generation.
CREATE TABLE webhook_endpoints (
    id             uuid        PRIMARY KEY,
    user_id        uuid        NOT NULL,
    url            text        NOT NULL,
    description    text        NOT NULL,
    generation     integer     NOT NULL DEFAULT 1,
    -- Until then the secret of the generation before signs, too.
    previous_until timestamptz,
    created_at     timestamptz NOT NULL,
    removed_at     timestamptz
);
CREATE INDEX webhook_endpoints_of_user ON webhook_endpoints (user_id, created_at, id);

-- Commands that rotated a secret: one that is sent again rotates nothing.
CREATE TABLE webhook_rotations (
    endpoint_id uuid NOT NULL,
    command     uuid NOT NULL,
    PRIMARY KEY (endpoint_id, command)
);

-- A number is its owner's once they have told the code that was sent there.
CREATE TABLE phones (
    user_id      uuid        PRIMARY KEY,
    number       text,
    verified_at  timestamptz,
    pending      text,
    code_hash    text,
    code_until   timestamptz,
    attempts     integer     NOT NULL DEFAULT 0,
    codes        integer     NOT NULL DEFAULT 0,
    codes_since  timestamptz NOT NULL
);
