-- SQLite: inserts, an index, joins, aggregates, updates, text functions; in memory.
CREATE TABLE item (id INTEGER PRIMARY KEY, owner INTEGER, name TEXT, price INTEGER);
CREATE TABLE owner (id INTEGER PRIMARY KEY, city TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
INSERT INTO owner SELECT i, 'city' || (i * 7919 % 41) FROM n;
WITH RECURSIVE n(i, s) AS (SELECT 1, 42 UNION ALL
    SELECT i + 1, (s * 1103515245 + 12345) & 2147483647 FROM n WHERE i < 40000)
INSERT INTO item SELECT i, s / 65536 % 300 + 1, printf('name-%x', s), s / 256 % 10000 FROM n;
COMMIT;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_owner ON item(owner, price);
SELECT city, count(*), sum(price), max(name) FROM item JOIN owner ON owner.id = item.owner
    GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item WHERE name LIKE '%a1%' OR upper(name) GLOB '*F?0*';
UPDATE item SET price = price * 3 % 9973 WHERE id % 3 = 0;
SELECT sum(a.price * b.price) % 1000003 FROM item a JOIN item b ON a.owner = b.owner AND b.id % 97 = 0
    WHERE a.price BETWEEN 1000 AND 3000;
SELECT length(group_concat(substr(name, 6, 3), ',')) FROM (SELECT name FROM item ORDER BY price, id);
DELETE FROM item WHERE owner % 2 = 1;
SELECT count(*), avg(price) > 100, min(name) FROM item;
