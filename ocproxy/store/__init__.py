"""The database: rows of `ocproxy.model` in and out. The only room with SQL. One file a kind of database; see `base`."""
