-- How far each projection has folded each partition. The epoch fences: a starting process raises
-- it, and whoever still writes with the old one changes no row here and is turned away.
CREATE TABLE projection_offsets (
    projection  text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL CHECK (next_offset >= 0),
    epoch       bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, topic, partition)
);

-- Every event that was folded, in the place where it stands in the log. The second unique key is
-- what makes an echo change nothing: the first record of an event id in a partition is the fact.
CREATE TABLE timeline (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    event_id    uuid        NOT NULL,
    type        text        NOT NULL,
    "time"      timestamptz NOT NULL,
    source      text        NOT NULL,
    causation   uuid,
    correlation uuid,
    facts       jsonb       NOT NULL,
    PRIMARY KEY (topic, partition, "offset"),
    UNIQUE (topic, partition, event_id)
);
CREATE INDEX timeline_correlation ON timeline (correlation) WHERE correlation IS NOT NULL;

-- Records that are no event of their topic. They are kept to be looked at; nothing else waits for them.
CREATE TABLE undecodable (
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    reason    text        NOT NULL,
    seen_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, "offset")
);

CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    registered_at timestamptz NOT NULL,
    twin_id       bigint,
    account       text,
    twin_block    bigint,
    detail        text,
    updated_at    timestamptz NOT NULL,
    version       bigint      NOT NULL
);

-- Amounts are integers: TFT and USDC in 10^-7 units, charges in the currency's minor unit.
CREATE TABLE purchases (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    twin_id       bigint      NOT NULL,
    quote_id      uuid        NOT NULL,
    state         text        NOT NULL,
    tft           bigint      NOT NULL,
    usdc_cap      bigint      NOT NULL,
    usdc_spent    bigint      NOT NULL,
    charge_minor  bigint      NOT NULL,
    currency      text        NOT NULL,
    intent_id     text,
    swap_tx       text,
    handoff_tx    text,
    mint_block    bigint,
    refund_id     text,
    alarm         text,
    detail        text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    version       bigint      NOT NULL
);
CREATE INDEX purchases_of_user ON purchases (user_id, created_at DESC, id);

CREATE TABLE deployments (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    twin_id       bigint      NOT NULL,
    purchase_id   uuid,
    node_id       bigint      NOT NULL,
    hash          text        NOT NULL,
    state         text        NOT NULL,
    contract_id   bigint,
    extrinsic     text,
    block         bigint,
    reason        text,
    detail        text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    version       bigint      NOT NULL
);
CREATE INDEX deployments_of_user ON deployments (user_id, created_at DESC, id);
CREATE INDEX deployments_of_purchase ON deployments (purchase_id) WHERE purchase_id IS NOT NULL;
