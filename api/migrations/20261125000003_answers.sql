-- Commands under way, and the answers to those that were carried out; rows live for a day. Losing
-- one costs an answer made anew, nothing else: what makes a command happen once stands in
-- idempotency_keys and in the log.
CREATE TABLE command_answers (
    user_id     uuid        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    lease_until timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    status      smallint,
    headers     jsonb,
    body        bytea,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX command_answers_age ON command_answers (created_at);
