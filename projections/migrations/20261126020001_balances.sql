-- What users' accounts on TFChain held when they were last read, and how long that lasts.
CREATE TABLE balances (
    user_id       uuid        PRIMARY KEY,
    balance       bigint      NOT NULL,
    spent_per_day bigint      NOT NULL,
    lasts_seconds bigint,
    low           boolean     NOT NULL,
    observed_at   timestamptz NOT NULL,
    version       bigint      NOT NULL
);
