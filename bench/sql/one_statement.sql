-- What one callback writes, all rows in one statement.
\set k :k + 1
\set n :base + :clients * (:k - 1) + :client_id
WITH work AS (SELECT * FROM bench_work WHERE n = :n),
the_order AS (
  SELECT o.id FROM orders_order o JOIN work ON work.order_id = o.id
  WHERE o.status = 'open' FOR NO KEY UPDATE OF o),
paid AS (
  UPDATE payments_payment p
  SET status = 'completed', receipt = work.receipt, result_code = '0',
      result_desc = 'The service request is processed successfully.',
      next_ask_at = now() + interval '1 minute', decided_at = now(),
      completed_at = now()
  FROM work, the_order
  WHERE p.id = work.payment_id AND p.status = 'pending' RETURNING work.*),
notice AS (
  INSERT INTO payments_notice
    (kind, payment_id, body, body_hash, is_cut, address, address_is_listed, verdict,
     copies, received_at, processed_at, next_try_at, attempts, error)
  SELECT 'stk', payment_id, body, encode(sha256(body), 'hex'), false, '127.0.0.1',
         true, 'applied', 1, now(), now(), NULL, 0, ''
  FROM paid RETURNING id),
event AS (
  INSERT INTO payments_paymentevent
    (payment_id, old, new, source, actor_id, reason, notice_id, created_at)
  SELECT payment_id, 'pending', 'completed', 'callback', NULL, 'KES 100 arrived',
         notice.id, now()
  FROM paid, notice),
collection AS (
  INSERT INTO payments_collection
    (account_id, environment, shop_id, payment_id, receipt, amount, allocated, phone,
     binding, source, paid_at, sighted_at, confirmed_at, disputed)
  SELECT account_id, environment, shop_id, payment_id, receipt, amount, amount, phone,
         'token', 'callback', now(), now(), NULL, ''
  FROM paid RETURNING id),
told AS (
  UPDATE payments_receipt r
  SET state = 'counted', collection_id = collection.id, look_at = now()
  FROM paid, collection
  WHERE r.account_id = paid.account_id AND r.number = paid.receipt
    AND r.collection_id IS NULL),
portion AS (
  INSERT INTO payments_allocation
    (collection_id, kind, order_id, amount, actor_id, reason, customer, created_at)
  SELECT collection.id, 'sale', order_id, amount, created_by_id, '', '', now()
  FROM paid, collection),
closed AS (
  UPDATE orders_order o SET status = 'paid', paid = o.paid + paid.amount,
      paid_at = now()
  FROM paid WHERE o.id = paid.order_id),
closing AS (
  INSERT INTO orders_orderevent (order_id, old, new, actor_id, reason, created_at)
  SELECT order_id, 'open', 'paid', created_by_id, '', now() FROM paid),
guard AS (
  UPDATE payments_phoneguard g
  SET free_at = now(), free_same_at = now() + interval '2 minutes'
  FROM paid WHERE g.phone = paid.phone AND g.payment_id = paid.payment_id),
shelf AS (
  UPDATE shops_product s SET stock = s.stock - paid.quantity
  FROM paid WHERE s.id = paid.product_id RETURNING s.stock)
INSERT INTO shops_stockmovement
  (product_id, quantity, level_after, reason, reference, actor_id, created_at)
SELECT product_id, 0 - quantity, stock, 'sold', 'order:' || order_id, created_by_id,
       now()
FROM paid, shelf;
