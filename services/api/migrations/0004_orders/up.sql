-- Orders are accounts: they stay, without an owner, when the user goes.
CREATE TABLE orders (
    id          UUID        NOT NULL PRIMARY KEY,
    owner_id    UUID        REFERENCES users (id) ON DELETE SET NULL,
    status      TEXT        NOT NULL,
    currency    TEXT        NOT NULL,
    total_minor BIGINT      NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    paid_at     TIMESTAMPTZ,
    CONSTRAINT orders_status_known CHECK (status IN ('pending', 'paid')),
    CONSTRAINT orders_paid_has_time CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT orders_total_not_negative CHECK (total_minor >= 0)
);
CREATE INDEX orders_owner_id ON orders (owner_id, id);

CREATE TABLE order_items (
    order_id         UUID   NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    position         BIGINT NOT NULL,
    description      TEXT   NOT NULL,
    quantity         BIGINT NOT NULL,
    unit_price_minor BIGINT NOT NULL,
    PRIMARY KEY (order_id, position),
    CONSTRAINT order_items_quantity_positive CHECK (quantity > 0),
    CONSTRAINT order_items_price_not_negative CHECK (unit_price_minor >= 0)
);
