-- Networks of somebody's own. `spec` and `wish` are JSON.
CREATE TABLE networks (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    spec TEXT NOT NULL,
    UNIQUE (tenant, name)
);
-- A port's places on networks, in the order in which it came to them.
CREATE TABLE network_places (
    port_id TEXT NOT NULL REFERENCES network_ports (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    address TEXT NOT NULL,
    wish TEXT NOT NULL,
    PRIMARY KEY (port_id, network)
);
INSERT INTO network_places (port_id, number, network, mac, address, wish)
    SELECT id, 0, known, mac, address, '{"network":"' || known || '"}' FROM (
        SELECT id, mac, address, CASE network
            WHEN 'bridge' THEN '2db5280b558564ead78952473fac2d96351ea77b747267a885d23a7e03e82f62'
            WHEN 'none' THEN '9d5609d7c864a05f1e9024ae29bd5d720fa1f96ad7348c717999729d55351a7d'
            ELSE network
        END AS known FROM network_ports
    ) AS earlier;
ALTER TABLE network_ports DROP COLUMN network;
ALTER TABLE network_ports DROP COLUMN mac;
ALTER TABLE network_ports DROP COLUMN address;
