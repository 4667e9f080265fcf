"""The database: its address from the environment, one engine, one session per request."""

import os
from collections.abc import Iterator
from functools import lru_cache

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.orm import Session


class DatabaseNotConfigured(RuntimeError):
    pass


def database_url() -> URL:
    raw = os.environ.get("DATABASE_URL", "").strip()
    if not raw:
        raise DatabaseNotConfigured("DATABASE_URL is not set")
    url = make_url(raw)
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def new_engine() -> Engine:
    return create_engine(
        database_url(),
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            "fallback_application_name": "leadboard",
            # A transaction pooler does not support server-side prepared statements.
            "prepare_threshold": None,
        },
    )


@lru_cache
def engine() -> Engine:
    return new_engine()


def session() -> Iterator[Session]:
    with Session(engine()) as db:
        yield db
