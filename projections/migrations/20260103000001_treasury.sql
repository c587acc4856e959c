-- What our accounts hold, where it last crossed what they should. Amounts are in 10^-7 units.
CREATE TABLE treasury_crossings (
    holding     text        PRIMARY KEY,
    account     text        NOT NULL,
    asset       text        NOT NULL,
    low         boolean     NOT NULL,
    balance     bigint      NOT NULL,
    threshold   bigint      NOT NULL,
    crossing    bigint      NOT NULL,
    observed_at timestamptz NOT NULL,
    version     bigint      NOT NULL
);

-- Every payment lane that was ever opened.
CREATE TABLE lanes (
    account   text        PRIMARY KEY,
    executor  text        NOT NULL,
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    epoch     integer     NOT NULL,
    opened_at timestamptz NOT NULL,
    version   bigint      NOT NULL
);

-- What was spent in the last days.
CREATE INDEX purchases_by_time ON purchases (created_at);
