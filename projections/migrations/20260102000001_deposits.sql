-- What was paid to our account on Stellar. Amounts are in 10^-7 units of the asset.
CREATE TABLE deposits (
    id          text        PRIMARY KEY,
    sender      text        NOT NULL,
    asset       text        NOT NULL,
    amount      bigint      NOT NULL,
    memo_type   text        NOT NULL,
    memo        text,
    muxed_id    text,
    transaction text        NOT NULL,
    ledger      bigint      NOT NULL,
    closed_at   timestamptz,
    state       text        NOT NULL,
    reason      text,
    detail      text,
    twin_id     bigint,
    returned    bigint      NOT NULL,
    return_tx   text,
    alarm       text,
    operator    text,
    updated_at  timestamptz NOT NULL,
    version     bigint      NOT NULL
);
CREATE INDEX deposits_of_twin ON deposits (twin_id) WHERE twin_id IS NOT NULL;
CREATE INDEX deposits_that_wait ON deposits (state) WHERE state IN ('unmatched', 'returning');

-- The USDC credit of twins. The balance is what was booked less what pays for purchases.
CREATE TABLE credits (
    twin_id    bigint      PRIMARY KEY,
    user_id    uuid,
    booked     bigint      NOT NULL,
    spent      bigint      NOT NULL,
    updated_at timestamptz NOT NULL,
    version    bigint      NOT NULL
);

ALTER TABLE purchases
    ADD COLUMN funding    text   NOT NULL DEFAULT 'card',
    ADD COLUMN usdc_due   bigint,
    ADD COLUMN fund_until timestamptz,
    ADD COLUMN leftover   bigint,
    ADD COLUMN slippage   bigint,
    ADD COLUMN fee_stroops bigint;
