CREATE TABLE network_ports (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    address TEXT NOT NULL
);
CREATE TABLE network_published (
    port_id TEXT NOT NULL REFERENCES network_ports (id) ON DELETE CASCADE,
    protocol TEXT NOT NULL,
    host_ip TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    container_port INTEGER NOT NULL,
    PRIMARY KEY (protocol, host_ip, host_port)
);
CREATE INDEX network_published_by_port ON network_published (port_id);
