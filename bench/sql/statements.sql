-- What one callback writes, one statement for each row, in one transaction.
\set k :k + 1
\set n :base + :clients * (:k - 1) + :client_id
BEGIN;
SELECT payment_id, order_id, shop_id, account_id, environment, created_by_id, phone,
       amount, product_id, quantity, receipt
FROM bench_work WHERE n = :n \gset
INSERT INTO payments_notice
  (kind, payment_id, body, body_hash, is_cut, address, address_is_listed, verdict,
   copies, received_at, processed_at, next_try_at, attempts, error)
SELECT 'stk', payment_id, body, encode(sha256(body), 'hex'), false, '127.0.0.1', true,
       'applied', 1, now(), now(), NULL, 0, ''
FROM bench_work WHERE n = :n RETURNING id AS notice_id \gset
SELECT status FROM orders_order WHERE id = :order_id FOR NO KEY UPDATE;
SELECT status FROM payments_payment WHERE id = :payment_id FOR NO KEY UPDATE;
UPDATE payments_payment
SET status = 'completed', receipt = :receipt, result_code = '0',
    result_desc = 'The service request is processed successfully.',
    next_ask_at = now() + interval '1 minute', decided_at = now(), completed_at = now()
WHERE id = :payment_id AND status = 'pending';
INSERT INTO payments_paymentevent
  (payment_id, old, new, source, actor_id, reason, notice_id, created_at)
VALUES (:payment_id, 'pending', 'completed', 'callback', NULL, 'KES 100 arrived',
        :notice_id, now());
INSERT INTO payments_collection
  (account_id, environment, shop_id, payment_id, receipt, amount, allocated, phone,
   binding, source, paid_at, sighted_at, confirmed_at, disputed)
VALUES (:account_id, :environment, :shop_id, :payment_id, :receipt, :amount, :amount,
        :phone, 'token', 'callback', now(), now(), NULL, '')
RETURNING id AS collection_id \gset
UPDATE payments_receipt
SET state = 'counted', collection_id = :collection_id, look_at = now()
WHERE account_id = :account_id AND number = :receipt AND collection_id IS NULL;
INSERT INTO payments_allocation
  (collection_id, kind, order_id, amount, actor_id, reason, customer, created_at)
VALUES (:collection_id, 'sale', :order_id, :amount, :created_by_id, '', '', now());
UPDATE orders_order SET status = 'paid', paid = paid + :amount, paid_at = now()
WHERE id = :order_id AND status = 'open';
INSERT INTO orders_orderevent (order_id, old, new, actor_id, reason, created_at)
VALUES (:order_id, 'open', 'paid', :created_by_id, '', now());
UPDATE payments_phoneguard
SET free_at = now(), free_same_at = now() + interval '2 minutes'
WHERE phone = :phone AND payment_id = :payment_id;
UPDATE shops_product SET stock = stock - :quantity WHERE id = :product_id
RETURNING stock \gset
INSERT INTO shops_stockmovement
  (product_id, quantity, level_after, reason, reference, actor_id, created_at)
VALUES (:product_id, 0 - :quantity, :stock, 'sold', 'order:' || :order_id,
        :created_by_id, now());
COMMIT;
