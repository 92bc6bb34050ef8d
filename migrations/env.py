"""Alembic's entry: runs the migrations on the database that ocproxy is configured for.

The URL comes from whoever calls (`ocproxy db`, the server's start) as the attribute `url`, or, with plain `alembic` in
a checkout, from ocproxy's own settings (`OCPROXY_DATABASE_URL`, `OCPROXY_DATA_DIR`, the configuration file).
"""

from alembic import context

from ocproxy import config
from ocproxy.store.migrations import migration_engine, prepare_file, prepared_url
from ocproxy.store.schema import METADATA


def run() -> None:
    url = context.config.attributes.get("url") or config.load().store_url
    if context.is_offline_mode():
        context.configure(url=prepared_url(url), target_metadata=METADATA, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    prepare_file(url)  # readable for its owner only: connecting would make it readable for everybody
    engine = migration_engine(url)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
