-- The terms of a quote, in 1/10,000, and the purchase that accepted it: a quote is accepted once.
ALTER TABLE quotes
    ADD COLUMN impact_bps   bigint  NOT NULL DEFAULT 0,
    ADD COLUMN slippage_bps integer NOT NULL DEFAULT 0,
    ADD COLUMN spread_bps   integer NOT NULL DEFAULT 0,
    ADD COLUMN purchase_id  uuid;
