-- Which command a user's Idempotency-Key stands for, and which aggregate it made.
CREATE TABLE idempotency_keys (
    user_id    uuid        NOT NULL,
    key        text        NOT NULL,
    route      text        NOT NULL,
    body_hash  bytea       NOT NULL,
    aggregate  uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_aggregate ON idempotency_keys (aggregate);

-- Offers, not facts: a purchase that accepts one carries the whole of it into the log.
-- TFT and USDC in 10^-7 units, the charge in the currency's minor unit.
CREATE TABLE quotes (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL,
    tft          bigint      NOT NULL,
    swap_tft     bigint      NOT NULL,
    usdc         bigint      NOT NULL,
    usdc_cap     bigint      NOT NULL,
    charge_minor bigint      NOT NULL,
    currency     text        NOT NULL,
    path         text[]      NOT NULL,
    ledger       bigint      NOT NULL,
    expires_at   timestamptz NOT NULL
);
