"""Alembic's entry: runs the migrations on the database that ocproxy is configured for.

The URL comes from whoever calls (`ocproxy db`, the server's start) as the attribute `url`, or, with plain `alembic` in
a checkout, from ocproxy's own settings (`OCPROXY_DATABASE_URL`, `OCPROXY_DATA_DIR`, the configuration file).
"""

import sqlalchemy as sa
from alembic import context

from ocproxy import config
from ocproxy.store.base import backend_of
from ocproxy.store.schema import METADATA, is_ours


def run() -> None:
    url = context.config.attributes.get("url") or config.load().store_url
    backend = backend_of(url)
    if context.is_offline_mode():
        context.configure(dialect_name=backend.dialect, target_metadata=METADATA, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    backend.migrate(url, migrate)


def migrate(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True, include_object=is_ours)
    with context.begin_transaction():
        context.run_migrations()


run()
