from logging.config import fileConfig

from alembic import context

from app.db import new_engine
from app.models import Base

fileConfig(context.config.config_file_name, disable_existing_loggers=False)

# The engine uses DATABASE_URL directly, because alembic.ini would interpolate a `%` in it.
engine = new_engine()
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
