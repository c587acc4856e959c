-- What the chain does to contracts by itself.
ALTER TABLE deployments
    ADD COLUMN billed      bigint NOT NULL DEFAULT 0,
    ADD COLUMN grace_since bigint,
    ADD COLUMN grace_told  bigint NOT NULL DEFAULT 0;
